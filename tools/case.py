"""A task together with the judge that its gold calls make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strop.tools.judge import judge
from strop.tools.spec import ToolCall
from strop.tools.task import Task
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
