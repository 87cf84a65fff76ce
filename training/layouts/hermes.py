"""hermes-function-calling-v1: calls in ``<tool_call>`` tags, tools in ``<tools>`` tags of the system turn.

What is written about tags (the list itself, how a call is to be put down) is the layout's and goes: a policy
is told so by its own template. The rest of the system turn stays. Tools under the row's own ``tools`` come
first. Python's literals, in which half of the data set is written, are read as well as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from strop.tools import sealtools
from strop.tools.errors import DataError
from strop.tools.formats.bracketed import read_literal
from strop.tools.formats.loose_json import UnreadableError
from strop.tools.formats.pythonic import find_end
from strop.tools.formats.reading import read_whole
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import Conversation
from strop.training.layouts.exact import after_space, parse_at, parse_list
from strop.training.layouts.turns import speakers, stranger, turns_of

SPEAKERS = frozenset({"system", "human", "gpt", "tool"})

# What the published instructions begin with; how far they go, `_without_tags` finds out.
_SPOKEN_OF = re.compile(
    r"You are provided with function signatures within <tools>\s*</tools> XML tags\.\s*", re.IGNORECASE
)
_LIST = re.compile(r"Here are the available tools:\s*<tools>|<tools>(?=\s*[\[{]|[ \t]*\n)", re.IGNORECASE)
_SCHEMA = re.compile(r"Use the following pydantic model json schema[^\n{]{0,200}(?=\{)", re.IGNORECASE)
_EACH_CALL = re.compile(r"For each function call,? return a json object", re.IGNORECASE)
_SENTENCE_ENDS = re.compile(r"(?<=\.)\s+|\n")
_CALL_ENDS = "</tool_call>"


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
    bent = [one for one in reading.repairs if "duplicate" in one or one == "lone surrogate replaced"]
    if bent:
        raise DataError(f"{what}: {bent[0]}")
    return reading.content, reading.calls


def _tools(text: str) -> list[Any]:
    """Of the system turn: a list in JSON or in Python, or objects one after the other."""
    listed: list[Any] = []
    for body in _tagged(text, "tools")[0]:
        if not body.strip():  # the tags are only spoken of
            continue
        value = _value(body)
        listed += value if isinstance(value, list) else [value]
    return listed


def _value(body: str) -> Any:
    values, at = [], after_space(body, 0)
    try:
        while at < len(body):
            value, end = parse_at(body, at)
            values.append(value)
            at = after_space(body, end)
    except ValueError:
        try:
            return read_literal(body)
        except DataError as error:
            raise DataError(f"inside <tools>: {error}") from error
    return values[0] if len(values) == 1 else values


def _results(text: str) -> list[str]:
    """What stands in the tags of a tool's turn; all of it where there are none, or text around them."""
    found, around = _tagged(text, "tool_response")
    return [one.strip() for one in found] if found and not around.strip() else [text]


def _tagged(text: str, tag: str) -> tuple[list[str], str]:
    """(what stands between opening and closing tags, the text around them), in linear time."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    bodies, around, at = list[str](), list[str](), 0
    while (start := text.find(opening, at)) >= 0:
        end = text.find(closing, start)
        if end < 0:
            break
        around.append(text[at:start])
        bodies.append(text[start + len(opening) : end])
        at = end + len(closing)
    return bodies, "".join([*around, text[at:]])


def _without_tags(text: str) -> str:
    """Each of the instructions is looked for by its beginning, and goes where its end is found: patterns that
    reach from one to the other take time that grows with the square of a text's length."""
    text = _SPOKEN_OF.sub("", text)
    text = _without(text, _LIST, lambda text, at: _after(text, at, "</tools>"))
    text = _without(text, _SCHEMA, _after_schema)
    return _without(text, _EACH_CALL, _after_example, _about_thoughts).strip()


def _without(
    text: str,
    opening: re.Pattern[str],
    end_of: Callable[[str, int], int | None],
    kept_of: Callable[[str], str] = lambda _: "",
) -> str:
    """`text` without each stretch from `opening` to the index that `end_of` gives, but what `kept_of` keeps.

    From the first that has no end on, all stays.
    """
    kept, at = list[str](), 0
    while (found := opening.search(text, at)) is not None:
        end = end_of(text, found.end())
        if end is None:
            break
        kept += (text[at : found.start()], kept_of(text[found.start() : end]))
        at = after_space(text, end)
    return "".join([*kept, text[at:]])


def _after(text: str, at: int, closing: str) -> int | None:
    """Index after the next `closing`."""
    end = text.find(closing, at)
    return end + len(closing) if end >= 0 else None


def _after_schema(text: str, at: int) -> int | None:
    """Index after the object that begins at `at`."""
    try:
        return find_end(text, at)[0]
    except UnreadableError:
        return None


def _after_example(text: str, at: int) -> int | None:
    """Index after the second closing tag: one is spoken of, one ends the example."""
    first = _after(text, at, _CALL_ENDS)
    return None if first is None else _after(text, first, _CALL_ENDS)


def _about_thoughts(about: str) -> str:
    """What is said of thinking first stays, for the answers do."""
    said = [one for one in _SENTENCE_ENDS.split(about) if "<scratch_pad>" in one and one.endswith(".")]
    return "".join(f"{one}\n" for one in said)
