"""Finds in a text, from left to right, the stretches that are calls, or look like calls and cannot be read.

A stretch begins at a mark: a code fence, a ``<tool_call>`` tag, an object or a list of objects, a list of Python
calls. The leftmost mark wins and what lies inside a stretch is not looked at again, so a call quoted in another
call's argument, or in a fence of code, is not taken for one. Each decision rests on the text up to the stretch's
`reach` (and at most `LOOKAHEAD` characters more), which is what makes streaming possible. Time is linear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strop.tools.formats import pythonic
from strop.tools.formats.loose_json import LooseJson, UnreadableError
from strop.tools.formats.shapes import Repairs, calls_of, calls_of_items, looks_like_call
from strop.tools.spec import ToolCall

LOOKAHEAD = 16
"""Characters past a stretch's `reach` that may still change the decision about it."""
CALL_LABELS = frozenset(
    {"", "json", "json5", "jsonc", "jsonl", "tool_call", "tool_calls", "tool_code", "xml"}
)
"""Labels of code fences that may hold calls; a fence with any other is code, and code is prose."""

_OBJECT = r"\{(?=[ \t\r\n]*+[\"'])"
_OBJECTS = r"\[(?=[ \t\r\n]*+\{)"
_TAG = r"<(?:tool_call|function_call|tools)>"
_MARK = re.compile(
    rf"(?P<fence>`{{3,}}+)|(?P<tag>{_TAG})|(?P<json>{_OBJECT}|{_OBJECTS})|(?P<list>{pythonic.OPENING})"
)
_STRONG_MARK = re.compile(rf"(?P<fence>`{{3,}}+)|(?P<tag>{_TAG})")
_OPENING = re.compile(f"{_OBJECT}|{_OBJECTS}")
_LABEL = re.compile(r"[ \t]*+([\w+#.-]*+)[ \t\r\n]*+")
_LIST_OPENING = re.compile(pythonic.OPENING)
_BLANK = re.compile(r"\s*+\Z")
_STRAY_CLOSERS = re.compile(r"[ \t\r\n]*+[}\]]++")


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


def next_segment(text: str, at: int, weak_from: int, preferred: str) -> Segment | None:
    """The first stretch from `at` on; brackets before `weak_from` do not count. None where there is none."""
    mark = _STRONG_MARK.search(text, at, weak_from) if at < weak_from else None
    mark = mark or _MARK.search(text, max(at, weak_from))
    if mark is None:
        return None
    if mark.lastgroup == "fence":
        return _fence(text, mark, preferred)
    if mark.lastgroup == "tag":
        return _tagged(text, mark.start(), mark.end())
    if mark.lastgroup == "list":
        return _list_of_calls(text, mark.start(), preferred)
    return _bare(text, mark.start())


def _bare(text: str, start: int) -> Segment:
    """JSON in the middle of prose."""
    try:
        values = _Values(text, start)
        return values.segment("bare_json", start, values.end)
    except _BrokenError as broken:
        reach = max(broken.position, start + 1)
        if broken.is_call:
            return Segment("bare_json", start, reach, reach, problem=broken.reason)
        return Segment("bare_json", start, start + 1, reach)


def _fence(text: str, mark: re.Match[str], preferred: str) -> Segment:
    """A code fence: calls where its label and first character allow them, else code."""
    start, fence = mark.start(), mark.group()
    label = _LABEL.match(text, mark.end())
    assert label is not None  # matches the empty string
    body = label.end()
    may_hold_calls = label.group(1).lower() in CALL_LABELS
    tag = _STRONG_MARK.match(text, body)
    if may_hold_calls and tag is not None and tag.lastgroup == "tag":
        return _fenced_tag(text, start, tag, fence)
    if may_hold_calls and _LIST_OPENING.match(text, body):
        segment = _list_of_calls(text, body, preferred)
        if segment.calls or segment.problem:
            return _within_fence(text, segment, start, fence)
        end = _fence_end(text, segment.reach, fence)
        return Segment("fenced_json", start, end, end)
    if may_hold_calls and text.startswith(("{", "["), body):
        return _json_fence(text, start, body, fence)
    end = _fence_end(text, body, fence)
    is_code = body < len(text) and (not may_hold_calls or text[body] not in "<[{")
    return Segment("fenced_json", start, end, end, code=is_code)


def _json_fence(text: str, start: int, body: int, fence: str) -> Segment:
    try:
        values = _Values(text, body)
    except _BrokenError as broken:
        end = _fence_end(text, min(broken.position, len(text)), fence)
        return Segment("fenced_json", start, end, end, problem=broken.reason if broken.is_call else None)
    at = values.reader.skip_space(values.end)
    reopened = text.startswith(fence + "json", at)
    if text.startswith(fence, at) and not reopened:
        end = at + len(fence)
    elif values.calls and (reopened or text.find(fence, at) < 0):
        values.repairs["missing closing fence"] = None
        end = values.end
    else:
        end = _fence_end(text, at, fence)
        if values.calls:
            return Segment("fenced_json", start, end, end, problem="text after the call inside its fence")
    return values.segment("fenced_json", start, end)


def _fenced_tag(text: str, start: int, tag: re.Match[str], fence: str) -> Segment:
    return _within_fence(text, _tagged(text, tag.start(), tag.end()), start, fence)


def _within_fence(text: str, inner: Segment, start: int, fence: str) -> Segment:
    """`inner`, with the fence around it taken away; more calls may follow inside, the fence is then theirs."""
    closing = LooseJson(text).skip_space(inner.end)
    end = closing + len(fence) if text.startswith(fence, closing) else inner.end
    repairs = (*inner.repairs, "code fence around the call removed")
    return Segment(inner.format, start, end, max(end, inner.reach), inner.calls, repairs, inner.problem)


def _fence_end(text: str, at: int, fence: str) -> int:
    """Index after the closing fence, or of the end of the text."""
    closing = text.find(fence, at)
    return len(text) if closing < 0 else closing + len(fence)


def _tagged(text: str, start: int, body: int) -> Segment:
    """What a tag opens: it announces a call, so what cannot be read is a problem."""
    tag = text[start:body]
    closing_tag = "</" + tag[1:]
    repairs: Repairs = {} if tag == "<tool_call>" else {f"{tag} read as <tool_call>": None}
    at = LooseJson(text).skip_space(body)
    fence = _STRONG_MARK.match(text, at)
    if fence is not None and fence.lastgroup == "fence":
        segment = _fence(text, fence, "hermes")
        repairs["code fence inside the tags removed"] = None
        if segment.code or not segment.calls:
            return _broken_tag(
                text, start, body, closing_tag, segment.problem or "no call inside its code fence"
            )
        calls, at = list(segment.calls), segment.end
        repairs.update(dict.fromkeys(segment.repairs))
    else:
        try:
            values = _Values(text, at)
        except _BrokenError as broken:
            return _broken_tag(text, start, max(body, broken.position), closing_tag, broken.reason)
        if not values.calls:
            return _broken_tag(text, start, values.end, closing_tag, "the object has no name and arguments")
        calls, at = values.calls, values.end
        repairs.update(values.repairs)
    end = LooseJson(text).skip_space(at)
    if text.startswith(closing_tag, end):
        at = end + len(closing_tag)
    else:
        repairs["missing closing tag"] = None
    return Segment("hermes", start, at, at, tuple(calls), tuple(repairs))


def _broken_tag(text: str, start: int, at: int, closing_tag: str, reason: str) -> Segment:
    closing = text.find(closing_tag, at)
    end = len(text) if closing < 0 else closing + len(closing_tag)
    if text.startswith("<tools>", start):  # the prompt's own tag for descriptions: no announcement of a call
        return Segment("hermes", start, start + 1, at)
    return Segment("hermes", start, end, end, problem=f"inside {closing_tag.replace('/', '')}: {reason}")


def _list_of_calls(text: str, start: int, preferred: str) -> Segment:
    """A Python list of calls; one that cannot be read is a problem only where it was to be expected."""
    expected = preferred == "pythonic" or _BLANK.match(text, 0, start) is not None
    repairs: Repairs = {}
    try:
        end, items = pythonic.find_end(text, start)
    except UnreadableError as error:
        reach = max(error.position, start + 1)
        if expected:
            return Segment("pythonic", start, reach, reach, problem=error.reason)
        return Segment("pythonic", start, start + 1, reach)
    try:
        calls = pythonic.calls_in(text[start:end], items, repairs)
    except UnreadableError as error:
        return Segment("pythonic", start, end, end, problem=error.reason if expected else None)
    return Segment("pythonic", start, end, end, tuple(calls), tuple(repairs))


class _BrokenError(Exception):
    """JSON that could not be read to its end."""

    def __init__(self, reason: str, position: int, *, is_call: bool):
        super().__init__(reason)
        self.reason = reason
        self.position = position
        self.is_call = is_call


class _Values:
    """JSON values one after another (separated by space, a comma or a semicolon) and the calls they say."""

    def __init__(self, text: str, at: int):
        """Raises _BrokenError."""
        self.reader = LooseJson(text)
        self.repairs: Repairs = self.reader.repairs
        self.calls: list[ToolCall] = []
        self.end = at
        values = 0
        while values == 0 or _OPENING.match(text, at):
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
            position = self._end if error.position is None else error.position
            is_call = error.position is None or bool(self.calls) or looks_like_call(self.reader.keys)
            raise _BrokenError(error.reason, position, is_call=is_call) from error

    def _skip_stray(self, text: str, at: int) -> int:
        stray = _STRAY_CLOSERS.match(text, at)
        if stray is None:
            return at
        self.repairs["stray closing bracket(s) removed"] = None
        return stray.end()

    def segment(self, format_name: str, start: int, end: int) -> Segment:
        """The segment from `start` to `end` that these values are."""
        repairs = tuple(self.repairs) if self.calls else ()
        return Segment(format_name, start, end, end, tuple(self.calls), repairs)
