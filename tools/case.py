"""A task together with the judge that its gold calls make."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from strop.tools.judge import judge
from strop.tools.spec import ToolCall
from strop.tools.suite import Suite
from strop.tools.task import Task, digest
from strop.tools.verdict import Verdict


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """A benchmark case over a task of one's own, judged by `strop.tools.judge`."""

    task: Task

    def score(
        self,
        calls: Sequence[ToolCall],
        content: str | None = None,  # noqa: ARG002 - prose is not judged, only whether calls were made
        problem: str | None = None,
    ) -> Verdict:
        """The judge's verdict against the task's gold calls."""
        return judge(calls, problem, self.task)

    def gold_lines(self) -> tuple[str, ...]:
        """The gold calls."""
        return gold_lines(self.task)


def gold_lines(task: Task) -> tuple[str, ...]:
    """A task's gold for a person, a line a call; nothing where there is no gold."""
    if task.gold is None:
        return ()
    return tuple(str(call) for call in task.gold.calls) or ("no call",)


def judged_suite(
    name: str, tasks: Sequence[Task], limit: int | None = None, categories: Container[str] | None = None
) -> Suite:
    """Tasks of one's own as a suite, the first `limit` of each category, or of these `categories`.

    Its version is of all tasks, so that a run may go on with more of them.
    """
    kept: list[Task] = []
    sizes: dict[str, int] = {}
    for task in tasks:
        if categories is not None and task.category not in categories:
            continue
        sizes[task.category] = sizes.get(task.category, 0) + 1
        if limit is None or sizes[task.category] <= limit:
            kept.append(task)
    return Suite(name, digest(tasks), tuple(map(JudgedCase, kept)), sizes)
