"""A benchmark's page: one HTML file without outside requests, to see what was right and why the rest was not.

All text of models and files is escaped; nothing of it is run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from strop.agent.rows import Row
from strop.agent.summary import Summary
from strop.tools.episode import Episode
from strop.tools.files import write_text
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Case
from strop.tools.task import Message, Task

MOST_FAILURES = 3000
"""Wrong answers the page holds; beyond, the first of each category in turns."""
LONGEST_TEXT = 6000
"""Characters of any one text."""


def write_page(path: Path, summary: Summary, rows: Iterable[Row], cases: Sequence[Case | Episode]) -> None:
    """Write the page. Wrong rows whose case is not among `cases` show no prompt. Raises RunError."""
    from jinja2 import Environment

    known = {case.task.id: case for case in cases}
    wrong = [row for row in rows if not row["correct"]]
    shown = _in_turns(wrong, MOST_FAILURES)
    # Multi-turn tasks share their tools, a hundred of them each.
    offered = {id(tool): tool for row in shown if row["id"] in known for tool in known[row["id"]].task.tools}
    tools = {key: _tool(tool) for key, tool in offered.items()}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "seconds": _seconds}
    template = environment.from_string((files("strop.agent") / "bench.html.j2").read_text("utf-8"))
    page = template.render(
        summary=summary,
        errors=_errors(summary),
        samples=next(((list(one.pass_at)) for one in summary.categories.values() if one.pass_at), []),
        total=sum(one.score.total for one in summary.categories.values()),
        correct=sum(one.score.correct for one in summary.categories.values()),
        wrong=len(wrong),
        failures=[_failure(row, known.get(row["id"]), tools) for row in shown],
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
    )
    write_text(path, page)


def _errors(summary: Summary) -> list[str]:
    """Errors that occurred, most frequent first."""
    counts: dict[str, int] = {}
    for category in summary.categories.values():
        for error, count in category.errors.items():
            counts[error] = counts.get(error, 0) + count
    return sorted(counts, key=lambda error: -counts[error])


def _in_turns(rows: Sequence[Row], most: int) -> list[Row]:
    """At most `most` rows, in order, of every category as many as there is room for."""
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


def _failure(
    row: Row, case: Case | Episode | None, shown_tools: Mapping[int, dict[str, str]]
) -> dict[str, Any]:
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
        "asked": _asked(case, task),
        "tools": [shown_tools[id(tool)] for tool in (task.tools if task else ())],
        "gold": [_clip(line) for line in case.gold_lines()] if case else [],
        "repairs": row.get("repairs", []),
    }


def _asked(case: Case | Episode | None, task: Task | None) -> list[list[dict[str, str]]]:
    """Messages by turn."""
    if isinstance(case, Episode):
        return [[_message(message) for message in turn.messages] for turn in case.turns]
    return [[_message(message) for message in task.messages]] if task else []


def _message(message: Message) -> dict[str, str]:
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


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
