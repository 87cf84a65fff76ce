"""Wrong answers as a person browses them: what was asked, answered and right, and why it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

from strop.agent.rows import Row
from strop.tools.episode import is_episode
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import AnyCase
from strop.tools.task import Message

MOST_FAILURES = 3000
"""Wrong answers a page holds; beyond, the first of each category in turns."""
LONGEST_TEXT = 6000
"""Characters of any one text."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Failure:
    """One wrong answer."""

    category: str
    text: str
    """Its JSON (`in_script`), every text in it as it came."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Wrong answers, and the tools that were on offer; small enough to be sent to another process."""

    shown: Sequence[Failure] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    """JSON of each tool by the key that failures name it by; most are on offer in many tasks."""

    @classmethod
    def together(cls, several: Iterable[Failures]) -> Failures:
        """Those of several categories, as many as a page shows."""
        every = list(several)
        shown = in_turns([one for each in every for one in each.shown], lambda one: one.category)
        return cls(shown, {key: tool for each in every for key, tool in each.tools.items()})


def failures_of(rows: Iterable[Row], cases: Iterable[AnyCase]) -> Failures:
    """Those of the wrong rows that a page shows. Rows whose case is not among `cases` show no prompt."""
    known = {case.task.id: case for case in cases}
    shown = in_turns([row for row in rows if not row["correct"]], category_of)
    tools = _Tools()
    failures = [
        Failure(row["category"], in_script(_failure(row, known.get(row["id"]), tools))) for row in shown
    ]
    return Failures(failures, tools.by_key)


def in_script(value: Any) -> str:
    """JSON of a value for a script element of a page, which nothing in it can end."""
    return json.dumps(value).replace("<", "\\u003c")


class _Tools:
    """Tools as pages show them, each made once: multi-turn tasks share theirs, a hundred of them each."""

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self._known: dict[int, tuple[ToolSpec, str]] = {}

    def key(self, tool: ToolSpec) -> str:
        """The same for equal tools, and in every process."""
        # The tool is kept, too, so that nothing else gets its address.
        if id(tool) not in self._known:
            text = in_script(_tool(tool))
            key = blake2b(text.encode(), digest_size=8).hexdigest()
            self.by_key[key] = text
            self._known[id(tool)] = (tool, key)
        return self._known[id(tool)][1]


def category_of(row: Row) -> str:
    """Of a row or of anything else that has the key."""
    return str(row["category"])


def in_turns(rows: Sequence[Item], category: Callable[[Item], str], most: int = MOST_FAILURES) -> list[Item]:
    """At most `most` of them, in order, of every category as many as there is room for."""
    if len(rows) <= most:
        return list(rows)
    categories: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        categories.setdefault(category(row), []).append(place)
    kept: set[int] = set()
    for turn in range(max(map(len, categories.values()))):
        kept.update(places[turn] for places in categories.values() if turn < len(places))
        if len(kept) >= most:
            break
    return [rows[place] for place in sorted(kept)[:most]]


def _failure(row: Row, case: AnyCase | None, tools: _Tools) -> dict[str, Any]:
    task = case.task if case is not None else None
    return {
        "id": row["id"],
        "sample": row.get("sample", 0),
        "category": row["category"],
        "error": row["error"] or "",
        "detail": _clip(row["detail"]),
        "said": _clip(row.get("text") or ""),
        "calls": [_call(call) for call in row.get("calls", ())],
        "turns": [[_step(step) for step in turn] for turn in row.get("turns", ())],
        "asked": [[shown_message(message) for message in messages] for messages in _asked(row, case)],
        "tools": [tools.key(tool) for tool in (task.tools if task else ())],
        "gold": [_clip(line) for line in case.gold_lines()] if case else [],
        "repairs": row.get("repairs", []),
    }


def _asked(row: Row, case: AnyCase | None) -> Sequence[Sequence[Message]]:
    """Messages by turn: as they were said, else as the case has them."""
    if "asked" in row or case is None:
        return row.get("asked", ())  # type: ignore[no-any-return]
    return [turn.messages for turn in case.turns] if is_episode(case) else [case.task.messages]


def shown_message(message: Message) -> dict[str, str]:
    """Role and text of a message as pages show it, its calls in the text."""
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    made = "\n".join(f"{call.get('name')}({call.get('arguments')})" for call in calls)
    return {"role": str(message.get("role")), "text": _clip("\n".join(filter(None, (text, made))))}


def _call(call: Row) -> str:
    try:
        return _clip(str(ToolCall(call["name"], call["arguments"])))
    except RecursionError:
        return f"{call['name']}(arguments nested too deep to be shown)"


def _step(step: Row) -> dict[str, Any]:
    results = [_clip(result) for result in step["results"]]
    return {"calls": [_call(call) for call in step["calls"]], "said": _clip(step["text"]), "results": results}


def _tool(tool: ToolSpec) -> dict[str, str]:
    parameters = json.dumps(dict(tool.parameters), ensure_ascii=False)
    return {"name": tool.name, "about": _clip(tool.description, 400), "parameters": _clip(parameters, 1500)}


def _clip(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
