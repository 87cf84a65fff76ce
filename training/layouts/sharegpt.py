"""ShareGPT with tools, as LLaMA-Factory reads it: human, gpt, function_call, observation.

``tools`` is JSON text of a list of functions, ``system`` is text; a system turn may stand in its place. The
value of a function_call is JSON: one call, or a list of calls made at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from strop.tools import sealtools
from strop.tools.errors import DataError
from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.task import Message, Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import Conversation, can_be_learned, read_call
from strop.training.layouts.exact import as_item, parse, parse_list
from strop.training.layouts.hermes import has_tags
from strop.training.layouts.turns import speakers, stranger, turns_of

SPEAKERS = frozenset({"system", "human", "gpt", "function_call", "observation"})


class ShareGpt:
    """`Layout` and `Writer`."""

    name = "sharegpt"

    def fits(self, row: Row) -> bool:
        who = speakers(row)
        return bool(who) and who <= SPEAKERS and not has_tags(row) and not sealtools.is_row(row)

    def marked(self, row: Row) -> bool:
        return not ApiGenMt().fits(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        conversation = Conversation()
        turns = turns_of(row)
        system = row.get("system")
        if isinstance(system, str) and system:
            if turns[0][0] == "system":
                raise DataError("a system text and a system turn: which of them counts?")
            conversation.say("system", system)
        for number, (speaker, text) in enumerate(turns, start=1):
            match speaker:
                case "system":
                    conversation.say("system", text)
                case "human":
                    conversation.say("user", text)
                case "observation":
                    conversation.result(text)
                case "gpt" if "<tool_call>" in text:
                    raise DataError(f"turn {number} of 'conversations' has a call in tags: hermes' layout")
                case "gpt":
                    conversation.answer(text)
                case "function_call":
                    conversation.answer(None, _calls(text, f"turn {number} of 'conversations'"))
                case _:
                    raise stranger(speaker, SPEAKERS)
        return conversation.tasks(row, origin, parse_list(row.get("tools"), "'tools'"))

    def write(self, task: Task) -> dict[str, Any]:
        """Every answer in it is one that LLaMA-Factory learns, earlier ones too; all of it can be read."""
        if task.gold is None or not can_be_learned(task.gold):
            raise DataError("no calls and no response to write")
        messages, row = list(task.messages), dict[str, Any]()
        if messages[0].get("role") in ("system", "developer"):
            row["system"] = _text(messages.pop(0))
        turns = [turn for spoken in _exchanges(messages) for turn in _turns(spoken)]
        turns += _answer(task.gold.calls, task.gold.response or "")
        _refuse_what_does_not_alternate(turns)
        tools = [tool.to_openai()["function"] for tool in task.tools]
        row = {"id": task.id, "conversations": turns, "tools": json_text(tools), **row}
        try:
            self.read(row, Origin(task.id, ""))
        except DataError as error:  # as of a call of what is not offered
            raise DataError(f"every turn is learned in this layout: {error}") from error
        return row


class ApiGenMt(ShareGpt):
    """`Layout` of APIGen-MT-5k: ShareGPT of which every row has tools and a system text."""

    name = "apigen_mt"

    def fits(self, row: Row) -> bool:
        who, given = speakers(row), (row.get("system"), row.get("tools"))
        known = bool(who) and who <= SPEAKERS - {"system"} and not has_tags(row)
        return known and all(isinstance(text, str) and bool(text) for text in given)

    def marked(self, row: Row) -> bool:
        return self.fits(row)


def without_beginnings(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that are not the beginning of another's conversation, in their order.

    Who learns the longer one learns every answer of the shorter, too.
    """
    begun = {beginning for row in rows for beginning in list(_beginnings(row))[:-1]}
    return [row for row in rows if list(_beginnings(row))[-1] not in begun]


def _beginnings(row: Mapping[str, Any]) -> Iterator[bytes]:
    """Digests of a row's conversation up to each of its turns, with its tools and its system text."""
    sha = hashlib.sha256(json_text([row["tools"], row.get("system")]).encode())
    for turn in row["conversations"]:
        sha.update(json_text([turn["from"], turn["value"]]).encode())
        yield sha.digest()


def _calls(text: str, what: str) -> list[ToolCall]:
    value = parse(text, what)
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise DataError(f"{what}: no call")
    return [read_call(call, what) for call in listed]


_ALTERNATE = (("human", "observation"), ("gpt", "function_call"))
"""Who may speak in the first turn, the third and so on, and in the others: LLaMA-Factory leaves out a row
that has it otherwise."""


def _refuse_what_does_not_alternate(turns: Sequence[Mapping[str, str]]) -> None:
    for place, turn in enumerate(turns):
        if turn["from"] not in _ALTERNATE[place % 2]:
            wanted = " or ".join(_ALTERNATE[place % 2])
            raise DataError(f"turn {place + 1} would be of {turn['from']}, where this layout has {wanted}")


def _exchanges(messages: Sequence[Message]) -> list[Message]:
    """The messages, with the results of calls made at once as one: a JSON list in the order of the calls."""
    told: list[Message] = []
    for message in messages:
        if message.get("role") == "tool" and told and told[-1].get("role") == "tool":
            told[-1] = {"role": "tool", "results": [*told[-1]["results"], message]}
        elif message.get("role") == "tool":
            told.append({"role": "tool", "results": [message]})
        else:
            told.append(message)
    return [_results(before, one) if "results" in one else one for before, one in pairwise([{}, *told])]


def _results(before: Message, told: Message) -> Message:
    ids = [call.get("id") for call in before.get("tool_calls") or ()]
    results = list(told["results"])
    if len(results) == 1:
        return results[0]  # type: ignore[no-any-return]  # a message
    if len(results) != len(ids):
        raise DataError(f"{len(results)} results of {len(ids)} calls have no place in this layout")
    if {result.get("tool_call_id") for result in results} == {*ids}:
        results.sort(key=lambda result: ids.index(result["tool_call_id"]))
    return {"role": "tool", "content": f"[{', '.join(as_item(_text(result)) for result in results)}]"}


def _turns(message: Message) -> list[dict[str, str]]:
    match message.get("role"):
        case "user":
            return [{"from": "human", "value": _text(message)}]
        case "tool":
            return [{"from": "observation", "value": _text(message)}]
        case "assistant":
            called = message.get("tool_calls") or []
            calls = [read_call(call.get("function", call), "an earlier call") for call in called]
            return _answer(calls, _text(message))
    raise DataError(f"a {message.get('role')} message after the beginning has no place in this layout")


def _answer(calls: Any, text: str) -> list[dict[str, str]]:
    if not calls:
        return [{"from": "gpt", "value": text}]
    if text:
        raise DataError("calls with prose beside them have no place in this layout")
    rows = [call.to_json() for call in calls]
    return [{"from": "function_call", "value": json_text(rows[0] if len(rows) == 1 else rows)}]


def _text(message: Message) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
