"""Scores answers that are there already: BFCL results in the official layout, whoever wrote them.

``result/<model>/…/BFCL_v4_<category>_result.json`` has one answer a line: calls as ``{name: arguments as
JSON text}`` (models with native calls), or the model's text, which is read as any answer's is; of
multi-turn tasks a list of such for each step of each turn.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.page import write_page
from strop.agent.rows import ANSWERS
from strop.agent.summary import Summary, by_category, scores_of, usage_of
from strop.tools.bfcl.episodes import BfclEpisode
from strop.tools.bfcl.files import PREFIX
from strop.tools.bfcl.suite import CATEGORIES, load_suite
from strop.tools.bfcl.variations import FORMAT_SENSITIVITY
from strop.tools.episode import Episode
from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_jsonl, write_json, write_jsonl
from strop.tools.formats import read_calls
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Case, Suite, TextCase
from strop.tools.verdict import Verdict


def score_results(results: Path, out: Path, *, call_format: str = "hermes") -> Summary:
    """Score every result file under `results` and write answers, summary and page to `out`.

    `call_format` is what texts are read as first. Raises UsageError where there is no result file, DataError
    for a row that is none, RunError where `out` cannot be written.
    """
    names = {
        path: path.name.removeprefix(f"{PREFIX}_").removesuffix("_result.json") for path in _files(results)
    }
    categories = [name for name in (*CATEGORIES, FORMAT_SENSITIVITY) if name in names.values()]
    if not categories:
        raise UsageError(f"{results}: no {PREFIX}_<category>_result.json of a category that is judged here")
    suite = load_suite(categories)
    rows = _judged([path for path, name in names.items() if name in categories], suite, call_format)
    overalls = suite.overalls(scores_of(rows), suite.sizes)
    summary = Summary("bfcl", results.name, "unknown", by_category(rows), usage_of(rows), 0.0, overalls)
    write_jsonl(out / ANSWERS, rows)
    write_json(out / "summary.json", summary.to_json())
    write_page(out / "page.html", summary, rows, suite.cases)
    return summary


def _judged(paths: Iterable[Path], suite: Suite, call_format: str) -> list[dict[str, Any]]:
    """Rows of all files, in the order of the suite."""
    cases = {case.task.id: case for case in suite.cases}
    episode = next((case for case in suite.cases if isinstance(case, BfclEpisode)), None)
    if episode is not None:
        # It starts while the single turns, which come first, are judged here.
        episode.simulators.start()
    given = {entry.id: entry for path in paths for entry in _entries(path, cases)}
    return [given[task_id].row(case, call_format) for task_id, case in cases.items() if task_id in given]


def _files(results: Path) -> list[Path]:
    return sorted(results.rglob(f"{PREFIX}_*_result.json"))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a result file."""

    id: str
    fields: Mapping[str, Any]
    path: Path
    line: int

    def row(self, case: Case | Episode, call_format: str) -> dict[str, Any]:
        """The answer and its verdict. Raises DataError where it cannot be read."""
        try:
            judged = _row(case, self.fields["result"], call_format)
        except (TypeError, ValueError, AttributeError) as error:
            reason = f"result of {self.id!r} cannot be read: {error}"
            raise DataError(reason, path=self.path, line=self.line) from None
        spent = {
            "prompt_tokens": _total(self.fields.get("input_token_count")),
            "completion_tokens": _total(self.fields.get("output_token_count")),
            "cached_tokens": 0,
        }
        return {
            "category": case.task.category, "id": self.id, "sample": 0, **judged, "usage": spent,
            "refine": {"rounds": 0, "stop_reason": None}, "elapsed": 0.0,
            "seconds": _sum(self.fields.get("latency")),
        }  # fmt: skip


def _entries(path: Path, cases: Container[str]) -> Iterator[_Entry]:
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(bad[0].reason, path=path, line=bad[0].line)
    for line, row in rows:
        if row.get("id") not in cases or "result" not in row:
            raise DataError(f"no result of a task there is: {str(row)[:120]}", path=path, line=line)
        yield _Entry(row["id"], row, path, line)


def _row(case: Case | Episode, result: Any, call_format: str) -> dict[str, Any]:
    if isinstance(case, Episode):
        if not isinstance(result, list):
            raise ValueError("not a list of turns")
        tools = case.turns[-1].tools
        turns = [[_step(step, tools, call_format) for step in turn] for turn in result]
        verdict = case.score([[step["read"] for step in turn] for turn in turns])
        played = [[{**_told(step), "results": [""] * len(step["read"])} for step in turn] for turn in turns]
        return {"turns": played, **_verdict(verdict)}
    if isinstance(case, TextCase):
        told = {"calls": [], "content": str(result), "text": str(result), "repairs": []}
        return {**told, **_verdict(case.score_text(str(result)))}
    step = _step(result, case.task.tools, call_format)
    return {**_told(step), **_verdict(case.score(step["read"], step["content"], step["problem"]))}


def _step(result: Any, tools: Sequence[ToolSpec], call_format: str) -> dict[str, Any]:
    """One answer: its calls, its prose, and why it cannot be read."""
    if isinstance(result, str):
        reading = read_calls(result, preferred=call_format, tools=tools)
        broken = reading.problem is not None
        calls = () if broken else reading.calls
        content = result.strip() or None if broken else reading.content
        return {"read": calls, "content": content, "problem": reading.problem, "text": result,
                "repairs": list(reading.repairs)}  # fmt: skip
    # Endpoints that know no dots in names were sent them without.
    names = {tool.name.replace(".", "_"): tool.name for tool in tools}
    calls = tuple(
        ToolCall(
            names.get(name, name), json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
        )
        for call in result
        for name, arguments in call.items()
    )
    return {"read": calls, "content": None, "problem": None, "text": "", "repairs": []}


def _told(step: Mapping[str, Any]) -> dict[str, Any]:
    calls = [call.to_json() for call in step["read"]]
    return {"calls": calls, **{name: step[name] for name in ("content", "text", "repairs")}}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"correct": verdict.correct, "error": verdict.error, "detail": verdict.detail}


def _sum(value: Any) -> float:
    """Of numbers at any depth."""
    if isinstance(value, list):
        return sum(map(_sum, value))
    return float(value) if isinstance(value, int | float) else 0.0


def _total(value: Any) -> int:
    return int(_sum(value))
