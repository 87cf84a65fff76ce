"""A conversation of several turns in which tools are really called.

An episode is what a benchmark asks where one answer is not enough. The runner (`strop.agent.episodes`) plays
it: per turn it shows the user's messages, makes the model's calls and shows their results, until the model
answers without a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message, Task
from strop.tools.verdict import Verdict

if TYPE_CHECKING:
    from typing_extensions import TypeIs


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn brings."""

    messages: tuple[Message, ...]
    """Said before the model answers."""
    tools: tuple[ToolSpec, ...]
    """All tools on offer from now on."""


class Episode(Protocol):
    """A benchmark case of several turns."""

    @property
    def task(self) -> Task:
        """Its id, category, and first turn."""
        ...

    @property
    def turns(self) -> tuple[Turn, ...]: ...

    @property
    def most_steps(self) -> int:
        """Answers in one turn; one more call and the episode is broken off."""
        ...

    def step(self, run: str, calls: Sequence[ToolCall]) -> list[str]:
        """Make calls in the world of the run of that name; their results, in order.

        Raises StepLimitError where that takes too long; the world is gone then.
        """
        ...

    def close(self, run: str) -> None:
        """Forget the run's world."""
        ...

    def score(self, turns: Sequence[Sequence[Sequence[ToolCall]]]) -> Verdict:
        """Judge the calls of each step of each turn that was played."""
        ...

    def gold_lines(self) -> Sequence[str]:
        """What is right, for a person."""
        ...


def is_episode(case: object) -> TypeIs[Episode]:
    """Whether a benchmark's case is one. (A protocol's own check takes longer than judging an answer.)"""
    return hasattr(case, "turns")
