"""``strop data``: what is wrong with a file of tasks?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from strop.tools.contamination import Hit

app = typer.Typer(help="Look into files of tasks.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """A group, also while it has one command."""


@app.command()
def check(
    train: Annotated[Path, typer.Argument(metavar="TRAIN.jsonl", help="Tasks to train on.")],
    against: Annotated[
        list[str],
        typer.Option("--against", metavar="SUITE[=DIR]", help="A benchmark, with its data; may be repeated."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Where to write every copy found.")
    ] = None,
    shown: Annotated[int, typer.Option("--show", min=0, help="How many to print.")] = 20,
) -> None:
    """Does TRAIN repeat what benchmarks ask? Exit code 1 where it does."""
    from strop.agent.cli.parsing import read_tasks_aloud, suites_of
    from strop.tools.contamination import Index
    from strop.tools.files import write_jsonl

    index = Index()
    for suite in suites_of(against):
        index.add(suite.name, [case.task for case in suite.cases])
    tasks = read_tasks_aloud(train)
    hits = list(index.hits(tasks))
    if out is not None:
        write_jsonl(out, [hit.to_json() for hit in hits])
    _show(hits, len(tasks), shown)
    raise typer.Exit(1 if hits else 0)


def _show(hits: list[Hit], tasks: int, shown: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    counts = Counter((hit.suite, hit.what, str(hit.copy)) for hit in hits)
    if counts:
        table = Table("benchmark", "what", "copy", "texts", "tasks")
        for (suite, what, copy), number in sorted(counts.items()):
            of = {hit.task for hit in hits if (hit.suite, hit.what, str(hit.copy)) == (suite, what, copy)}
            table.add_row(suite, what, copy, f"{number:,}", f"{len(of):,}")
        console.print(table)
    for hit in hits[:shown]:
        typer.echo(
            f"{hit.task}: {hit.what}, {hit.copy} ({hit.similarity:.2f}) of {hit.suite} {hit.case}: {hit.text}"
        )
    found = len({hit.task for hit in hits})
    typer.echo(
        f"{found:,} of {tasks:,} tasks repeat something of a benchmark" if found else "no copies found"
    )
