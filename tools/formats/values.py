"""JSON values one after another, and the calls they say."""

from __future__ import annotations

import re

from strop.tools.formats.loose_json import LooseJson, UnreadableError
from strop.tools.formats.shapes import Repairs, calls_of, calls_of_items, looks_like_call
from strop.tools.spec import ToolCall

OPENING = re.compile(r"""\{(?=[ \t\r\n]*+["'])|\[(?=[ \t\r\n]*+\{)""")
"""Where an object, or a list of objects, begins in prose."""
_STRAY_CLOSERS = re.compile(r"[ \t\r\n]*+[}\]]++")


class BrokenError(Exception):
    """JSON that could not be read to its end."""

    def __init__(self, reason: str, position: int, *, is_call: bool):
        super().__init__(reason)
        self.reason = reason
        self.position = position
        self.is_call = is_call


class Values:
    """JSON values one after another (separated by space, a comma or a semicolon) and the calls they say."""

    def __init__(self, text: str, at: int):
        """Raises BrokenError."""
        self.reader = LooseJson(text)
        self.repairs: Repairs = self.reader.repairs
        self.calls: list[ToolCall] = []
        self.end = at
        values = 0
        while values == 0 or OPENING.match(text, at):
            found = self._read(text, at)
            if values and not found:
                break
            values += 1
            self.calls.extend(found or ())
            self.end = self._skip_stray(text, self._end) if found else self._end
            at = self.reader.skip_space(self.end)
            if found and text.startswith((",", ";"), at):
                at = self.reader.skip_space(at + 1)
            if not found:
                break
        if values > 1:
            self.repairs["several values read as a list"] = None

    def _read(self, text: str, at: int) -> list[ToolCall] | None:
        self.reader.keys.clear()
        try:
            if text.startswith("[", at):
                items, self._end = self.reader.array(at, closable=True)
                pieces = [(item, text[start:end]) for item, start, end in items]
                return calls_of_items(pieces, self.repairs)
            value, self._end = self.reader.value(at, closable=True)
            return calls_of(value, text[at : self._end], self.repairs)
        except UnreadableError as error:
            shape = error.position is None  # JSON was read, but what it says is broken
            position = self._end if error.position is None else error.position
            is_call = shape or bool(self.calls) or looks_like_call(self.reader.keys)
            raise BrokenError(error.reason, position, is_call=is_call) from error

    def _skip_stray(self, text: str, at: int) -> int:
        stray = _STRAY_CLOSERS.match(text, at)
        if stray is None:
            return at
        self.repairs["stray closing bracket(s) removed"] = None
        return stray.end()
