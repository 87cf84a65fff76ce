"""Calls announced by a mark of their model family's own.

    Mistral        [TOOL_CALLS] and a JSON array (to v7), or a name, [ARGS] and the arguments (from v11 on)
    Granite 3      <|tool_call|> and a JSON array
    Llama 3        <|python_tag|> and objects with "parameters"; the tag may be missing
    DeepSeek       between <｜tool▁calls▁begin｜> and its end, each between <｜tool▁call▁begin｜> and its end:
                   name, <｜tool▁sep｜>, arguments (V3.1), or "function", the mark, the name and the arguments
                   in a fence (V3, R1)
    FunctionGemma  <start_function_call>, see `functiongemma`

What follows a mark and cannot be read is a problem; after ``<|python_tag|>`` it may also be a program, which
is prose. Sources: the models' own chat templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from strop.tools.formats import functiongemma
from strop.tools.formats.base import Segment
from strop.tools.formats.loose_json import LooseJson, UnreadableError
from strop.tools.formats.shapes import Repairs
from strop.tools.formats.values import BrokenError, Values
from strop.tools.spec import ToolCall

MISTRAL = "[TOOL_CALLS]"
MISTRAL_ARGS = "[ARGS]"
GRANITE = "<|tool_call|>"
LLAMA = "<|python_tag|>"
DEEPSEEK_ALL, DEEPSEEK_ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
DEEPSEEK, DEEPSEEK_SEP, DEEPSEEK_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"

MARK = "|".join(map(re.escape, (MISTRAL, GRANITE, LLAMA, DEEPSEEK_ALL, DEEPSEEK, functiongemma.BEGIN)))
"""Where an announced call begins."""

_MISTRAL_NAME = re.compile(r"([^\s\[{]+)(?:\[CALL_ID\][^\s\[{]*)?(?:\[ARGS\])?[ \t\r\n]*+(?=\{)")
_FENCED_ARGUMENTS = re.compile(r"function[ \t]*" + re.escape(DEEPSEEK_SEP) + r"([^\n<`]+)\n```(?:json)?\s*")
_PLAIN_ARGUMENTS = re.compile(r"([^\n<`]+)" + re.escape(DEEPSEEK_SEP) + r"\s*")
_FENCE_END = re.compile(r"\s*```")


_Reader: TypeAlias = Callable[[str, int, Repairs], tuple[list[ToolCall], int]]
"""Reads from an index on: the calls, and the index after them. Raises BrokenError, UnreadableError."""


def read_announced(text: str, start: int, body: int) -> Segment:
    """The stretch that the mark from `start` to `body` opens."""
    mark = text[start:body]
    if mark == MISTRAL:
        return _read("mistral", text, start, body, _mistral)
    if mark == GRANITE:
        return _read("granite", text, start, body, _json)
    if mark == functiongemma.BEGIN:
        return _read("functiongemma", text, start, body, _functiongemma)
    if mark == LLAMA:
        return _python_tag(text, start, body)
    return _read("deepseek", text, start, start, _deepseek)


def _read(name: str, text: str, start: int, body: int, read: _Reader) -> Segment:
    repairs: Repairs = {}
    try:
        calls, end = read(text, LooseJson(text).skip_space(body), repairs)
    except (BrokenError, UnreadableError) as error:
        reach = max(body, len(text) if error.position is None else error.position)
        return Segment(name, start, reach, reach, problem=f"after {text[start:body] or name}: {error.reason}")
    return Segment(name, start, end, end, tuple(calls), tuple(repairs))


def _json(text: str, at: int, repairs: Repairs) -> tuple[list[ToolCall], int]:
    values = Values(text, at)
    if not values.calls:
        raise BrokenError("there is no call", values.end, is_call=True)
    repairs.update(values.repairs)
    return values.calls, values.end


def _mistral(text: str, at: int, repairs: Repairs) -> tuple[list[ToolCall], int]:
    if at >= len(text) or text[at] in "[{":
        return _json(text, at, repairs)
    name = _MISTRAL_NAME.match(text, at)
    if name is None:
        raise UnreadableError("a name and arguments should follow", len(text))
    arguments, end = _arguments(text, name.end(), repairs)
    return [ToolCall(name[1], arguments, text[at:end])], end


def _python_tag(text: str, start: int, body: int) -> Segment:
    at = LooseJson(text).skip_space(body)
    if at < len(text) and text[at] not in "[{":
        return Segment("bare_json", start, at, at)  # a program for an interpreter
    return _read("bare_json", text, start, body, _json)


def _deepseek(text: str, at: int, repairs: Repairs) -> tuple[list[ToolCall], int]:
    reader, calls = LooseJson(text), list[ToolCall]()
    if text.startswith(DEEPSEEK_ALL, at):
        at = reader.skip_space(at + len(DEEPSEEK_ALL))
    else:
        repairs["missing opening mark"] = None
    while text.startswith(DEEPSEEK, at):
        call, at = _deepseek_call(text, at + len(DEEPSEEK), repairs)
        calls.append(call)
    if not calls:
        raise UnreadableError(f"{DEEPSEEK} should follow", len(text))
    if not text.startswith(DEEPSEEK_ALL_END, at):
        repairs["missing closing mark"] = None
        return calls, at
    return calls, at + len(DEEPSEEK_ALL_END)


def _deepseek_call(text: str, at: int, repairs: Repairs) -> tuple[ToolCall, int]:
    fenced = _FENCED_ARGUMENTS.match(text, at)
    head = fenced or _PLAIN_ARGUMENTS.match(text, at)
    if head is None:
        raise UnreadableError("a name and arguments should follow", len(text))
    arguments, end = _arguments(text, head.end(), repairs)
    call = ToolCall(head[1].strip(), arguments, text[at:end])
    if fenced and (fence := _FENCE_END.match(text, end)):
        end = fence.end()
    reader = LooseJson(text)
    closing = reader.skip_space(end)
    if text.startswith(DEEPSEEK_END, closing):
        return call, reader.skip_space(closing + len(DEEPSEEK_END))
    repairs["missing closing mark"] = None
    return call, closing


def _arguments(text: str, at: int, repairs: Repairs) -> tuple[dict[str, object], int]:
    reader = LooseJson(text)
    value, end = reader.value(at)
    if not isinstance(value, dict):
        raise UnreadableError("the arguments are not an object", end)
    repairs.update(reader.repairs)
    return value, end


def _functiongemma(text: str, at: int, repairs: Repairs) -> tuple[list[ToolCall], int]:
    call, end = functiongemma.read_call(text, at)
    if text.startswith(functiongemma.END, end):
        return [call], end + len(functiongemma.END)
    repairs["missing closing mark"] = None
    return [call], end
