"""What a judge says of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ErrorKind(StrEnum):
    """Why an answer is wrong; the first that applies, in this order of reading."""

    UNPARSABLE = "unparsable"
    """Looks like a call but could not be read as one."""
    SHOULD_NOT_CALL = "should_not_call"
    """Called a tool where the right answer is prose."""
    MISSING_CALL = "missing_call"
    """Fewer calls than asked for (none at all included)."""
    EXTRA_CALL = "extra_call"
    """More calls than asked for."""
    WRONG_NAME = "wrong_name"
    """No gold call has this tool name."""
    MISSING_ARGUMENT = "missing_argument"
    """A required argument, or one the gold gives and does not allow to be left out."""
    UNEXPECTED_ARGUMENT = "unexpected_argument"
    """An argument the tool or the gold does not have."""
    WRONG_TYPE = "wrong_type"
    """A value whose JSON type is not the schema's."""
    WRONG_VALUE = "wrong_value"
    """Right type, but not one of the allowed values."""
    UNNOTICED = "unnoticed"
    """Did not say what is missing from a request, or wrong with it."""
    UNFINISHED = "unfinished"
    """A trajectory that was broken off: too many steps, or a step over its limits."""
    WRONG_STATE = "wrong_state"
    """The calls of a trajectory left the simulated world in another state than the gold's."""
    MISSING_RESULT = "missing_result"
    """No call of a trajectory gave a result that the gold's calls give."""
    WRONG_ANSWER = "wrong_answer"
    """The prose in the end does not say what is right."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Correct or not, and why not."""

    correct: bool
    error: ErrorKind | None = None
    """None exactly when correct."""
    detail: str = ""
    """One sentence for a person: which call, which argument, what was expected."""

    @classmethod
    def right(cls) -> Verdict:
        return cls(True)

    @classmethod
    def wrong(cls, error: ErrorKind, detail: str) -> Verdict:
        return cls(False, error, detail)

    def to_json(self) -> dict[str, Any]:
        """As rows of answers hold it."""
        return {"correct": self.correct, "error": self.error, "detail": self.detail}
