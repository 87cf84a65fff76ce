"""What a policy answers, with everything needed to judge it, price it and train on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from strop.agent.engines.base import FinishReason, Sampling
from strop.tools.spec import ToolCall
from strop.tools.task import Task


class StopReason(StrEnum):
    """Why refinement stopped."""

    OFF = "off"
    """Refinement was not asked for."""
    GATE = "gate"
    """The draft was sure enough of itself: no check was asked."""
    STOP_TOKEN = "stop_token"
    """The check was answered with the stop token, or its text where no token was ever trained."""
    P_STOP = "p_stop"
    """The probability of the stop token, read from the check's first step, was over the threshold."""
    EQUAL = "equal"
    """Two drafts in a row have the same canonical calls."""
    CYCLE = "cycle"
    """A draft repeats an earlier one that is not the last: the one seen first is kept."""
    BUDGET = "budget"
    """Rounds, tokens or context are used up: the last readable draft is kept."""
    DEADLINE = "deadline"
    """The time for this answer is used up: as for a budget."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens spent."""

    prompt_tokens: int = 0
    """Prompt ids, every request of this answer counted."""
    completion_tokens: int = 0
    """Generated ids, drafts and check answers included."""
    cached_tokens: int = 0
    """Of the prompt ids, those served from the prefix cache."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


NOTHING = Usage()
"""No tokens at all."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One readable state of an answer."""

    prompt_ids: tuple[int, ...]
    """What the model was given."""
    token_ids: tuple[int, ...]
    """What it wrote, the end-of-turn id included."""
    text: str
    """`token_ids` as text, without end-of-turn tokens."""
    calls: tuple[ToolCall, ...]
    """Empty where it is prose."""
    content: str | None
    """Prose outside the calls; None where there is none."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired to read `text`, in order; empty where it was read as it stands."""
    problem: str | None = None
    """Why it cannot be read, where it looks like a call; then `calls` is empty and `content` all of it."""
    reasoning: str | None = None
    """Its thinking block; None where there is none."""
    opened: bool = False
    """Whether the prompt had opened a thinking block, which `text` begins within."""
    logprobs: tuple[float, ...] | None = None
    """Of each id, where asked for."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """Of each id, the likeliest at its step, where asked for."""
    finish_reason: FinishReason = FinishReason.STOP


@dataclass(frozen=True, slots=True)
class Answer:
    """The draft that was settled on, and how it came about."""

    final: Draft
    usage: Usage
    """Everything spent, discarded drafts included."""
    drafts: tuple[Draft, ...] = ()
    """All drafts in order, `final` among them; one where refinement is off."""
    rounds: int = 0
    """Check turns asked."""
    stop_reason: StopReason = StopReason.OFF
    p_stop: float | None = None
    """Probability of the stop token at the first step of the last check; None where no check was asked."""
    check_usage: Usage = NOTHING
    """Of `usage`, what the check turns cost, their new drafts included."""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return self.final.calls

    @property
    def content(self) -> str | None:
        return self.final.content

    @property
    def problem(self) -> str | None:
        return self.final.problem


class Answerer(Protocol):
    """Whatever turns a task into an answer: a policy, a refiner around one, a remote endpoint.

    Raises EngineError where the model behind it fails, UsageError where the task cannot fit.
    """

    @property
    def name(self) -> str:
        """What reports call the model."""
        ...

    async def answer(self, task: Task, sampling: Sampling) -> Answer: ...
