"""A benchmark: its cases, and what their scores come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from strop.tools.episode import Episode, Sequel
from strop.tools.errors import DataError
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import Verdict

if TYPE_CHECKING:
    from typing_extensions import TypeIs


class Case(Protocol):
    """A task and its judge."""

    @property
    def task(self) -> Task: ...

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        """Judge an answer; `problem` says that its content looks like a call that could not be read."""
        ...

    def gold_lines(self) -> Sequence[str]:
        """What is right, for a person: a line a call."""
        ...


class TextCase(Case, Protocol):
    """A case whose prompt says how calls are to be written: judged by the very text of the answer."""

    def score_text(self, text: str) -> Verdict:
        """Judge an answer's text."""
        ...


def is_text_case(case: object) -> TypeIs[TextCase]:
    """Whether a case is judged by the text of its answer."""
    return hasattr(case, "score_text")


def is_spoken(case: object) -> bool:
    """Whether a case is judged by what is said, whatever is called: those that say so by ``spoken``."""
    return bool(getattr(case, "spoken", False))


AnyCase: TypeAlias = Case | Episode | Sequel


@dataclass(frozen=True, slots=True)
class Overall:
    """One number over several categories, as a suite defines it."""

    name: str
    """As tables show it: ``BFCL v4 overall``."""
    accuracy: float
    """In [0, 1]. What was not asked counts as the suite's definition has it."""
    missing: tuple[str, ...] = ()
    """Categories it is defined over that were not asked, or not in full."""

    @property
    def partial(self) -> bool:
        """Whether this is not the number other people mean by its name."""
        return bool(self.missing)


Scores = Mapping[str, Mapping[str, float]]
"""By category and task id, the share of the task's answers that are right: 0 or 1 where there is one."""

Overalls = Callable[[Scores, Mapping[str, int]], Sequence[Overall]]
"""From scores, and how many cases each category has in all."""


def no_overall(scores: Scores, sizes: Mapping[str, int]) -> Sequence[Overall]:
    """For suites that define no overall."""
    del scores, sizes
    return ()


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases of a benchmark, or of some of its categories."""

    name: str
    """What results are filed under: ``bfcl``."""
    version: str
    """Equal exactly for equal data."""
    cases: tuple[AnyCase, ...]
    """In the order they are asked and reported."""
    sizes: Mapping[str, int]
    """Cases each category has in all, whatever the limit."""
    overalls: Overalls = no_overall

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for case in self.cases:
            if case.task.id in seen:
                raise DataError(f"suite {self.name}: two cases have the id {case.task.id!r}")
            seen.add(case.task.id)
