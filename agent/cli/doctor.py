"""``strop doctor``: is this machine fit, and this model sound?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from strop.agent.findings import Finding


def doctor(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Also audit this model.")] = None,
) -> None:
    """Check the machine, and with MODEL audit that model; exit code 1 where something cannot work."""
    from rich.console import Console

    from strop.agent.doctor import audit_model, check_machine
    from strop.agent.findings import Level
    from strop.agent.models import ModelStore

    findings = check_machine()
    if model is not None:
        resolved = ModelStore().resolve(model)
        findings += audit_model(resolved.path, resolved.profile)
    Console().print(table_of(findings))
    if any(one.level is Level.FAIL for one in findings):
        raise typer.Exit(1)


def table_of(findings: Iterable[Finding]) -> Table:
    """A row each, as texts and not as markup: names of extras and of special tokens stand in brackets."""
    from rich.table import Table
    from rich.text import Text

    from strop.agent.findings import Level

    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    table = Table("", "check", "finding", "what to do", show_lines=False)
    for one in findings:
        level = Text(one.level, colours[one.level])
        table.add_row(level, Text(one.name), Text(one.sentence), Text(one.remedy))
    return table
