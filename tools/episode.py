"""A conversation of several turns in which tools are really called.

An episode is what a benchmark asks where one answer is not enough. The runner (`strop.agent.episodes`) plays
it: per turn it shows the user's messages, makes the model's calls and shows their results, until the model
answers without a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

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


Played: TypeAlias = Sequence[Sequence[Sequence[ToolCall]]]
"""The calls of each step of each turn."""


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

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """Judge what was played, and what was `said` after the last call, if anything."""
        ...

    def gold_lines(self) -> Sequence[str]:
        """What is right, for a person."""
        ...


END = "finish conversation"
"""Whoever says this in a `Dialogue` ends it."""


class Dialogue(Episode, Protocol):
    """An episode that goes on after its turns: a user played by a model, or a fixed reply, answers."""

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """On offer in every turn."""
        ...

    @property
    def instruction(self) -> str | None:
        """What the played user wants; None where the reply is fixed."""
        ...

    @property
    def reply(self) -> str:
        """The fixed one."""
        ...

    @property
    def most_messages(self) -> int:
        """Of the user, the model and its tools together; then it ends and is judged as it is."""
        ...


class Sequel(Protocol):
    """A case that goes on where conversations with the same model ended, and may use what they left behind.

    The conversations are sequels themselves, each of those before it. They are played once for all cases
    that go on from them, and nobody judges them.
    """

    @property
    def task(self) -> Task:
        """Its id, category, and what is asked."""
        ...

    @property
    def before(self) -> tuple[Sequel, ...]:
        """The conversations, in their order."""
        ...

    def begin(self, earlier: Sequence[ToolCall], run: str) -> Episode:
        """The case as an episode whose world of that run has seen the `earlier` calls, of all conversations.

        Raises StepLimitError where making them takes too long, DataError where it cannot begin.
        """
        ...

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """As an episode."""
        ...

    def gold_lines(self) -> Sequence[str]:
        """What is right, for a person."""
        ...


def is_episode(case: object) -> TypeIs[Episode]:
    """Whether a benchmark's case is one. (A protocol's own check takes longer than judging an answer.)"""
    return hasattr(case, "step") and hasattr(case, "most_steps")


def is_sequel(case: object) -> TypeIs[Sequel]:
    """Whether a case goes on from conversations."""
    return hasattr(case, "before") and hasattr(case, "begin")


def is_dialogue(case: object) -> TypeIs[Dialogue]:
    """Whether a case goes on after its turns."""
    return hasattr(case, "instruction") and hasattr(case, "most_messages")


def needs_user(case: object) -> bool:
    """Whether a case is a dialogue whose user a model must play."""
    return is_dialogue(case) and case.instruction is not None
