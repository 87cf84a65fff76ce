"""Wrong answers as a person browses them: what was asked, answered and right, and why it is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from strop.agent.rows import Row
from strop.tools.episode import is_episode
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import AnyCase
from strop.tools.task import Message

MOST_FAILURES = 3000
"""Wrong answers a page holds; beyond, the first of each category in turns."""
LONGEST_TEXT = 6000
"""Characters of any one text."""

Failure: TypeAlias = Mapping[str, Any]
"""JSON of one wrong answer; all of its texts are as they came."""


def failures_of(rows: Iterable[Row], cases: Iterable[AnyCase]) -> list[Failure]:
    """Those of the wrong rows that a page shows. Rows whose case is not among `cases` show no prompt."""
    known = {case.task.id: case for case in cases}
    shown = in_turns([row for row in rows if not row["correct"]])
    tool = _Tools()
    return [_failure(row, known.get(row["id"]), tool) for row in shown]


class _Tools:
    """Tools as pages show them, each made once: multi-turn tasks share theirs, a hundred of them each."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[ToolSpec, dict[str, str]]] = {}

    def __call__(self, tool: ToolSpec) -> dict[str, str]:
        # The tool is kept, too, so that nothing else gets its address.
        if id(tool) not in self._made:
            self._made[id(tool)] = (tool, _tool(tool))
        return self._made[id(tool)][1]


def in_turns(rows: Sequence[Row], most: int = MOST_FAILURES) -> list[Row]:
    """At most `most` of them, in order, of every category as many as there is room for."""
    if len(rows) <= most:
        return list(rows)
    categories: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        categories.setdefault(row["category"], []).append(place)
    kept: set[int] = set()
    for turn in range(max(map(len, categories.values()))):
        kept.update(places[turn] for places in categories.values() if turn < len(places))
        if len(kept) >= most:
            break
    return [rows[place] for place in sorted(kept)[:most]]


def _failure(row: Row, case: AnyCase | None, tool: _Tools) -> dict[str, Any]:
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
        "tools": [tool(one) for one in (task.tools if task else ())],
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
    return _clip(str(ToolCall(call["name"], call["arguments"])))


def _step(step: Row) -> dict[str, Any]:
    results = [_clip(result) for result in step["results"]]
    return {"calls": [_call(call) for call in step["calls"]], "said": _clip(step["text"]), "results": results}


def _tool(tool: ToolSpec) -> dict[str, str]:
    parameters = json.dumps(dict(tool.parameters), ensure_ascii=False)
    return {"name": tool.name, "about": _clip(tool.description, 400), "parameters": _clip(parameters, 1500)}


def _clip(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
