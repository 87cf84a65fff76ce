"""A text that is read while it grows: each step waits where there is nothing more to read.

Steps are generators that yield where they need more text, so that a reader is written as if all of it were
there. What they decide, they decide on characters they have seen: never on where a piece of the text ended.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, TypeAlias

from strop.tools.formats.loose_json import LooseJson

Steps: TypeAlias = Generator[None, None, None]
"""Yields where it needs more text."""
RUN = {quote: re.compile(rf"[^{quote}\\\ud800-\udfff]++") for quote in "\"'"}
"""Characters that stand for themselves in a string, by the quote around it."""

_SPACE = " \t\r\n"
_HEX = "0123456789abcdefABCDEF"


class OddError(Exception):
    """The text is not what was to be read; never leaves `strop.tools.formats`."""


class GrowingText:
    """The text so far, and what can be read of it."""

    def __init__(self) -> None:
        self.at = 0
        """Everything before is read."""
        self._text = ""

    def _peek(self) -> Generator[None, None, str]:
        while self.at >= len(self._text):
            yield
        return self._text[self.at]

    def char_at(self, index: int) -> Generator[None, None, str]:
        """The character at `index`."""
        while index >= len(self._text):
            yield
        return self._text[index]

    def follows(self, wanted: str, at: int) -> Generator[None, None, bool]:
        """Whether `wanted` is what stands at `at`."""
        for index, char in enumerate(wanted):
            if (yield from self.char_at(at + index)) != char:
                return False
        return True

    def after(self, mark: str, at: int) -> Generator[None, None, int]:
        """Index after the first `mark` from `at` on."""
        while (found := self._text.find(mark, at)) < 0:
            at = max(at, len(self._text) - len(mark) + 1)
            yield
        return found + len(mark)

    def never(self) -> Steps:
        """Nothing more will be certain, whatever comes."""
        while True:
            yield

    def _space(self) -> Steps:
        while (yield from self._peek()) in _SPACE:
            self.at += 1

    def _is_next(self, wanted: str) -> Generator[None, None, bool]:
        """Whether `wanted` follows; if it does, it is consumed."""
        follows = yield from self.follows(wanted, self.at)
        if follows:
            self.at += len(wanted)
        return follows

    def _expect(self, wanted: str) -> Steps:
        if not (yield from self._is_next(wanted)):
            raise OddError

    def _until(self, stops: str) -> Generator[None, None, str]:
        """The text before the first of the characters `stops`."""
        start = self.at
        while (yield from self._peek()) not in stops:
            self.at += 1
        return self._text[start : self.at]

    def _string(self) -> Generator[None, None, str]:
        """A whole JSON string."""
        start = self.at
        yield from self._expect('"')
        yield from self._skip_string('"')
        return str(loose_value(self._text[start : self.at]))

    def _escape(self) -> Generator[None, None, str]:
        """The text that an escape stands for, or two that are one character."""
        start = self.at
        self.at += 1
        char = yield from self._peek()
        self.at += 1
        if char == "u":
            for _ in range(4):
                if (yield from self._peek()) not in _HEX:
                    self.at = start + 2
                    return "\\u"
                self.at += 1
            if self._text[start + 2 : start + 4].lower() in ("d8", "d9", "da", "db"):
                return (yield from self._pair(start))
        return str(loose_value(f'"{self._text[start : self.at]}"'))

    def _pair(self, start: int) -> Generator[None, None, str]:
        """The second half of a surrogate pair, where it is one."""
        for index, allowed in enumerate(("\\", "u", "dD", "cdefCDEF", *[_HEX] * 2)):
            while self.at + index >= len(self._text):
                yield
            if self._text[self.at + index] not in allowed:
                return "\ufffd"
        self.at += 6
        return str(loose_value(f'"{self._text[start : self.at]}"'))

    def _value(self) -> Generator[None, None, str]:
        """The text of a value that is no string."""
        start, depth = self.at, 0
        while True:
            char = yield from self._peek()
            if depth == 0 and self.at > start and char in ",}] \t\r\n":
                return self._text[start : self.at]
            self.at += 1
            if char in "{[":
                depth += 1
            elif char in "}]":
                depth -= 1
                if depth == 0:
                    return self._text[start : self.at]
            elif char in RUN:
                yield from self._skip_string(char)
            elif char == "/":
                raise OddError  # a comment
            if depth < 0:
                raise OddError

    def _skip_string(self, quote: str) -> Steps:
        """The rest of a string that ends with `quote`."""
        while (char := (yield from self._peek())) != quote:
            self.at += 1
            if char == "\\":
                yield from self._peek()
                self.at += 1
        self.at += 1


def loose_value(text: str) -> Any:
    """The one JSON value that `text` is. Raises UnreadableError, OddError."""
    value, end = LooseJson(text).value(0)
    if end != len(text):
        raise OddError
    return value
