"""One sampled answer and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strop.agent.answer import Draft
from strop.agent.engines.base import FinishReason
from strop.tools.canonical import canonical
from strop.tools.formats.thoughts import without_thoughts
from strop.tools.judge import credit, judge
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict

DIGITS = 6
"""Decimals kept of log-probabilities and rewards, in memory as on disk: resuming changes nothing."""
WRONG_CEILING = 0.8
"""Reward of a wrong answer is its credit times this, so that none comes near a right one. Ours."""


UNKNOWN_LOGPROB = -1.0
"""Stands for an id's log-probability where the engine gives none: all priors equal, nothing ever covered
(`strop.refine.tree.SearchTree.covered`)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sampled answer says and what it is worth."""

    text: str
    """The answer's ids as text, without end-of-turn tokens."""
    calls: tuple[ToolCall, ...]
    verdict: Verdict
    reward: float
    """In [0, 1]; 1 exactly where the verdict is correct."""
    complete: bool
    """Ended by itself; False where it was cut off."""
    repairs: int = 0
    """How many repairs reading it took."""
    opened: bool = False
    """Whether the prompt had opened a thinking block, which `text` begins within."""

    @property
    def said(self) -> str:
        """`text` after its thinking block."""
        return without_thoughts(self.text, opened=self.opened)

    @property
    def meaning(self) -> str:
        """Equal for answers that say the same: canonical calls, else the text with its spacing made even."""
        readable = self.verdict.error is not ErrorKind.UNPARSABLE
        return canonical(self.calls) if self.calls and readable else " ".join(self.text.split())

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "calls": [call.to_json() for call in self.calls],
            "error": self.verdict.error,
            "detail": self.verdict.detail,
            "reward": self.reward,
            "complete": self.complete,
            "repairs": self.repairs,
            **({"opened": True} if self.opened else {}),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Outcome:
        error = row["error"]
        return cls(
            text=row["text"],
            calls=tuple(ToolCall.from_json(call) for call in row["calls"]),
            verdict=Verdict(error is None, None if error is None else ErrorKind(error), row["detail"]),
            reward=row["reward"],
            complete=row["complete"],
            repairs=row["repairs"],
            opened=row.get("opened", False),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled answer, id for id."""

    ids: tuple[int, ...]
    """The whole answer, end-of-turn id included where it ended by itself."""
    logprobs: tuple[float, ...]
    """Of each id under the policy at temperature 1, or `UNKNOWN_LOGPROB`."""
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        return {"ids": list(self.ids), "logprobs": list(self.logprobs), **self.outcome.to_json()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sample:
        return cls(tuple(row["ids"]), tuple(row["logprobs"]), Outcome.from_json(row))


def assess(task: Task, draft: Draft) -> Outcome:
    """Judge one draft of a task with gold.

    A cut-off answer is wrong and worth nothing, even where what there is of it could be repaired into a
    right one: nobody would have served it.
    """
    complete, reward = draft.finish_reason is FinishReason.STOP, 0.0
    if complete:
        verdict = judge(draft.calls, draft.problem, task)
        reward = 1.0 if verdict.correct else WRONG_CEILING * credit(draft.calls, draft.problem, task)
    else:
        verdict = Verdict.wrong(ErrorKind.UNPARSABLE, f"cut off after {len(draft.token_ids)} tokens")
    return Outcome(
        draft.text, draft.calls, verdict, round(reward, DIGITS), complete, len(draft.repairs), draft.opened
    )


def sample_of(task: Task, draft: Draft) -> Sample:
    """A draft with its judgement, its log-probabilities rounded to what is stored."""
    logprobs = draft.logprobs or (UNKNOWN_LOGPROB,) * len(draft.token_ids)
    return Sample(draft.token_ids, tuple(round(value, DIGITS) for value in logprobs), assess(task, draft))
