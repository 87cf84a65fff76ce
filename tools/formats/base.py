"""What a text says, and what a call format is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strop.tools.spec import ToolCall


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says. Calls, or prose, or both; never a call that is not there."""

    calls: tuple[ToolCall, ...]
    """In the order they were written."""
    content: str | None
    """Prose outside the calls, stripped, its pieces joined by a newline; None where there is none."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired to read the calls, each once, in order; empty where nothing had to be."""
    problem: str | None = None
    """Why something that looks like a call cannot be read as one; then `calls` is empty and `content` is
    the whole text, stripped."""
    format: str | None = field(default=None, compare=False)
    """Name of the format the calls (or the problem) were written in; None where there are none."""


class CallFormat(Protocol):
    """A way to write calls as text."""

    @property
    def name(self) -> str:
        """Its key in `FORMATS`."""
        ...

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The text that reads back as exactly `calls`, without repairs; "" for no calls.

        Raises UsageError for a call this format cannot express.
        """
        ...
