"""Finds in a text, from left to right, the stretches that are calls, or look like calls and cannot be read.

A stretch begins at a mark: a code fence, a ``<tool_call>`` tag, a mark of a model family's own (`announced`),
an object or a list of objects, a list of Python calls. The leftmost mark wins and what lies inside a stretch
is not looked at again, so a call quoted in another call's argument, or in a fence of code, is not taken for
one. Each decision rests on the text up to the stretch's `reach` (and at most `LOOKAHEAD` characters more),
which is what makes streaming possible. Time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from strop.tools.formats import announced, pythonic
from strop.tools.formats.base import Segment
from strop.tools.formats.loose_json import LooseJson, UnreadableError
from strop.tools.formats.shapes import Repairs
from strop.tools.formats.values import OPENING, BrokenError, Values
from strop.tools.spec import ToolCall

LOOKAHEAD = 16
"""Characters past a stretch's `reach` that may still change the decision about it."""
CALL_LABELS = frozenset(
    {"", "json", "json5", "jsonc", "jsonl", "tool_call", "tool_calls", "tool_code", "xml"}
)
"""Labels of code fences that may hold calls; a fence with any other is code, and code is prose."""

_FENCE = re.compile(r"`{3,}+")
_TAG = re.compile(r"<(?:tool_call|function_call|tools)>")
_LIST = re.compile(pythonic.OPENING)
_STRONG = rf"(?P<fence>{_FENCE.pattern})|(?P<tag>{_TAG.pattern})|(?P<announced>{announced.MARK})"
_STRONG_MARK = re.compile(_STRONG)
_MARK = re.compile(rf"{_STRONG}|(?P<json>{OPENING.pattern})|(?P<list>{_LIST.pattern})")
_LABEL = re.compile(r"[ \t]*+([\w+#.-]*+)[ \t\r\n]*+")
_BLANK = re.compile(r"\s*+\Z")


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
    if mark.lastgroup == "announced":
        return announced.read_announced(text, mark.start(), mark.end())
    if mark.lastgroup == "list":
        return _list_of_calls(text, mark.start(), preferred)
    return _bare(text, mark.start())


def _bare(text: str, start: int) -> Segment:
    """JSON in the middle of prose."""
    try:
        values = Values(text, start)
        return _segment_of(values, "bare_json", start, values.end)
    except BrokenError as broken:
        reach = max(broken.position, start + 1)
        if broken.is_call:
            return Segment("bare_json", start, reach, reach, problem=broken.reason)
        return Segment("bare_json", start, start + 1, reach)


def _fence(text: str, mark: re.Match[str], preferred: str) -> Segment:
    """A code fence: calls where its label and first character allow them, else code."""
    start, fence = mark.start(), mark.group()
    label = _label(text, mark.end())
    body = label.end()
    may_hold_calls = label.group(1).lower() in CALL_LABELS
    tag = _TAG.match(text, body)
    if may_hold_calls and tag is not None:
        return _within_fence(text, _tagged(text, tag.start(), tag.end()), start, fence)
    if may_hold_calls and _LIST.match(text, body):
        segment = _list_of_calls(text, body, preferred)
        if segment.calls or segment.problem:
            return _within_fence(text, segment, start, fence)
        end = _end_of(fence, text, segment.reach)
        return Segment("fenced_json", start, end, end)
    if may_hold_calls and text.startswith(("{", "["), body):
        return _json_fence(text, start, body, fence)
    end = _end_of(fence, text, body)
    decided = body if may_hold_calls else label.end(1)
    is_code = decided < len(text) and (not may_hold_calls or text[body] not in "<[{")
    return Segment("fenced_json", start, end, end, code=is_code)


def _json_fence(text: str, start: int, body: int, fence: str) -> Segment:
    try:
        values = Values(text, body)
    except BrokenError as broken:
        end = _end_of(fence, text, min(broken.position, len(text)))
        return Segment("fenced_json", start, end, end, problem=broken.reason if broken.is_call else None)
    at = values.reader.skip_space(values.end)
    reopened = text.startswith(fence + "json", at)
    if text.startswith(fence, at) and not reopened:
        end = at + len(fence)
    elif values.calls and (reopened or text.find(fence, at) < 0):
        values.repairs["missing closing fence"] = None
        end = values.end
    else:
        end = _end_of(fence, text, at)
        if values.calls:
            return Segment("fenced_json", start, end, end, problem="text after the call inside its fence")
    return _segment_of(values, "fenced_json", start, end)


def _segment_of(values: Values, format_name: str, start: int, end: int) -> Segment:
    repairs = tuple(values.repairs) if values.calls else ()
    return Segment(format_name, start, end, end, tuple(values.calls), repairs)


def _within_fence(text: str, inner: Segment, start: int, fence: str) -> Segment:
    """`inner`, with the fence around it taken away where it holds nothing else."""
    closing = LooseJson(text).skip_space(inner.end)
    end = closing + len(fence) if text.startswith(fence, closing) else inner.end
    repairs = (*inner.repairs, "code fence around the call removed")
    return Segment(inner.format, start, end, max(end, inner.reach), inner.calls, repairs, inner.problem)


def _label(text: str, at: int) -> re.Match[str]:
    """The label of a fence and the space after it."""
    label = _LABEL.match(text, at)
    assert label is not None  # matches the empty string
    return label


def _end_of(closing: str, text: str, at: int) -> int:
    """Index after the next `closing`, or of the end of the text."""
    found = text.find(closing, at)
    return len(text) if found < 0 else found + len(closing)


def _tagged(text: str, start: int, body: int) -> Segment:
    """What a tag opens: it announces a call, so what cannot be read is a problem."""
    tag = text[start:body]
    closing_tag = "</" + tag[1:]
    try:
        calls, repairs, at = _tag_body(text, LooseJson(text).skip_space(body))
    except BrokenError as broken:
        at = max(body, broken.position)
        if tag == "<tools>":  # also what prompts put around descriptions: no announcement of a call
            return Segment("hermes", start, start + 1, at)
        end = _end_of(closing_tag, text, at)
        return Segment("hermes", start, end, end, problem=f"inside {tag}: {broken.reason}")
    if tag != "<tool_call>":
        repairs = (f"{tag} read as <tool_call>", *repairs)
    closing = LooseJson(text).skip_space(at)
    if text.startswith(closing_tag, closing):
        at = closing + len(closing_tag)
    else:
        repairs = (*repairs, "missing closing tag")
    return Segment("hermes", start, at, at, tuple(calls), repairs)


def _tag_body(text: str, at: int) -> tuple[Sequence[ToolCall], tuple[str, ...], int]:
    """(calls, repairs, index after them) of what begins at `at`, in a fence or not. Raises BrokenError."""
    fence = _FENCE.match(text, at)
    if fence is not None:
        segment = _json_fence(text, at, _label(text, fence.end()).end(), fence.group())
        if not segment.calls:
            raise BrokenError(segment.problem or "no call in the code fence", segment.reach, is_call=True)
        return segment.calls, (*segment.repairs, "code fence inside the tags removed"), segment.end
    values = Values(text, at)
    if not values.calls:
        raise BrokenError("the object has no name and arguments", values.end, is_call=True)
    return values.calls, tuple(values.repairs), values.end


def _list_of_calls(text: str, start: int, preferred: str) -> Segment:
    """A Python list of calls; one that cannot be read is a problem only where it was to be expected."""
    expected = preferred == "pythonic" or _BLANK.match(text, 0, start) is not None
    repairs: Repairs = {}
    try:
        end, items = pythonic.find_end(text, start)
    except UnreadableError as error:
        reach = max(error.position or 0, start + 1)
        if expected:
            return Segment("pythonic", start, reach, reach, problem=error.reason)
        return Segment("pythonic", start, start + 1, reach)
    try:
        calls = pythonic.calls_in(text[start:end], items, repairs)
    except UnreadableError as error:
        return Segment("pythonic", start, end, end, problem=error.reason if expected else None)
    return Segment("pythonic", start, end, end, tuple(calls), tuple(repairs))
