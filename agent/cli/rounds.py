"""``strop round`` and ``strop report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


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

    settings = read_config(config)
    path = run_dir or Path("runs") / config.stem
    console = Console(stderr=True)
    with RunDirectory(path, resume=resume) as run:
        page = asyncio.run(Rounds(settings, run, console).execute())
    for folder in sorted(path.glob("rounds/*"), key=lambda each: int(each.name)):
        _show(folder, console)
    typer.echo(page)


def _show(folder: Path, console: Console) -> None:
    """One round's scores, before and after, as the report has them."""
    from rich.table import Table

    from strop.tools.files import read_json

    table = Table("suite", "category", "before", "after", title=f"round {folder.name}")
    for before_name, after_name in (("before", "after"), ("held_out_before", "held_out_after")):
        before, after = (read_json(folder / name / "summary.json") for name in (before_name, after_name))
        for category, was in before["categories"].items():
            now = after["categories"][category]
            table.add_row(
                before["suite"], category, *(f"{one['correct']}/{one['total']}" for one in (was, now))
            )
    console.print(table)
    console.print(read_json(folder / "decision.json")["reason"])


def report(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR")]) -> None:
    """Write RUN_DIR/report.html from what the run has so far."""
    from strop.tools.errors import UsageError
    from strop.training.report import render_report

    if not (run_dir / "config.json").exists():
        raise UsageError(f"{run_dir} holds no run: it has no config.json")
    typer.echo(render_report(run_dir))
