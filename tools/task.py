"""A task: a conversation, the tools on offer, and what a right answer is.

Tasks are JSON lines with ``id``, ``messages``, ``tools`` (OpenAI form), ``calls`` (the gold calls, [] where
the right answer is prose) and optional ``response``, ``category`` and ``source``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from strop.tools.errors import DataError
from strop.tools.files import EXACT, BadRow, json_text, read_jsonl
from strop.tools.spec import ToolCall, ToolSpec

Message: TypeAlias = Mapping[str, Any]
"""An OpenAI chat message: ``role``, ``content`` and, for assistants, ``tool_calls``."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
"""Roles a message may have; ``developer`` is rendered as ``system``."""


@dataclass(frozen=True, slots=True)
class Gold:
    """What is right: these calls in any order, or no call at all."""

    calls: tuple[ToolCall, ...]
    """Empty: the right answer makes no call."""
    response: str | None = None
    """A right prose answer, where there is one to train on."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question put to a policy."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    gold: Gold | None = None
    """None for a live request, whose answer nobody knows."""
    category: str = ""
    """What the task exercises: ``simple``, ``multiple``, ``parallel``, ``irrelevance``…; free text."""
    source: str = ""
    """Where it comes from, with its licence."""

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Task:
        """Read one row. Raises DataError that names the missing or malformed field."""
        match row:
            case {"id": str(task_id), "messages": [*messages], "tools": [*tools], "calls": [*calls]}:
                pass
            case _:
                raise DataError(f"not a task: {_why_none(row)} (want id, messages, tools, calls)")
        problem = _problem_with(messages, row.get("response")) or _unwritable(row)
        if problem:
            raise DataError(f"task {task_id!r}: {problem}")
        return cls(
            id=task_id,
            messages=tuple(messages),
            tools=tuple(ToolSpec.from_openai(tool) for tool in tools),
            gold=Gold(tuple(map(_called, calls)), row.get("response")),
            category=str(row.get("category") or ""),
            source=str(row.get("source") or ""),
        )

    def to_json(self) -> dict[str, Any]:
        """The row `from_json` reads; None golds become an empty list of calls."""
        gold = self.gold or Gold(())
        return {
            "id": self.id,
            "category": self.category,
            "source": self.source,
            "messages": [dict(message) for message in self.messages],
            "tools": [tool.to_openai() for tool in self.tools],
            "calls": [call.to_json() for call in gold.calls],
            "response": gold.response,
        }


_FIELDS: Mapping[str, tuple[type, str]] = {
    "id": (str, "text"), "messages": (list, "a list"), "tools": (list, "a list"), "calls": (list, "a list"),
}  # fmt: skip
"""What every row has, its type and what that is called."""


def _why_none(row: Mapping[str, Any]) -> str:
    missing = [key for key in _FIELDS if key not in row]
    if missing:
        return f"no {', '.join(missing)}"
    wrong = [
        f"{key!r} must be {called}, got {type(row[key]).__name__}"
        for key, (kind, called) in _FIELDS.items()
        if not isinstance(row[key], kind)
    ]
    return "; ".join(wrong)


def _unwritable(row: Mapping[str, Any]) -> str | None:
    """What JSON has no word for, as a number that is not finite in rows that come from no JSON."""
    for key in ("messages", "tools", "calls"):
        try:
            json.dumps(row[key], allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return f"{key!r} is not JSON: {error}"
    return None


def _called(call: Any) -> ToolCall:
    """A gold call, whose arguments may be JSON text."""
    if isinstance(call, Mapping) and isinstance(call.get("arguments"), str):
        try:
            call = {**call, "arguments": EXACT.decode(call["arguments"])}
        except (ValueError, RecursionError) as error:
            raise DataError(f"call {call.get('name')!r}: arguments are not JSON ({error})") from error
    return ToolCall.from_json(call)


def _problem_with(messages: Sequence[Any], response: Any) -> str | None:
    """What no policy could be asked, or trained towards."""
    if not messages:
        return "'messages' is empty"
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            return f"message {index} is not an object"
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            return f"message {index} has the role {role!r} (want {', '.join(sorted(ROLES))})"
        if not _is_text(message.get("content")):
            return f"message {index}: only text content can be read"
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
            return f"message {index}: 'tool_calls' must be a list of objects"
    if response is not None and not isinstance(response, str):
        return f"'response' must be text, got {type(response).__name__}"
    return None


def _is_text(content: Any) -> bool:
    """Whether a message's content is text, text parts or nothing."""
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    )


def digest(tasks: Iterable[Task]) -> str:
    """Of everything these tasks say, in their order: 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for task in tasks:
        sha.update(json_text(task.to_json()).encode() + b"\n")
    return sha.hexdigest()[:16]


def read_tasks(path: Path) -> tuple[list[Task], list[BadRow]]:
    """Tasks of a JSON-lines file, and its rows that are none, each with its line and reason.

    A later row with an id already seen is a bad row. Raises DataError where the file cannot be opened
    or holds no task at all.
    """
    tasks: dict[str, Task] = {}
    rows, bad = read_jsonl(path, EXACT.decode)
    for line, row in rows:
        try:
            task = Task.from_json(row)
        except DataError as error:
            bad.append(BadRow(line, str(error)))
            continue
        if task.id in tasks:
            bad.append(BadRow(line, f"id {task.id!r} was seen before"))
        else:
            tasks[task.id] = task
    if not tasks:
        reason = f"; first problem, line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise DataError(f"no task could be read{reason}", path=path)
    return list(tasks.values()), sorted(bad, key=lambda row: row.line)


def tasks_to_rows(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Rows for `write_jsonl`."""
    return [task.to_json() for task in tasks]
