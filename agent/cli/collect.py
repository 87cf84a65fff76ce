"""``strop collect``: preference pairs out of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    SeedOption,
    SelectOption,
)


def collect(
    tasks: Annotated[Path, typer.Option("--tasks", metavar="FILE.jsonl", help="Tasks with gold calls.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where pairs and trees go; resumes there.")
    ],
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    samples: Annotated[
        int, typer.Option("--samples", "-k", min=1, help="Answers sampled of every task.")
    ] = 4,
    select: SelectOption = None,
    simulations: Annotated[int, typer.Option("--simulations", min=0, help="Expansions of every tree.")] = 2,
    width: Annotated[int, typer.Option("--width", min=1, help="Continuations of an expansion.")] = 3,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Of all samples.")] = 0.8,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")] = 256,
    gold: Annotated[
        str,
        typer.Option("--gold", metavar="never|unsolved|always", help="When gold may be the chosen answer."),
    ] = "unsolved",
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 4096,
    engine_arg: EngineFlags = None,
) -> None:
    """Sample every task, search those the policy can learn from, write the pairs that pass the gate."""
    import asyncio

    from strop.agent.cli.parsing import engine_args, read_tasks_aloud
    from strop.agent.embedding import Embedder
    from strop.agent.loading import PolicySource, load_policy
    from strop.refine.collect import CollectConfig, CollectSummary
    from strop.refine.collect import collect as run_collect
    from strop.refine.pairs import GoldUse
    from strop.refine.search import SearchConfig
    from strop.refine.selection import DEFAULT
    from strop.tools.errors import UsageError

    if gold not in tuple(GoldUse):
        raise UsageError(f"--gold wants one of {', '.join(GoldUse)}, got {gold!r}")
    config = CollectConfig(
        samples=samples,
        temperature=temperature,
        seed=seed,
        select=tuple(select or DEFAULT),
        gold=GoldUse(gold),
        search=SearchConfig(
            simulations=simulations, width=width, temperature=temperature, max_tokens=max_tokens
        ),
    )
    read = read_tasks_aloud(tasks)
    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))

    async def run() -> CollectSummary:
        async with load_policy(source) as loaded:
            return await run_collect(read, loaded.policy, config, out, Embedder(loaded.checkpoint))

    summary = asyncio.run(run())
    refused = ", ".join(f"{count} {reason}" for reason, count in summary.refused.items()) or "none"
    typer.echo(
        f"{summary.pairs} pairs from {summary.searched} of {summary.tasks} tasks in {summary.seconds:.0f} s, "
        f"{summary.pairs_per_1000_tokens:.1f} per 1,000 generated tokens; refused: {refused}; "
        f"{out}/pairs.jsonl"
    )
