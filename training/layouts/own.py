"""Strop's own tasks, as `strop.tools.task` has them."""

from __future__ import annotations

from typing import Any

from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import read_call, refuse_unoffered


class Own:
    """`Layout` and `Writer`."""

    name = "strop"

    def fits(self, row: Row) -> bool:
        return "messages" in row  # one without calls may be a broken task among others

    def marked(self, row: Row) -> bool:
        return {"messages", "calls"} <= row.keys()

    def read(self, row: Row, origin: Origin) -> list[Task]:  # noqa: ARG002 - a task has its own id and source
        return [own_task(row)]

    def write(self, task: Task) -> dict[str, Any]:
        return task.to_json()


def own_task(row: Row) -> Task:
    """A task to learn from. Raises DataError where it is none, or its gold calls what is not offered."""
    calls = row.get("calls")
    if isinstance(calls, list):
        row = {**row, "calls": [read_call(call, "'calls'").to_json() for call in calls]}
    task = Task.from_json(row)
    refuse_unoffered("it", task.gold.calls if task.gold else (), {tool.name for tool in task.tools})
    return task
