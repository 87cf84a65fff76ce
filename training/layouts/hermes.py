"""hermes-function-calling-v1: calls in ``<tool_call>`` tags, tools in ``<tools>`` tags of the system turn.

What is written about tags (the list itself, how a call is to be put down) is the layout's and goes: a policy
is told so by its own template. The rest of the system turn stays. Tools under the row's own ``tools`` come
first. Python's literals, in which half of the data set is written, are read as well as JSON.
"""

from __future__ import annotations

import re
from typing import Any

from strop.tools import sealtools
from strop.tools.errors import DataError
from strop.tools.formats.bracketed import read_literal
from strop.tools.formats.reading import read_whole
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import Conversation
from strop.training.layouts.exact import parse_at, parse_list
from strop.training.layouts.turns import speakers, stranger, turns_of

SPEAKERS = frozenset({"system", "human", "gpt", "tool"})

_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_RESULT = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)
_ABOUT_TAGS = (
    re.compile(r"(?:Here are the available tools:\s*)?<tools>(?=\s*[\[{]).*?</tools>\s*", re.DOTALL),
    re.compile(r"You are provided with function signatures within <tools>\s*</tools> XML tags\.\s*"),
    re.compile(r"Use the following pydantic model json schema[^\n{]*\{[^\n]*?\}\s*(?=For each|\n|\Z)"),
    re.compile(r"For each function call,? return a json object.*?</tool_call>.*?</tool_call>\s*", re.DOTALL),
)


def has_tags(row: Row) -> bool:
    """Whether anybody's text has the tags of calls, results or tools."""
    try:
        turns = turns_of(row)
    except DataError:
        return False
    marks = ("<tool_call>", "<tool_response>", "<tools>")
    return any(mark in text for _, text in turns for mark in marks)


class HermesLayout:
    """`Layout`."""

    name = "hermes"

    def fits(self, row: Row) -> bool:
        who = speakers(row)
        return bool(who) and who <= SPEAKERS and not sealtools.is_row(row)

    def marked(self, row: Row) -> bool:
        return has_tags(row) or "tool" in speakers(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        conversation = Conversation()
        tools = parse_list(row.get("tools"), "'tools'")
        for number, (speaker, text) in enumerate(turns_of(row), start=1):
            match speaker:
                case "system":
                    tools = tools or _tools(text)
                    rest = _without_tags(text)
                    if rest:
                        conversation.say("system", rest)
                case "human":
                    conversation.say("user", text)
                case "tool":
                    for result in _results(text):
                        conversation.result(result)
                case "gpt":
                    conversation.answer(*_answer(text, f"turn {number} of 'conversations'"))
                case _:
                    raise stranger(speaker, SPEAKERS)
        return conversation.tasks(row, origin, tools)


def _answer(text: str, what: str) -> tuple[str | None, tuple[ToolCall, ...]]:
    """(prose or None, calls)."""
    if "<tool_call>" not in text:
        return text, ()
    reading = read_whole(text, "hermes")
    if reading.problem or reading.format != "hermes":
        raise DataError(f"{what}: {reading.problem or 'a call without its tag'}")
    bent = [repair for repair in reading.repairs if "duplicate" in repair]
    if bent:
        raise DataError(f"{what}: {bent[0]}")
    return reading.content, reading.calls


def _tools(text: str) -> list[Any]:
    """Of the system turn: a list in JSON or in Python, or objects one after the other."""
    listed: list[Any] = []
    for body in _TOOLS.findall(text):
        if not body.strip():  # the tags are only spoken of
            continue
        value = _value(body)
        listed += value if isinstance(value, list) else [value]
    return listed


def _value(body: str) -> Any:
    values, at = [], 0
    try:
        while body[at:].strip():
            at += len(body[at:]) - len(body[at:].lstrip())
            value, at = parse_at(body, at)
            values.append(value)
    except ValueError:
        try:
            return read_literal(body)
        except DataError as error:
            raise DataError(f"inside <tools>: {error}") from error
    return values[0] if len(values) == 1 else values


def _results(text: str) -> list[str]:
    """What stands in the tags of a tool's turn; all of it where there are none, or text around them."""
    found = _RESULT.findall(text)
    return [one.strip() for one in found] if found and not _RESULT.sub("", text).strip() else [text]


def _without_tags(text: str) -> str:
    for about in _ABOUT_TAGS:
        text = about.sub("", text)
    return text.strip()
