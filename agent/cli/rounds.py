"""``strop round`` and ``strop report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from strop.training.run_view import RoundView


def round_(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to run.")],
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", metavar="DIR", help="Where; default runs/CONFIG.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is there.")] = False,
) -> None:
    """Measure, search for preference pairs, train, measure again, accept or refuse; then write a report."""
    import asyncio

    from rich.console import Console

    from strop.training.config import read_config
    from strop.training.round import Rounds
    from strop.training.run import RunDirectory
    from strop.training.run_view import read_run

    settings = read_config(config)
    path = run_dir or Path("runs") / config.stem
    console = Console(stderr=True)
    with RunDirectory(path, resume=resume) as run:
        page = asyncio.run(Rounds(settings, run, console).execute())
    for one in read_run(path).rounds:
        _show(one, console)
    typer.echo(page)


def _show(one: RoundView, console: Console) -> None:
    """One round's scores, before and after, as the report has them."""
    from rich.table import Table

    from strop.training.run_view import score_lines

    table = Table("suite", "category", "before", "after", title=one.title)
    for before, after in ((one.before, one.after), (one.held_before, one.held_after)):
        for line in score_lines(before, after):
            scores = (f"{it.correct}/{it.total}" if it else "–" for it in (line.before, line.after))
            table.add_row(str(before.summary.get("suite", "")), line.name, *scores)
    console.print(table)
    console.print(one.decision.get("reason", "not decided"))


def report(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Of strop round.")]) -> None:
    """Write RUN_DIR/report.html from what the run has so far."""
    from strop.tools.errors import UsageError
    from strop.training.report import render_report

    if not (run_dir / "config.json").exists():
        raise UsageError(f"{run_dir} holds no run: it has no config.json")
    typer.echo(render_report(run_dir))
