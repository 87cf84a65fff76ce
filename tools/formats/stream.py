"""Reads an answer while it is being written."""

from __future__ import annotations

import re

from strop.tools.formats.base import Reading
from strop.tools.formats.reading import read_calls
from strop.tools.formats.segments import LOOKAHEAD, Segment, next_segment

_BEGINNING_OF_A_MARK = re.compile(r"(?:`++|<[a-z_]{0,15}+|\{[ \t\r\n]*+|\[[ \t\r\n]*+[\w.]*+)\Z")


class StreamReader:
    """Tells prose, which may be sent at once, from what may become a call, which is held back.

    All the content `feed` and `finish` return, joined, is `Reading.content` of the whole text. After the
    first call everything is held until `finish`: a later stretch that cannot be read takes the whole answer
    back. An undecided stretch is looked at again when it has doubled, so that the work stays linear.
    """

    def __init__(self, preferred: str):
        """Raises UsageError where `preferred` is not a format."""
        read_calls("", preferred=preferred)
        self._preferred = preferred
        self._text = ""
        self._sent = 0  # characters of content sent
        self._sent_to = 0  # index in the text after them
        self._at = 0  # strong marks are looked for from here
        self._weak_from = 0  # and brackets from here
        self._retry = 0  # length of the text at which an undecided stretch is looked at again
        self._holding = False  # a call was read: nothing more is certain until the end

    def feed(self, text: str) -> str:
        """Content that is certain after `text` was added; "" where there is none yet."""
        self._text += text
        if self._holding or len(self._text) < self._retry:
            return ""
        certain = self._text[self._sent_to : self._certain_until()]
        if not self._sent:
            self._sent_to += len(certain) - len(certain.lstrip())
            certain = certain.lstrip()
        certain = certain.rstrip()  # whitespace counts only if more prose follows
        self._sent_to += len(certain)
        self._sent += len(certain)
        return certain

    def finish(self) -> tuple[str, Reading]:
        """(the rest of the content, the reading of the whole text)."""
        reading = read_calls(self._text, preferred=self._preferred)
        return (reading.content or "")[self._sent :], reading

    def _certain_until(self) -> int:
        """Index in the text before which all is prose, whatever follows."""
        while (segment := self._next_segment()) is not None:
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

    def _wait_from(self, undecided: int) -> int:
        """`undecided`, after arranging to look again when what follows it has doubled."""
        self._retry = 2 * len(self._text) - undecided
        return undecided

    def _next_segment(self) -> Segment | None:
        return next_segment(self._text, self._at, self._weak_from, self._preferred)
