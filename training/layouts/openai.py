"""OpenAI's fine-tuning files: ``messages`` with ``tool_calls``, ``tools``, JSON text for arguments.

Messages stay as they are. A ``weight`` of 0 says that an answer is context only, and is itself left out of
the task; ``parallel_tool_calls`` is not read. Rows have no ids there, and are written without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.tools.errors import DataError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Message, Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import Answer, calling, can_be_learned, read_call, tasks_of
from strop.training.layouts.exact import parse_list

_SPEAKERS = ("system", "developer", "user")
"""Who has nothing but text to give: an answer may be calls alone, and a tool may return nothing."""


class OpenAi:
    """`Layout` and `Writer`."""

    name = "openai"

    def fits(self, row: Row) -> bool:
        return isinstance(row.get("messages"), list) and "calls" not in row

    def marked(self, row: Row) -> bool:
        return self.fits(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        if row.get("functions") is not None:
            raise DataError("'tools' is read, 'functions' is not")
        if not isinstance(row.get("messages"), list):
            raise DataError(f"'messages' must be a list, got {type(row.get('messages')).__name__}")
        messages: list[dict[str, Any]] = []
        answers, turn = [], 0
        for at, message in enumerate(row["messages"]):
            if not isinstance(message, Mapping):
                raise DataError(f"message {at} is not an object")
            if message.get("function_call") is not None:
                raise DataError(f"message {at}: 'tool_calls' is read, 'function_call' is not")
            if message.get("role") in _SPEAKERS and message.get("content") is None:
                raise DataError(f"message {at}, of the {message['role']}, has no text")
            if message.get("role") == "assistant":
                turn += 1
                if message.get("weight") != 0:
                    answers.append(Answer(at, turn, Gold(_calls(message, at), _text(message))))
            messages.append(_said(message))
        return tasks_of(row, origin, messages, answers, parse_list(row.get("tools"), "'tools'"))

    def write(self, task: Task) -> dict[str, Any]:
        if task.gold is None or not can_be_learned(task.gold):
            raise DataError("no calls and no response to write")
        calls = task.gold.calls
        answer: dict[str, Any] = {"role": "assistant", "content": task.gold.response}
        if calls:
            taken = _ids_in(task.messages)
            free = (
                name
                for number in range(1, len(taken) + len(calls) + 1)
                if (name := f"call_{number}") not in taken
            )
            answer["tool_calls"] = [calling(call, name) for call, name in zip(calls, free, strict=False)]
        row: dict[str, Any] = {"messages": [*map(_context, task.messages), answer]}
        if task.tools:
            row["tools"] = [tool.to_openai() for tool in task.tools]
        if len(calls) > 1:
            row["parallel_tool_calls"] = True
        return row


def _calls(message: Message, at: int) -> tuple[ToolCall, ...]:
    called = message.get("tool_calls") or []
    if not isinstance(called, list) or not all(isinstance(call, Mapping) for call in called):
        raise DataError(f"message {at}: 'tool_calls' must be a list of objects")
    return tuple(read_call(call.get("function"), f"message {at}") for call in called)


def _text(message: Message) -> str | None:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) and content else None


def _said(message: Message) -> dict[str, Any]:
    """What is said; clients and Parquet write down what is not, too, as null."""
    return {
        key: value
        for key, value in message.items()
        if key != "weight" and (value is not None or key == "content")
    }


def _context(message: Message) -> dict[str, Any]:
    """An earlier answer was not what the task asks for: it is not to be learned from this row."""
    return {**message, "weight": 0} if message.get("role") == "assistant" else dict(message)


def _ids_in(messages: tuple[Message, ...]) -> set[str]:
    return {
        str(call.get("id"))
        for message in messages
        for call in message.get("tool_calls") or []
        if isinstance(call, Mapping)
    }
