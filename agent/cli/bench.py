"""``strop bench``: how well does a model, an adapter or an endpoint call tools?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from strop.agent.cli.asking import Asked
from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    RefineOption,
)

if TYPE_CHECKING:
    from strop.agent.bench import Case, Summary

app = typer.Typer(help="Run a benchmark and write its verdicts.", no_args_is_help=True)

OutOption: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results go; resumes there.")
]
LimitOption: TypeAlias = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N tasks of each category.")
]
EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Ask this OpenAI-compatible server's MODEL instead."),
]
KeyOption: TypeAlias = Annotated[
    str | None, typer.Option("--api-key", envvar="STROP_ENDPOINT_KEY", help="Key the endpoint wants.")
]
TokensOption: TypeAlias = Annotated[
    int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")
]
ConcurrencyOption: TypeAlias = Annotated[
    int, typer.Option("--concurrency", min=1, help="Requests in flight.")
]


@app.command()
def bfcl(
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    endpoint: EndpointOption = None,
    api_key: KeyOption = None,
    categories: Annotated[
        str,
        typer.Option("--categories", metavar="A,B", help="BFCL categories; default: all single-turn Python."),
    ] = "",
    limit: LimitOption = None,
    refine: RefineOption = "off",
    max_tokens: TokensOption = 300,
    concurrency: ConcurrencyOption = 32,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 8192,
    engine_arg: EngineFlags = None,
) -> None:
    """The Berkeley Function Calling Leaderboard, single-turn Python, judged as its own checker judges."""
    from strop.agent.cli.parsing import names
    from strop.tools.bfcl import CATEGORIES, load_suite

    suite = load_suite(names(categories) or CATEGORIES, limit=limit)
    asked = Asked(model, adapter, endpoint, api_key, refine, engine, max_model_len, engine_arg)
    _run(asked, suite.cases, out, "bfcl", suite.version, max_tokens, concurrency)


@app.command()
def tasks(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="Tasks with gold calls.")],
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    endpoint: EndpointOption = None,
    api_key: KeyOption = None,
    refine: RefineOption = "off",
    max_tokens: TokensOption = 300,
    concurrency: ConcurrencyOption = 32,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 8192,
    engine_arg: EngineFlags = None,
) -> None:
    """Tasks of your own, in the form `strop collect` reads."""
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.tools.case import JudgedCase
    from strop.tools.task import digest

    read = read_tasks_aloud(file)
    cases = [JudgedCase(task) for task in read]
    asked = Asked(model, adapter, endpoint, api_key, refine, engine, max_model_len, engine_arg)
    _run(asked, cases, out, file.name, digest(read), max_tokens, concurrency)


def _run(
    asked: Asked,
    cases: Sequence[Case],
    out: Path,
    suite: str,
    version: str,
    max_tokens: int,
    concurrency: int,
) -> None:
    import asyncio

    from strop.agent.bench import run_bench
    from strop.agent.cli.asking import opened_answerer
    from strop.agent.engines.base import Sampling

    async def ask() -> Summary:
        async with opened_answerer(asked) as opened:
            return await run_bench(
                cases,
                opened.answerer,
                out,
                suite=suite,
                version=version,
                model=asked.label,
                refine=asked.refine,
                asked=opened.known_by,
                sampling=Sampling(max_tokens=max_tokens),
                concurrency=concurrency,
            )

    _show(asyncio.run(ask()), out)


def _show(summary: Summary, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "category", "correct", "total", "accuracy", "95 % interval", title=f"{summary.suite}: {summary.model}"
    )
    for name, score in summary.categories.items():
        low, high = score.interval
        table.add_row(
            name, str(score.correct), str(score.total), f"{score.accuracy:.1%}", f"{low:.1%} – {high:.1%}"
        )
    Console().print(table)
    official = " and the official layout" if summary.suite == "bfcl" else ""
    typer.echo(f"answers, summary{official} are in {out}")
