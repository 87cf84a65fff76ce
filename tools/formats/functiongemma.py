"""FunctionGemma's own notation: ``call:name{key:<escape>text<escape>,list:[1,2],object:{inner:true}}``.

Strings stand between ``<escape>`` marks, keys are bare, everything else is as in JSON. There is no way to
write a text that holds the mark itself. Source: the model's chat template and documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from strop.tools.errors import UsageError
from strop.tools.formats.loose_json import MAX_DEPTH, LooseJson, UnreadableError
from strop.tools.spec import ToolCall

BEGIN, END, ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"

_NAME = re.compile(r"call:([^\s{<]+)\s*(?=\{)")
_KEY = re.compile(r"\s*([^\s:,{}\[\]<]+)\s*:\s*")
_SCALAR = re.compile(r"[^\s,{}\[\]<]+")
_SPACE = re.compile(r"\s*")


def read_call(text: str, at: int) -> tuple[ToolCall, int]:
    """(the call that begins at `at`, the index after it). Raises UnreadableError."""
    name = _NAME.match(text, at)
    if name is None:
        raise UnreadableError("call:name{ should follow", len(text))
    arguments, end = read_value(text, name.end())
    return ToolCall(name[1], arguments, text[at:end]), end


def read_value(text: str, at: int, depth: int = 0) -> tuple[Any, int]:
    """(value, index after it). Raises UnreadableError."""
    if depth > MAX_DEPTH:
        raise UnreadableError(f"nesting deeper than {MAX_DEPTH}", at)
    if text.startswith("{", at):
        return _object(text, at + 1, depth)
    if text.startswith("[", at):
        return _array(text, at + 1, depth)
    if text.startswith(ESCAPE, at):
        end = text.find(ESCAPE, at + len(ESCAPE))
        if end < 0:
            raise UnreadableError("a text that does not end", len(text))
        return text[at + len(ESCAPE) : end], end + len(ESCAPE)
    word = _SCALAR.match(text, at)
    if word is None or word.end() == len(text):
        raise UnreadableError("cut off where a value should be", len(text))
    return _scalar(word), word.end()


def _scalar(word: re.Match[str]) -> Any:
    """A number, true, false or null; a bare word is taken for the text it is."""
    try:
        value, end = LooseJson(word[0]).value(0)
    except UnreadableError:
        return word[0]
    return value if end == len(word[0]) else word[0]


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    pairs: dict[str, Any] = {}
    at = _skip(text, at)
    while not text.startswith("}", at):
        key = _KEY.match(text, at)
        if key is None:
            raise UnreadableError("a key should follow", len(text))
        if key[1] in pairs:
            raise UnreadableError(f"the key {key[1]!r} is given twice", at)
        pairs[key[1]], at = read_value(text, key.end(), depth + 1)
        at = _after(text, at, "}")
    return pairs, at + 1


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _skip(text, at)
    while not text.startswith("]", at):
        item, at = read_value(text, at, depth + 1)
        items.append(item)
        at = _after(text, at, "]")
    return items, at + 1


def _after(text: str, at: int, close: str) -> int:
    """Index of what follows a value: the next one, or `close`."""
    at = _skip(text, at)
    if text.startswith(",", at):
        return _skip(text, at + 1)
    if not text.startswith(close, at):
        raise UnreadableError(f"',' or {close!r} should follow", len(text) if at >= len(text) else at)
    return at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # matches the empty string
    return match.end()


class FunctionGemma:
    """`CallFormat` of FunctionGemma."""

    name = "functiongemma"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for names, keys and texts that the notation cannot hold."""
        return "".join(f"{BEGIN}call:{_name(call)}{_render(dict(call.arguments))}{END}" for call in calls)


def _name(call: ToolCall) -> str:
    if not re.fullmatch(r"[^\s{<]+", call.name):
        raise UsageError(f"tool name {call.name!r} cannot be written for FunctionGemma; use another format")
    return call.name


def _render(value: Any) -> str:
    if isinstance(value, str):
        if ESCAPE in value or ESCAPE in f"{value}{ESCAPE}"[1 : len(value) + len(ESCAPE) - 1]:
            raise UsageError(f"a text that holds {ESCAPE} cannot be written for FunctionGemma")
        return f"{ESCAPE}{value}{ESCAPE}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{_render(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(_render, value)) + "]"
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise UsageError(f"a call cannot be written for FunctionGemma: {error}") from error


def _key(key: str) -> str:
    if not re.fullmatch(r"[^\s:,{}\[\]<]+", key):
        raise UsageError(f"argument {key!r} cannot be written for FunctionGemma; use another format")
    return key
