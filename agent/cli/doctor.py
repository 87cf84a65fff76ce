"""``strop doctor``: is this machine fit, and this model sound?"""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Also audit this model.")] = None,
) -> None:
    """Check the machine, and with MODEL audit that model; exit code 1 where something cannot work."""
    from rich.console import Console
    from rich.table import Table

    from strop.agent.doctor import audit_model, check_machine
    from strop.agent.findings import Level
    from strop.agent.models import ModelStore

    findings = check_machine()
    if model is not None:
        resolved = ModelStore().resolve(model)
        findings += audit_model(resolved.path, resolved.profile)
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    table = Table("", "check", "finding", "what to do", show_lines=False)
    for one in findings:
        colour = colours[one.level]
        table.add_row(f"[{colour}]{one.level}[/{colour}]", one.name, one.sentence, one.remedy)
    Console().print(table)
    if any(one.level is Level.FAIL for one in findings):
        raise typer.Exit(1)
