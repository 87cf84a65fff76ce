"""What a text says, and what a call format is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strop.tools.spec import ToolCall


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """A call whose arguments never ended, or went wrong on the way."""

    name: str
    arguments: str
    """The beginning of a JSON text: what was certain of it. Never JSON itself."""


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
    """Why something that looks like a call cannot be read as one. Then `content` is the whole text, stripped,
    and `calls` is empty; but calls that were certain before the problem stay (`strop.tools.formats.early`),
    and `content` is what stands around them."""
    broken: BrokenCall | None = None
    """The call in which reading broke off after some of its arguments were certain; only with a `problem`."""
    reasoning: str | None = None
    """What stood in a thinking block before it all, stripped; None where there was none."""
    format: str | None = field(default=None, compare=False)
    """Name of the format the calls (or the problem) were written in; None where there are none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text that was looked at."""

    format: str
    """Name of the call format its mark belongs to."""
    start: int
    end: int
    """Looking for strong marks (fences, tags) goes on here."""
    reach: int
    """How far the decision had to look; looking for weak marks (brackets) goes on here."""
    calls: tuple[ToolCall, ...] = ()
    repairs: tuple[str, ...] = ()
    problem: str | None = None
    """Why it looks like a call and is none. Without calls and problem it is prose."""
    code: bool = False
    """It is a fence that cannot hold calls, whatever follows."""


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
