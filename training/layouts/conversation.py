"""A conversation as a row tells it, and the tasks in it: one for every answer that can be learned.

The task's messages are all that came before the answer, its gold is the answer's calls, or its prose. An
answer with nothing in it, or before which nothing stands, is context only.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from strop.tools.errors import DataError
from strop.tools.files import json_text
from strop.tools.formats.bracketed import read_literal
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.exact import items_in, parse


@dataclass(frozen=True, slots=True)
class Answer:
    """An assistant's message."""

    at: int
    """Its index among the messages."""
    turn: int
    """Which of the assistant's messages it is, counted from 1."""
    gold: Gold
    declines: bool = False
    """Whether it says that no call is right, and nothing else."""


@dataclass(slots=True)
class Conversation:
    """Builds messages in OpenAI's form, turn by turn."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    _calls: int = 0
    """So many calls have an id."""
    _open: list[str] = field(default_factory=list)
    """Ids of the calls that the results since belong to."""

    def say(self, role: str, text: str) -> None:
        """What anybody but the assistant and the tools says."""
        self._pair_results()
        self.messages.append({"role": role, "content": text})

    def result(self, text: str) -> None:
        """What a tool returned."""
        self.messages.append({"role": "tool", "content": text})

    def answer(self, text: str | None, calls: Sequence[ToolCall] = ()) -> None:
        """What the assistant says, or calls, or both.

        Calls right after its prose or its calls are of the same turn. Raises DataError where prose follows.
        """
        self._pair_results()
        if self.messages and self.messages[-1]["role"] == "assistant":
            last = self.answers.pop()
            if not calls or text is not None:
                raise DataError(f"the assistant speaks twice in a row (turn {last.turn})")
            self.messages.pop()
            text, calls = last.gold.response, (*last.gold.calls, *calls)
        gold = Gold(tuple(calls), text or None)
        turn = self.answers[-1].turn + 1 if self.answers else 1
        self.answers.append(Answer(len(self.messages), turn, gold))
        self.messages.append(self._message(gold))

    def decline(self) -> None:
        """The assistant writes down that it calls nothing. Raises DataError as `answer` does."""
        self.answer(None)
        self.answers[-1] = replace(self.answers[-1], declines=True)

    def tasks(self, row: Row, origin: Origin, tools: Sequence[Any]) -> list[Task]:
        """Raises DataError: see `tasks_of`."""
        self._pair_results()
        return tasks_of(row, origin, self.messages, self.answers, tools)

    def _message(self, gold: Gold) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": gold.response}
        if not gold.calls:
            return message | {"content": gold.response or ""}
        self._open = [f"call_{self._calls + number}" for number in range(1, len(gold.calls) + 1)]
        self._calls += len(gold.calls)
        calls = [calling(call, name) for call, name in zip(gold.calls, self._open, strict=True)]
        return message | {"tool_calls": calls}

    def _pair_results(self) -> None:
        """Give results the ids of the calls before them, where there are as many.

        The results of calls made at once may also be the items of one JSON list.
        """
        results: list[dict[str, Any]] = []
        while self.messages and self.messages[-1]["role"] == "tool":
            results.insert(0, self.messages.pop())
        if len(results) == 1 < len(self._open):
            items = items_in(results[0]["content"])
            if len(items) == len(self._open):
                results = [{"role": "tool", "content": item} for item in items]
        if len(results) == len(self._open):
            for message, name in zip(results, self._open, strict=True):
                message["tool_call_id"] = name
        self.messages += results
        self._open = [] if results else self._open


def calling(call: ToolCall, name: str) -> dict[str, Any]:
    """A call as an item of OpenAI's ``tool_calls``, with this id."""
    function = {"name": call.name, "arguments": json_text(dict(call.arguments))}
    return {"id": name, "type": "function", "function": function}


def read_call(value: Any, what: str) -> ToolCall:
    """``{"name", "arguments"}``, whose arguments may be JSON text. Raises DataError."""
    if isinstance(value, Mapping) and isinstance(value.get("arguments"), str):
        value = {**value, "arguments": parse(value["arguments"], f"{what}: arguments")}
    try:
        return ToolCall.from_json(value)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error


def refuse_unoffered(what: str, calls: Iterable[ToolCall], offered: Container[str]) -> None:
    """Raises DataError where `what` calls a tool whose name is not `offered`."""
    for call in calls:
        if call.name not in offered:
            raise DataError(f"{what} calls {call.name!r}, which is not offered")


def refuse_calls_in_prose(what: str, text: str, offered: Collection[str]) -> None:
    """Raises DataError where `what` has a call of an `offered` tool for its prose: somebody forgot its
    brackets, or its speaker, and whoever learned it would write calls that nobody reads."""
    name = _called_in(text.strip(), offered)
    if name is not None:
        raise DataError(f"{what} has a call of {name!r} where prose should be: {text.strip()[:120]!r}")


def _called_in(text: str, offered: Collection[str]) -> str | None:
    """The tool that ``name(…`` or ``{"name": …}`` calls, in a list or not."""
    bare = text.removeprefix("[").lstrip()
    for name in offered:
        if name and bare.startswith(f"{name}("):
            return name
    called = [one.get("name") for one in _objects_in(text)] if bare.startswith("{") else []
    return next((name for name in called if isinstance(name, str) and name in offered), None)


def _objects_in(text: str) -> list[Mapping[str, Any]]:
    """The object that `text` is, or those of a list, in JSON or as Python writes them; else none."""
    try:
        value = parse(text, "prose")
    except DataError:
        try:
            value = read_literal(text)
        except DataError:
            return []
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Mapping)]


def tasks_of(
    row: Row,
    origin: Origin,
    messages: Sequence[Mapping[str, Any]],
    answers: Sequence[Answer],
    tools: Sequence[Any],
) -> list[Task]:
    """A task for every answer that can be learned, with the row's id, and ``#turn`` where it has several.

    Raises DataError where an answer calls what is not offered, or has a call for its prose, or there is
    nothing to learn.
    """
    offered = {ToolSpec.from_openai(tool).name for tool in tools}
    for answer in answers:
        refuse_unoffered(f"turn {answer.turn}", answer.gold.calls, offered)
        if not answer.gold.calls:
            refuse_calls_in_prose(f"turn {answer.turn}", answer.gold.response or "", offered)
    learned = [one for one in answers if one.at > 0 and (can_be_learned(one.gold) or one.declines)]
    if not learned:
        raise DataError("no answer that could be learned")
    name = origin.id_of(row)
    return [
        Task.from_json(
            {
                "id": f"{name}#{answer.turn}" if len(learned) > 1 else name,
                "messages": [dict(message) for message in messages[: answer.at]],
                "tools": list(tools),
                "calls": [call.to_json() for call in answer.gold.calls],
                "response": answer.gold.response,
                "source": origin.source,
            }
        )
        for answer in learned
    ]


def can_be_learned(gold: Gold | None) -> bool:
    """Whether there is something in it to say."""
    return gold is not None and bool(gold.calls or (gold.response or "").strip())
