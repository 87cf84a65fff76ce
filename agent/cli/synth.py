"""``strop synth``: training tasks of Strop's own making."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def synth(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write the tasks.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many tasks.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same tasks.")] = 0,
    categories: Annotated[
        str,
        typer.Option(
            "--categories", metavar="A,B", help="Some of simple, multiple, parallel, …; default all."
        ),
    ] = "",
) -> None:
    """Write tool-calling tasks whose gold calls are right by construction."""
    from strop.agent.cli.parsing import names
    from strop.tools.files import write_jsonl
    from strop.tools.task import tasks_to_rows
    from strop.training.synth import synthesise

    tasks = synthesise(count, seed, names(categories) or None)
    write_jsonl(out, tasks_to_rows(tasks))
    typer.echo(f"{len(tasks)} tasks written to {out}")
