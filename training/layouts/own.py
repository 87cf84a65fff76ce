"""Strop's own tasks, as `strop.tools.task` has them."""

from __future__ import annotations

from typing import Any

from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row


class Own:
    """`Layout` and `Writer`."""

    name = "strop"

    def fits(self, row: Row) -> bool:
        return "messages" in row  # one without calls may be a broken task among others

    def marked(self, row: Row) -> bool:
        return {"messages", "calls"} <= row.keys()

    def read(self, row: Row, origin: Origin) -> list[Task]:  # noqa: ARG002 - a task has its own id and source
        return [Task.from_json(row)]

    def write(self, task: Task) -> dict[str, Any]:
        return task.to_json()
