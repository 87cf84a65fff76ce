"""A JSON reader for text a model wrote: bounded, tolerant of the usual slips, and honest about them.

Besides JSON (RFC 8259) it reads, and records as a repair, each of: a trailing comma; single-quoted strings
and ``True``/``False``/``None``; unquoted keys; raw line breaks in strings; unknown escapes (kept as they
stand); duplicate keys (the last is kept); lone surrogates (replaced by U+FFFD); comments of at most 200
characters inside an object or array (dropped); and, on the way down to a call but never inside its arguments,
closing braces or brackets missing where the text or its fence ends, or where the next call of a list begins.

Not read: ``NaN`` and ``Infinity``, numbers outside a double's range, nesting deeper than `MAX_DEPTH`,
missing commas, arithmetic. Time is linear in the text read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 64
"""Containers within containers; deeper is refused, so that no input exhausts the stack."""
MAX_DIGITS = 309
"""Digits of an integer: as many as the largest double has."""
ARGUMENT_KEYS = ("arguments", "parameters", "args", "kwargs", "input")
"""Keys models put the arguments under, the right one first."""
NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name")
"""Keys models put the tool's name under, the right one first."""

_SPACE = re.compile(r"[ \t\r\n]*+")
# A comment never swallows a closing fence, and is short, so that looking for its end stays cheap.
_GAP = re.compile(r"(?:[ \t\r\n]++|//(?:(?!```)[^\n]){0,200}+|/\*(?:(?!\*/).){0,200}+\*/)*+", re.DOTALL)
_STRING = {
    '"': re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL),
    "'": re.compile(r"'([^'\\]*+(?:\\.[^'\\]*+)*+)'", re.DOTALL),
}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?(?![\w.])")
_CUT_NUMBER = re.compile(r"-?(?:[0-9][\w.+-]*+)?\Z")
_WORD = re.compile(r"[A-Za-z_]\w*+")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SURROGATE_PAIR = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RAW_CONTROL = re.compile(r"[\x00-\x1f]")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"'}
_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_PYTHON = "single quotes read as Python literals"


class UnreadableError(Exception):
    """No value can be read here; never leaves `strop.tools.formats`."""

    def __init__(self, reason: str, position: int | None = None):
        super().__init__(reason)
        self.reason = reason
        """Half a sentence for a person."""
        self.position = position
        """Index in the text where reading stopped; its length where the text is cut off. None where
        a whole value was read that is not what it should be."""


class LooseJson:
    """Reads values out of one text and collects what it had to repair."""

    __slots__ = ("_text", "keys", "repairs")

    def __init__(self, text: str):
        self._text = text
        self.repairs: dict[str, None] = {}
        """Repairs so far, each once, in order."""
        self.keys: set[str] = set()
        """Keys met on the way down to a call (not within its arguments), even if reading then failed."""

    def skip_space(self, at: int) -> int:
        """Index of the first character from `at` on that is not JSON whitespace."""
        match = _SPACE.match(self._text, at)
        assert match is not None  # matches the empty string
        return match.end()

    def value(self, at: int, *, depth: int = 0, closable: bool = False) -> tuple[Any, int]:
        """(value, index after it). `closable`: missing closing braces may be repaired here.

        Raises UnreadableError.
        """
        first = self._text[at : at + 1]
        if first == "{":
            return self._object(at, depth, closable)
        if first == "[":
            items, end = self.array(at, depth=depth, closable=closable)
            return [item for item, _, _ in items], end
        if first in _STRING:
            return self._string(at)
        if first and first in "-0123456789":
            return self._number(at)
        return self._constant(at)

    def array(
        self, at: int, *, depth: int = 0, closable: bool = False
    ) -> tuple[list[tuple[Any, int, int]], int]:
        """([(item, its start, its end)], index after the array) of the array that opens at `at`."""
        self._check_depth(depth, at)
        items: list[tuple[Any, int, int]] = []
        at = self._gap(at + 1)
        while not self._text.startswith("]", at):
            item, end = self.value(at, depth=depth + 1, closable=closable)
            items.append((item, at, end))
            at = self._gap(end)
            if self._text.startswith(",", at):
                at = self._after_comma(at, "]")
            elif closable and self._text_ends(at):
                self._repair("missing closing bracket added")
                return items, end
            elif not self._text.startswith("]", at):
                raise self._unexpected(at, "',' or ']'")
        return items, at + 1

    def _object(self, at: int, depth: int, closable: bool) -> tuple[dict[str, Any], int]:
        self._check_depth(depth, at)
        pairs: dict[str, Any] = {}
        at = end = self._gap(at + 1)
        while not self._text.startswith("}", at):
            if closable and _is_whole_call(pairs) and self._call_ends(at):
                self._repair("missing closing brace(s) added")
                return pairs, end
            key, at = self._key(at)
            if closable:
                self.keys.add(key)
            if key in pairs:
                self._repair("duplicate JSON keys: last kept")
            inner = closable and key in ("function", "tool_calls")
            pairs[key], end = self.value(self._after_colon(at), depth=depth + 1, closable=inner)
            at = self._gap(end)
            if self._text.startswith(",", at):
                at = self._after_comma(at, "}")
            elif not self._text.startswith("}", at) and not (
                closable and _is_whole_call(pairs) and self._call_ends(at)
            ):
                raise self._unexpected(at, "',' or '}'")
        return pairs, at + 1

    def _key(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] in _STRING:
            return self._string(at)
        word = _WORD.match(self._text, at)
        if word is None:
            raise self._unexpected(at, "a key")
        self._repair("unquoted key")
        return word.group(), word.end()

    def _string(self, at: int) -> tuple[str, int]:
        quote = self._text[at]
        match = _STRING[quote].match(self._text, at)
        if match is None:
            raise UnreadableError("a string that does not end", len(self._text))
        if quote == "'":
            self._repair(_PYTHON)
        body = match.group(1)
        if _RAW_CONTROL.search(body):
            self._repair("raw line break or control character in a string")
        if "\\" in body:
            body = _ESCAPE.sub(self._unescape, body)
            body = _SURROGATE_PAIR.sub(_join_surrogates, body)
        if _SURROGATE.search(body):
            self._repair("lone surrogate replaced")
            body = _SURROGATE.sub("\ufffd", body)
        return body, match.end()

    def _unescape(self, match: re.Match[str]) -> str:
        code = match.group(1)
        if code in _SIMPLE:
            return _SIMPLE[code]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code == "'":
            self._repair(_PYTHON)
            return code
        self._repair("unknown escape kept as it stands")
        return match.group()

    def _number(self, at: int) -> tuple[int | float, int]:
        match = _NUMBER.match(self._text, at)
        if match is None:
            if _CUT_NUMBER.match(self._text, at):
                raise UnreadableError("a number that is cut off", len(self._text))
            raise self._unexpected(at, "a number")
        if match.group(1) is None and match.group(2) is None:
            if match.end() - at > MAX_DIGITS:
                raise UnreadableError(f"an integer of more than {MAX_DIGITS} digits", at)
            return int(match.group()), match.end()
        number = float(match.group())
        if not math.isfinite(number):
            raise UnreadableError("a number out of range", at)
        return number, match.end()

    def _constant(self, at: int) -> tuple[bool | None, int]:
        word = _WORD.match(self._text, at)
        if word is None or word.group() not in _CONSTANTS:
            raise self._unexpected(at, "a value")
        if word.group()[0] in "TFN":
            self._repair("True, False or None read as JSON")
        return _CONSTANTS[word.group()], word.end()

    def _after_colon(self, at: int) -> int:
        at = self._gap(at)
        if not self._text.startswith(":", at):
            raise self._unexpected(at, "':'")
        return self._gap(at + 1)

    def _after_comma(self, at: int, close: str) -> int:
        at = self._gap(at + 1)
        if self._text.startswith(close, at):
            self._repair("trailing comma removed")
        return at

    def _call_ends(self, at: int) -> bool:
        """Whether a call object that is not closed may be taken to end here: where the text or its fence
        does, at the end of an array of calls, or where the next call of one begins instead of a key."""
        return self._text_ends(at) or self._text.startswith(("]", "{"), at)

    def _text_ends(self, at: int) -> bool:
        return at >= len(self._text) or self._text.startswith(("```", "</"), at)

    def _gap(self, at: int) -> int:
        """`skip_space` inside an object or array, where models also write comments as in JavaScript."""
        match = _GAP.match(self._text, at)
        assert match is not None  # matches the empty string
        if "/" in match.group():
            self._repair("comments dropped")
        return match.end()

    def _repair(self, what: str) -> None:
        self.repairs[what] = None

    def _check_depth(self, depth: int, at: int) -> None:
        if depth >= MAX_DEPTH:
            raise UnreadableError(f"nesting deeper than {MAX_DEPTH}", at)

    def _unexpected(self, at: int, wanted: str) -> UnreadableError:
        if at >= len(self._text):
            return UnreadableError(f"cut off where {wanted} should follow", at)
        return UnreadableError(f"{self._text[at : at + 12]!r} where {wanted} should be", at)


def _is_whole_call(pairs: Mapping[str, Any]) -> bool:
    """Whether nothing but closing braces can be missing: name and arguments are both complete."""
    if isinstance(pairs.get("function"), dict) or isinstance(pairs.get("tool_calls"), list):
        return True
    named = any(isinstance(pairs.get(key), str) for key in NAME_KEYS)
    return named and any(key in pairs for key in ARGUMENT_KEYS)


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = ord(match.group(1)), ord(match.group(2))
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
