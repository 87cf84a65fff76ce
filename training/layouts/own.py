"""Strop's own tasks, as `strop.tools.task` has them."""

from __future__ import annotations

from typing import Any

from strop.tools.task import Gold, Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import refuse_calls_in_prose, refuse_unoffered


class Own:
    """`Layout` and `Writer`."""

    name = "strop"

    def fits(self, row: Row) -> bool:
        # One without calls may be a broken task among others; one without messages tells nothing.
        return isinstance(row.get("messages"), list) or {"messages", "calls"} <= row.keys()

    def marked(self, row: Row) -> bool:
        return {"messages", "calls"} <= row.keys()

    def read(self, row: Row, origin: Origin) -> list[Task]:  # noqa: ARG002 - a task has its own id and source
        return [own_task(row)]

    def write(self, task: Task) -> dict[str, Any]:
        return task.to_json()


def own_task(row: Row) -> Task:
    """A task to learn from. Raises DataError where it is none, or its gold calls what is not offered, or is
    prose that is a call."""
    task = Task.from_json(row)
    gold, offered = task.gold or Gold(()), {tool.name for tool in task.tools}
    refuse_unoffered("it", gold.calls, offered)
    if not gold.calls:
        refuse_calls_in_prose("it", gold.response or "", offered)
    return task
