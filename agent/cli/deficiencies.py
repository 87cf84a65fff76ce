"""``strop deficiencies``: what a policy cannot do yet, before anything is searched or trained."""

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


def deficiencies(
    tasks: Annotated[Path, typer.Option("--tasks", metavar="FILE.jsonl", help="Tasks with gold calls.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where rows and page go; resumes there, collect goes on."),
    ],
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    samples: Annotated[
        int, typer.Option("--samples", "-k", min=1, help="Answers sampled of every task.")
    ] = 4,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many tasks.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Of all samples.")] = 0.8,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")] = 256,
    score_gold: Annotated[
        bool,
        typer.Option("--score-gold/--no-score-gold", help="Perplexity of each gold: one more prompt a task."),
    ] = True,
    worlds: WorldsOption = "",
    select: SelectOption = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Tasks in flight.")] = 8,
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 4096,
    engine_arg: EngineFlags = None,
) -> None:
    """Sample every task, and say what goes wrong, where and with which tools; page.html shows it."""
    import asyncio

    from strop.agent.cli.parsing import engine_args, read_tasks_aloud, require_free, require_worlds
    from strop.agent.embedding import Embedder
    from strop.agent.loading import PolicySource, load_policy
    from strop.refine.sampling import SampleConfig
    from strop.refine.selection import DEFAULT
    from strop.refine.survey import SurveyConfig, survey
    from strop.refine.survey_report import Report, findings, headline

    config = SurveyConfig(
        SampleConfig(
            samples=samples, temperature=temperature, max_tokens=max_tokens, seed=seed, worlds=worlds
        ),
        score_gold=score_gold,
        select=tuple(select or DEFAULT),
        concurrency=concurrency,
    )
    require_worlds(worlds)
    read = read_tasks_aloud(tasks)[:limit]
    require_free(out)
    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))

    async def run() -> Report:
        async with load_policy(source) as loaded:
            return await survey(read, loaded.policy, config, out, Embedder(model))

    report = asyncio.run(run())
    typer.echo(headline(report))
    for sentence in findings(report):
        typer.echo(f"- {sentence}")
    typer.echo(f"{out}/page.html")
