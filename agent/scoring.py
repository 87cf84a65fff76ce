"""Scores answers that are there already: BFCL results in the official layout, whoever wrote them.

``result/<model>/…/BFCL_v4_<category>_result.json`` has one answer a line: calls as ``{name: arguments as
JSON text}`` (models with native calls), or the model's text, which is read as any answer's is, or as the
benchmark's prompt mode does (`OFFICIAL`); of multi-turn tasks a list of such for each step of each turn.
What cannot be read as calls makes none: models cut arguments short, and requests fail.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from strop.agent.answer import Usage
from strop.agent.failure import Failures, failures_of
from strop.agent.outcome import write_outcome
from strop.agent.page import page_template
from strop.agent.processes import processors, spread
from strop.agent.rows import ANSWERS, SETTINGS
from strop.agent.summary import CategorySummary, Summary, by_category, scores_of, usage_of
from strop.tools.bfcl.episodes import MULTI_TURN, new_simulators
from strop.tools.bfcl.files import PREFIX, find_data, version_of
from strop.tools.bfcl.overall import overalls
from strop.tools.bfcl.suite import NAMES, load_category
from strop.tools.episode import is_episode, is_sequel
from strop.tools.errors import DataError, UsageError
from strop.tools.files import as_json, has_rows, json_text, read_json, read_jsonl, write_json, write_text
from strop.tools.formats import read_calls
from strop.tools.simulators import Simulators
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import AnyCase, Scores, is_text_case
from strop.tools.verdict import ErrorKind, Verdict


def score_results(
    results: Path,
    out: Path,
    *,
    call_format: str = "hermes",
    meanwhile: Callable[[], object] = page_template,
) -> Summary:
    """Score every result file under `results` and write answers, summary and page to `out`.

    Categories are scored side by side, on all processors. `call_format` is what texts are read as first,
    or `OFFICIAL`. `meanwhile` is called while they are at work, to prepare for what they bring.
    Raises UsageError where there is no result file, where there are several models' or where `out` is a
    benchmark's own, DataError for a row that is none, RunError where `out` cannot be written.
    """
    files = ((category, _file_of(category, results)) for category in NAMES)
    jobs = [_Job(category, path, call_format) for category, path in files if path is not None]
    if not jobs:
        raise UsageError(f"{results}: no {PREFIX}_<category>_result.json of a category that is judged here")
    _claim(out)
    done = [one for several in spread(_score, _shared_out(jobs), meanwhile) for one in several]
    scored = {one.category: one for one in done}
    every = [scored[job.category] for job in jobs]
    # A file may hold nothing yet, and then there is no summary of it.
    summaries = {name: summary for one in every for name, summary in one.summaries.items()}
    scores = {name: tasks for one in every for name, tasks in one.scores.items()}
    if not summaries:
        raise UsageError(f"{results}: none of its files has a result")
    usage = sum((one.usage for one in every), Usage())
    reached = overalls(scores, {job.category: scored[job.category].size for job in jobs})
    summary = Summary("bfcl", results.resolve().name, "unknown", summaries, usage, 0.0, reached)
    version = version_of(find_data(), NAMES)
    settings = {"suite": summary.suite, "version": version, "model": summary.model, _SCORED: call_format}
    write_json(out / SETTINGS, settings)
    write_text(out / ANSWERS, "".join(one.lines for one in every))
    write_outcome(out, summary, Failures.together(one.failures for one in every))
    return summary


def _shared_out(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """What each process is to take at once, the slowest first: whoever takes one last ends last.

    Multi-turn categories keep together on half of the processors: each process of them starts simulators,
    which takes as long as judging two hundred trajectories.
    """
    several = [job for job in jobs if job.category in MULTI_TURN]
    places = max(1, processors() // 2)
    groups = [group for group in (several[place::places] for place in range(places)) if group]
    groups += [[job] for job in jobs if job not in several]
    return sorted(groups, key=lambda group: -sum(job.work for job in group))


def _file_of(category: str, results: Path) -> Path | None:
    """The category's file. Raises UsageError where there are several: they are of several models."""
    paths = sorted(results.rglob(f"{PREFIX}_{category}_result.json"))
    if len(paths) > 1:
        where = " and ".join(str(path.parent) for path in paths[:2])
        raise UsageError(f"there are answers to {category} in {where}: score one model at a time")
    return paths[0] if paths else None


def _claim(out: Path) -> None:
    """Raises UsageError where `out` holds answers that were asked for, which scoring would replace."""
    if not has_rows(out / ANSWERS):
        return
    settings = read_json(out / SETTINGS) if (out / SETTINGS).exists() else {}
    if not isinstance(settings, dict) or _SCORED not in settings:
        raise UsageError(f"{out} holds the answers of a benchmark: give another directory")


OFFICIAL = "official"
"""Reads texts as `bfcl evaluate` reads those of prompt-mode models, but for source text of Java and
JavaScript: a list of Python calls, or one, and nothing around it."""
_SCORED = "scored as"
"""The setting that tells scored answers from those of a run."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A category to be scored."""

    category: str
    path: Path
    call_format: str

    @property
    def work(self) -> int:
        """How long it takes, for comparison: simulators are slower than comparing arguments."""
        size = self.path.stat().st_size
        return 3 * size if self.category in MULTI_TURN else size


@dataclass(frozen=True, slots=True)
class _Scored:
    """A category's answers, and what is told of them; small enough to be sent to another process."""

    category: str
    lines: str
    """Its part of ``answers.jsonl``."""
    summaries: Mapping[str, CategorySummary]
    scores: Scores
    usage: Usage
    size: int
    failures: Failures


def _score(jobs: Sequence[_Job]) -> list[_Scored]:
    # Nothing of this is let go before its end: looking for what could be takes a quarter of the time.
    gc.disable()
    try:
        return [_scored(job) for job in jobs]
    finally:
        gc.enable()


def _scored(job: _Job) -> _Scored:
    cases = load_category(job.category, simulators=_simulators())
    by_id = {case.task.id: case for case in cases}
    given: dict[str, _Entry] = {}
    for entry in _entries(job.path, by_id):
        if given.setdefault(entry.id, entry) is not entry:
            raise DataError(f"a second result of {entry.id!r}", path=job.path, line=entry.line)
    answered = [(case, given[case.task.id]) for case in cases if case.task.id in given]
    dots = any(writes_dots(case, entry.fields["result"]) for case, entry in answered)
    rows = [entry.row(case, job.call_format, dots=dots) for case, entry in answered]
    return _Scored(
        job.category,
        "".join(json_text(row) + "\n" for row in rows),
        by_category(rows),
        scores_of(rows),
        usage_of(rows),
        len(cases),
        failures_of(rows, cases),
    )


@cache
def _simulators() -> Simulators:
    """This process's, for all its episodes."""
    return new_simulators()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a result file."""

    id: str
    line: int
    fields: Mapping[str, Any]

    def row(self, case: AnyCase, call_format: str, *, dots: bool) -> dict[str, Any]:
        """The answer and its verdict; `dots` is as of `row_of_result`."""
        judged = row_of_result(case, self.fields["result"], call_format, dots=dots)
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
        if not isinstance(row.get("id"), str) or row["id"] not in cases or "result" not in row:
            raise DataError(f"no result of a task there is: {str(row)[:120]}", path=path, line=line)
        yield _Entry(row["id"], line, row)


def writes_dots(case: AnyCase, result: Any) -> bool:
    """Whether a native call of an answer has a dot in its name where its tool has one.

    Models that were sent such names write them so, others underscores instead; the official configuration of
    a model says which of the two is right.
    """
    if not isinstance(result, list):
        return False
    called = {name for call in result if isinstance(call, dict) for name in call if "." in name}
    return bool(called) and any(tool.name in called for tool in case.task.tools)


def row_of_result(case: AnyCase, result: Any, call_format: str, *, dots: bool = False) -> dict[str, Any]:
    """What was answered and its verdict, of the ``result`` of a line, whatever that is.

    Underscores in native calls stand for the dots of a tool's name unless the model writes `dots`.
    """
    if is_episode(case) or is_sequel(case):
        if not isinstance(result, list):
            kind = "multi_turn" if is_episode(case) else "agentic"
            detail = f"not a list of turns but {str(result)[:200]!r} [{kind}:inference_error]"
            return {"turns": [], **Verdict.wrong(ErrorKind.UNFINISHED, detail).to_json()}
        tools = case.turns[-1].tools if is_episode(case) else case.task.tools
        names = _with_dots(tools)
        turns = [
            [_step(step, tools, names, call_format) for step in (turn if isinstance(turn, list) else ())]
            for turn in result
        ]
        prose = [step["content"] for turn in turns for step in turn if not step["read"]]
        verdict = case.score(
            [[step["read"] for step in turn] for turn in turns], prose[-1] if prose else None
        )
        played = [[{**_told(step), "results": [""] * len(step["read"])} for step in turn] for turn in turns]
        return {"turns": played, **verdict.to_json()}
    if is_text_case(case):
        told = {"calls": [], "content": str(result), "text": str(result), "repairs": []}
        return {**told, **case.score_text(str(result)).to_json()}
    names = {} if dots else _with_dots(case.task.tools)
    step = _step(result, case.task.tools, names, call_format)
    return {**_told(step), **case.score(step["read"], step["content"], step["problem"]).to_json()}


def _with_dots(tools: Sequence[ToolSpec]) -> dict[str, str]:
    """Names by what endpoints that know no dots in them were sent instead."""
    return {tool.name.replace(".", "_"): tool.name for tool in tools if "." in tool.name}


def _step(
    result: Any, tools: Sequence[ToolSpec], names: Mapping[str, str], call_format: str
) -> dict[str, Any]:
    """One answer: its calls, its prose, and why it cannot be read. `names` is what `_with_dots` says."""
    if isinstance(result, str):
        return _read(result, tools, call_format)
    try:
        calls = tuple(
            ToolCall(names.get(name, name), _arguments(given))
            for call in result
            for name, given in call.items()
        )
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        text = json_text(result)
        return {"read": (), "content": text, "problem": f"no calls: {error}", "text": text, "repairs": []}
    return {"read": calls, "content": None, "problem": None, "text": "", "repairs": []}


def _arguments(given: Any) -> dict[str, Any]:
    """Raises ValueError where they are no object, TypeError where they are not even text."""
    arguments = json.loads(given)
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments are no object but {str(given)[:80]}")
    return arguments


def _read(text: str, tools: Sequence[ToolSpec], call_format: str) -> dict[str, Any]:
    """A text as `_step` tells of it."""
    step: dict[str, Any] = {
        "read": (),
        "content": text.strip() or None,
        "problem": None,
        "text": text,
        "repairs": [],
    }
    if call_format == OFFICIAL:
        from strop.tools.bfcl.answers import UnreadableError, read_answer

        try:
            return step | {"read": tuple(read_answer(text, "python", tagged=False)), "content": None}
        except UnreadableError as error:
            return step | {"problem": str(error)}
    reading = read_calls(text, preferred=call_format, tools=tools)
    if reading.problem is not None:
        return step | {"problem": reading.problem, "repairs": list(reading.repairs)}
    return step | {"read": reading.calls, "content": reading.content, "repairs": list(reading.repairs)}


def _told(step: Mapping[str, Any]) -> dict[str, Any]:
    calls = [{"name": call.name, "arguments": as_json(call.arguments)} for call in step["read"]]
    return {"calls": calls, **{name: step[name] for name in ("content", "text", "repairs")}}


def _sum(value: Any) -> float:
    """Of numbers at any depth; what is none, or is beyond a float, counts as nothing."""
    if isinstance(value, list):
        return sum(map(_sum, value))
    try:
        number = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _total(value: Any) -> int:
    return int(_sum(value))
