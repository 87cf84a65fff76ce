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
    WorldsOption,
)

_SEARCH = "Search"
_RAY = "Many machines"


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
    depth: Annotated[
        int,
        typer.Option("--depth", min=1, help="Most fragments an answer is cut into.", rich_help_panel=_SEARCH),
    ] = 12,
    wave: Annotated[
        int,
        typer.Option("--wave", min=1, help="Expansions of one tree in flight.", rich_help_panel=_SEARCH),
    ] = 2,
    reward: Annotated[
        str,
        typer.Option(
            "--reward",
            metavar="graded|binary|judge|judge_blind",
            help="What answers are worth to the search; the last two ask the policy.",
            rich_help_panel=_SEARCH,
        ),
    ] = "graded",
    worlds: WorldsOption = "",
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
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Tasks in flight over one engine.")
    ] = 16,
    executor: Annotated[
        str,
        typer.Option(
            "--executor",
            metavar="local|ray",
            help="One engine in this process, or --workers engines on Ray.",
            rich_help_panel=_RAY,
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Engines on Ray; default 2.", rich_help_panel=_RAY)
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="Default: what the engine's arguments spread over.", rich_help_panel=_RAY),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A running cluster; default: $RAY_ADDRESS, or one on this machine for this command.",
            rich_help_panel=_RAY,
        ),
    ] = None,
) -> None:
    """Sample every task, search those the policy can learn from, write the pairs that pass the gate."""
    import asyncio

    from strop.agent.cli.parsing import engine_args, read_tasks_aloud, require_free, require_worlds
    from strop.agent.embedding import Embedder
    from strop.agent.loading import PolicySource
    from strop.refine.collect import CollectConfig, CollectSummary, collect_with
    from strop.refine.pairs import GoldUse
    from strop.refine.ray_workers import RayPlan, executor_for
    from strop.refine.reward import RewardKind
    from strop.refine.search import SearchConfig
    from strop.refine.selection import DEFAULT
    from strop.tools.errors import UsageError

    if gold not in tuple(GoldUse):
        raise UsageError(f"--gold wants one of {', '.join(GoldUse)}, got {gold!r}")
    if reward not in tuple(RewardKind):
        raise UsageError(f"--reward wants one of {', '.join(RewardKind)}, got {reward!r}")
    config = CollectConfig(
        samples=samples,
        temperature=temperature,
        seed=seed,
        select=tuple(select or DEFAULT),
        gold=GoldUse(gold),
        search=SearchConfig(
            simulations=simulations,
            wave=wave,
            width=width,
            depth=depth,
            temperature=temperature,
            reward=RewardKind(reward),
            worlds=worlds,
            max_tokens=max_tokens,
        ),
        concurrency=concurrency,
    )
    if executor not in ("local", "ray"):
        raise UsageError(f"--executor wants local or ray, got {executor!r}")
    if executor == "local" and (workers, gpus_per_worker, ray_address) != (None, None, None):
        raise UsageError("--workers, --gpus-per-worker and --ray-address go with --executor ray")
    require_worlds(worlds)
    read = read_tasks_aloud(tasks)
    require_free(out)
    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))
    plan = None
    if executor == "ray":
        plan = RayPlan(workers or 2, concurrency, gpus_per_worker, source.gpus, address=ray_address)

    async def run() -> CollectSummary:
        async with executor_for(source, plan, concurrency) as runs:
            return await collect_with(runs, read, config, out, Embedder(model))

    summary = asyncio.run(run())
    refused = ", ".join(f"{count} {reason}" for reason, count in summary.refused.items()) or "none"
    typer.echo(
        f"{summary.pairs} pairs from {summary.searched} of {summary.tasks} tasks in {summary.seconds:.0f} s, "
        f"{summary.pairs_per_1000_tokens:.1f} per 1,000 generated tokens; refused: {refused}; "
        f"{out}/pairs.jsonl"
    )
