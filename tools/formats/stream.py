"""Reads an answer while it is being written, and so also when it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from strop.tools.formats.base import BrokenCall, Reading, Segment
from strop.tools.formats.early import EarlyCalls, to_text
from strop.tools.formats.names import meant_name, settle_names
from strop.tools.formats.reading import read_as, read_whole
from strop.tools.formats.segments import LOOKAHEAD, next_segment
from strop.tools.formats.thoughts import Thoughts
from strop.tools.spec import ToolCall, ToolSpec

DEFAULT_FORMAT = "fenced_json"
"""What calls are read as first where nothing says how they are written."""
_BEGINS_A_MARK = re.compile(r"[`<\[{]")
"""What every mark of a call or of a thinking block begins with; a text without it is prose."""
_BEGINNING_OF_A_MARK = re.compile(
    r"(?:`++|<[a-z_]{0,24}+|<[|｜][\w▁]{0,24}+[|｜]?|\{[ \t\r\n]*+|\[[ \t\r\n]*+[\w.]*+)\Z"
)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """More of the thinking block."""

    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """More of the prose."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call whose name is certain."""

    index: int
    """Counts the answer's calls from 0."""
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentText:
    """More of the JSON text of a call's arguments."""

    index: int
    text: str


Piece: TypeAlias = Reasoning | Content | CallBegun | ArgumentText


def read_calls(
    text: str, *, preferred: str = DEFAULT_FORMAT, tools: Iterable[ToolSpec] = (), thinking: bool = False
) -> Reading:
    """What `text` says, whichever format it is written in. Total: any text has a reading.

    1. A thinking block at the beginning is set apart (`thoughts`); `thinking`: the prompt has opened it.
    2. Plain calls in the `preferred` format, or in a dialect of it, are read first, as they would be from
       a stream, and what was certain of them stays whatever follows (`early`).
    3. Everything else is read from the whole text, tolerantly (`reading`).
    4. Names are settled against those of `tools` (`names`).

    Raises UsageError where `preferred` is not a format.
    """
    if not thinking and _BEGINS_A_MARK.search(text) is None:
        read_as(preferred)
        return Reading((), text.strip() or None)
    reader = StreamReader(preferred, tools, thinking=thinking)
    reader.feed(text)
    return reader.finish()[1]


class StreamReader:
    """Reads text that arrives in pieces.

    Whatever the pieces are: all the content that `feed` and `finish` return, joined, is `Reading.content` of
    the whole text, its reasoning is `Reading.reasoning`, and its calls are `Reading.calls`, with
    `Reading.broken` after them, each with the text of its arguments. Prose is returned at once; calls as soon
    as they are certain (`early`). An undecided stretch is looked at again when it has doubled, so that the
    work stays linear.
    """

    def __init__(self, preferred: str, tools: Iterable[ToolSpec] = (), *, thinking: bool = False):
        """Raises UsageError where `preferred` is not a format."""
        self._dialect = preferred
        self._preferred = read_as(preferred)
        self._tools = tuple(tools)
        self._thoughts = Thoughts(thinking)
        self._reasoning = ""
        self._text = ""
        self._sent = 0  # characters of content sent
        self._sent_to = 0  # index in the text after them
        self._at = 0  # strong marks are looked for from here
        self._weak_from = 0  # and brackets from here
        self._retry = 0  # length of the text at which an undecided stretch is looked at again
        self._holding = False  # a call was found: nothing more is certain but what `_early` says
        self._early: EarlyCalls | None = None
        self._early_from = -1  # index in the text where it began
        self._early_waits = False  # nothing else is to be decided before it knows
        self._told: list[tuple[str, str]] = []  # name and arguments' text of each call as they were told

    @property
    def answer(self) -> str:
        """All of the text so far, but for the thinking block."""
        return self._text

    def feed(self, text: str) -> list[Piece]:
        """What has become certain."""
        thought, text = self._thoughts.feed(text)
        self._text += text
        if self._early is not None:
            self._early.feed(text)
        return [*self._thought(thought), *self._certain()]

    def finish(self) -> tuple[list[Piece], Reading]:
        """(the rest, the reading of the whole text)."""
        thought, text = self._thoughts.finish()
        self._text += text
        if self._early is not None:
            self._early.feed(text)
        self._retry = 0
        pieces = [*self._thought(thought), *self._certain()]
        reading = self._reading()
        pieces += self._rest_of(reading)
        return pieces, reading

    def _thought(self, text: str) -> Iterator[Piece]:
        self._reasoning += text
        if text:
            yield Reasoning(text)

    def _certain(self) -> Iterator[Piece]:
        """Everything that is certain now and was not told."""
        if content := self._content():
            yield Content(content)
        for index, call in enumerate(self._early.calls if self._early else ()):
            yield from self._told_of(index, meant_name(call.name, self._tools), call.arguments)

    def _told_of(self, index: int, name: str, arguments: str) -> Iterator[Piece]:
        if index == len(self._told):
            self._told.append((name, ""))
            yield CallBegun(index, name)
        known = self._told[index][1]
        if len(arguments) > len(known):
            self._told[index] = (name, arguments)
            yield ArgumentText(index, arguments[len(known) :])

    def _content(self) -> str:
        if self._early_waits and self._early is not None:
            self._early_waits = not (self._early.over or self._early.calls)
        if self._holding or self._early_waits or len(self._text) < self._retry:
            return ""
        certain = self._text[self._sent_to : self._certain_until()]
        if not self._sent:
            self._sent_to += len(certain) - len(certain.lstrip())
            certain = certain.lstrip()
        certain = certain.rstrip()  # whitespace counts only if more prose follows
        self._sent_to += len(certain)
        self._sent += len(certain)
        return certain

    def _certain_until(self) -> int:
        """Index in the text before which all is prose, whatever follows."""
        while (segment := self._next_segment()) is not None:
            early = self._early_at(segment.start)
            if early.calls:
                self._holding = True
                return segment.start
            if not early.over:
                self._early_waits = True
                self._at = segment.start
                return segment.start
            decided = segment.reach + LOOKAHEAD <= len(self._text)
            if decided and (segment.calls or segment.problem):
                self._holding = True
                return segment.start
            if not decided:
                self._at = segment.start
                return segment.end if segment.code else self._wait_from(segment.start)
            self._at, self._weak_from = segment.end, max(self._weak_from, segment.reach)
        beginning = _BEGINNING_OF_A_MARK.search(self._text, self._at)
        self._at = beginning.start() if beginning else len(self._text)
        return self._wait_from(self._at)

    def _early_at(self, start: int) -> EarlyCalls:
        """What is certain of a call that begins at `start`."""
        if self._early is None or self._early_from != start:
            self._early, self._early_from = EarlyCalls(self._dialect), start
            self._early.feed(self._text[start:])
        return self._early

    def _wait_from(self, undecided: int) -> int:
        """`undecided`, after arranging to look again when what follows it has doubled."""
        self._retry = 2 * len(self._text) - undecided
        return undecided

    def _next_segment(self) -> Segment | None:
        return next_segment(self._text, self._at, self._weak_from, self._preferred)

    def _reading(self) -> Reading:
        whole = settle_names(read_whole(self._text, self._dialect), self._tools)
        if self._early is not None and self._told and not self._agrees(whole):
            whole = self._up_to_the_break(self._early, whole)
        return replace(whole, reasoning=(self._reasoning or None) if self._thoughts.found else None)

    def _agrees(self, whole: Reading) -> bool:
        """Whether `whole` goes on from what was told."""
        calls = [(call.name, to_text(call.arguments)) for call in whole.calls]
        closed = [call.closed for call in self._early.calls] if self._early else []
        return (
            whole.problem is None
            and len(calls) >= len(self._told)
            and all(
                told[0] == call[0] and (told[1] == call[1] if done else call[1].startswith(told[1]))
                for told, call, done in zip(self._told, calls, closed, strict=False)
            )
        )

    def _up_to_the_break(self, early: EarlyCalls, whole: Reading) -> Reading:
        """What was told, where nothing that goes on from it can be read."""
        *calls, last = self._told
        broken = None if early.calls[-1].closed else BrokenCall(*last)
        if broken is None:
            calls.append(last)
        around = (self._text[: self._early_from].strip(), early.rest.strip())
        return Reading(
            calls=tuple(ToolCall(name, json.loads(arguments)) for name, arguments in calls),
            content="\n".join(piece for piece in around if piece) or None,
            problem=whole.problem or "a call that began plainly does not go on like one",
            broken=broken,
            format=self._preferred,
        )

    def _rest_of(self, reading: Reading) -> Iterator[Piece]:
        if rest := (reading.content or "")[self._sent :]:
            yield Content(rest)
        for index, call in enumerate(reading.calls):
            yield from self._told_of(index, call.name, to_text(call.arguments))
