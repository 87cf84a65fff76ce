"""Runs a benchmark: every task asked once, every answer judged and kept.

A directory holds one benchmark of one model under one set of settings:

    settings.json   what was asked of whom; a run with other settings refuses the directory
    answers.jsonl   one row a task, appended as answers come, in task order once all are there
    summary.json    scores by category, with intervals
    result/<model>/ for BFCL, the answers in the official layout, which its own evaluator reads

A run that was stopped, however, goes on where it was when started again: rows already there are kept and
not asked again. Later runs may add categories or raise the limit; the summary speaks of all rows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from strop.agent.answer import Answer, Answerer, Draft, Usage
from strop.agent.compare import Share
from strop.agent.engines.base import Sampling
from strop.agent.lock import held
from strop.tools.bfcl.results import write_results
from strop.tools.errors import DataError, TooLongError, UsageError
from strop.tools.files import JsonlWriter, has_rows, read_json, read_jsonl, write_json, write_jsonl
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import Verdict

_ROW_KEYS = ("id", "category", "correct", "usage", "elapsed")
"""What every row of answers.jsonl has, and this module reads."""
ANSWERS, SETTINGS, SUMMARY = "answers.jsonl", "settings.json", "summary.json"


class Case(Protocol):
    """A task and its judge."""

    @property
    def task(self) -> Task: ...

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        """Judge an answer; `problem` says that its content looks like a call that could not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What a benchmark came to."""

    suite: str
    model: str
    refine: str
    categories: Mapping[str, Share]
    """In the order they were asked."""
    usage: Usage
    """Of all answers together."""
    seconds: float
    """Wall time spent asking, interruptions left out."""

    def to_json(self) -> dict[str, Any]:
        """What ``summary.json`` holds; ``partial`` says that this is not the whole of BFCL's leaderboard,
        whose score counts what was not run as zero."""
        return {
            "suite": self.suite,
            "model": self.model,
            "refine": self.refine,
            **({"partial": True} if self.suite == "bfcl" else {}),
            "categories": {
                name: {
                    "correct": score.correct,
                    "total": score.total,
                    "accuracy": score.accuracy,
                    "interval": list(score.interval),
                }
                for name, score in self.categories.items()
            },
            "usage": asdict(self.usage),
            "seconds": round(self.seconds, 1),
        }


async def run_bench(
    cases: Sequence[Case],
    answerer: Answerer,
    out: Path,
    *,
    suite: str,
    version: str = "",
    model: str | None = None,
    refine: str = "off",
    asked: Mapping[str, Any] | None = None,
    sampling: Sampling | None = None,
    concurrency: int = 32,
    progress: bool = True,
) -> Summary:
    """Ask every task not yet answered in `out`, `concurrency` at a time, and write what the module says.

    `version` names the data exactly; `asked` tells the answerer from others of its name (weights, engine,
    address). `model` defaults to the answerer's name, `sampling` to greedy with 512 tokens. A task too long
    for the model is a wrong answer (``too_long``), not a failure.

    Raises UsageError where `out` holds answers under other settings, DataError where its answers
    cannot be read, RunError where it cannot be written, and whatever the answerer raises: then the answers
    that came before stay, and the next run goes on from them.
    """
    sampling = sampling or Sampling()
    model = model or answerer.name
    settings = {"suite": suite, "version": version, "model": model, "refine": refine, **(asked or {})}
    with held(out / ".lock", f"a benchmark in {out}"):
        _claim(out, settings | {f"sampling.{name}": value for name, value in asdict(sampling).items()})
        with JsonlWriter(out / ANSWERS) as writer:
            ledger = _Ledger(writer, read_answers(out))
            todo = [case for case in cases if case.task.id not in ledger.rows]
            with _Bar(ledger.rows.values(), len(todo), progress) as bar:

                async def ask(case: Case) -> None:
                    row = await _answered(case, answerer, sampling)
                    ledger.add(row)
                    bar.count(row)

                await in_flight(todo, ask, concurrency)
        ordered = ledger.in_order_of(cases)
        summary = Summary(suite, model, refine, _scores(ordered), _usage(ordered), ledger.seconds)
        _write(out, ordered, summary)
    return summary


def read_answers(out: Path) -> list[dict[str, Any]]:
    """Rows of a benchmark directory; none where it has no answers yet. Raises DataError for a broken row."""
    path = out / ANSWERS
    if not path.exists():
        return []
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(
            f"{bad[0].reason}; delete the line to have it asked again", path=path, line=bad[0].line
        )
    for line, row in rows:
        lacking = [key for key in _ROW_KEYS if key not in row]
        if lacking:
            reason = f"no answer of a benchmark: it lacks {', '.join(lacking)}; delete the line"
            raise DataError(reason, path=path, line=line)
    return [row for _, row in rows]


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make `out` this benchmark's directory. Raises UsageError naming the first setting that differs.

    A directory without an answer belongs to nobody yet.
    """
    path = out / SETTINGS
    if not (path.exists() and has_rows(out / ANSWERS)):
        write_json(path, settings)
        return
    claimed = read_json(path)
    for name, value in json.loads(json.dumps(settings)).items():
        there = claimed.get(name) if isinstance(claimed, dict) else None
        if there != value:
            what = _DIGESTS.get(name) or f"with {name} {there!r}, and this run wants {value!r}"
            raise UsageError(f"{out} holds answers {what}: give another directory, or delete this one")


_DIGESTS = {"weights": "of other weights than this run's", "version": "to other tasks than this run's"}
"""What is said of settings whose values tell a person nothing."""


async def in_flight(cases: Iterable[Case], ask: Callable[[Case], Awaitable[None]], concurrency: int) -> None:
    """Ask all, `concurrency` at a time; the first failure cancels the others and is raised as it is."""
    queue = iter(cases)

    async def work() -> None:
        for case in queue:
            await ask(case)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, concurrency)):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _row(case: Case, answer: Answer) -> dict[str, Any]:
    verdict = case.score(answer.calls, answer.content, answer.final.problem)
    return {
        "category": case.task.category,
        "id": case.task.id,
        "calls": [call.to_json() for call in answer.calls],
        "content": answer.content,
        "correct": verdict.correct,
        "error": verdict.error,
        "refine": {"rounds": answer.rounds, "stop_reason": answer.stop_reason},
        "usage": asdict(answer.usage),
        "detail": verdict.detail,
        "text": answer.final.text,
        "repairs": list(answer.final.repairs),
    }


async def _answered(case: Case, answerer: Answerer, sampling: Sampling) -> dict[str, Any]:
    """The row of one task, asked now."""
    began = time.monotonic()
    try:
        row = _row(case, await answerer.answer(case.task, sampling))
    except TooLongError as error:
        # Wrong, whatever the right answer is: the model was not asked.
        nothing = Answer(Draft((), (), "", (), None), Usage())
        row = _row(case, nothing) | {"correct": False, "error": "too_long", "detail": str(error)}
    except UsageError as error:
        raise UsageError(f"task {case.task.id!r} cannot be asked: {error}") from error
    return row | {"seconds": round(time.monotonic() - began, 3)}


class _Ledger:
    """The rows there are, and the time they took, interruptions left out."""

    def __init__(self, writer: JsonlWriter, kept: Iterable[dict[str, Any]]):
        self.rows = {row["id"]: row for row in kept}
        self._writer = writer
        self._before = max((row["elapsed"] for row in self.rows.values()), default=0.0)
        self._began = time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Keep one more row, on disk before this returns."""
        elapsed = self._before + time.monotonic() - self._began
        row = row | {"elapsed": round(elapsed, 3)}
        self._writer.write(row)
        self.rows[row["id"]] = row

    def in_order_of(self, cases: Sequence[Case]) -> list[dict[str, Any]]:
        """Rows of `cases`, then those of earlier runs that asked for others."""
        asked = dict.fromkeys(case.task.id for case in cases)
        return [
            self.rows[task_id] for task_id in (*asked, *(other for other in self.rows if other not in asked))
        ]

    @property
    def seconds(self) -> float:
        return max((row["elapsed"] for row in self.rows.values()), default=0.0)


def _write(out: Path, rows: list[dict[str, Any]], summary: Summary) -> None:
    write_jsonl(out / ANSWERS, rows)
    if summary.suite == "bfcl":
        write_results(out, summary.model, rows)
    write_json(out / SUMMARY, summary.to_json())


def _usage(rows: Iterable[Mapping[str, Any]]) -> Usage:
    return sum((Usage(**row["usage"]) for row in rows), Usage())


def _scores(rows: Iterable[Mapping[str, Any]]) -> dict[str, Share]:
    verdicts: dict[str, list[bool]] = {}
    for row in rows:
        verdicts.setdefault(row["category"], []).append(row["correct"])
    return {name: Share(sum(right), len(right)) for name, right in verdicts.items()}


class _Bar(Progress):
    """Progress on standard error, with the share that was right so far."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], todo: int, visible: bool):
        right = [row["correct"] for row in rows]
        self._right, self._done = sum(right), len(right)
        super().__init__(
            TextColumn("asking"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not visible or todo == 0,
        )
        self._bar = self.add_task(self._share(), total=self._done + todo, completed=self._done)

    def count(self, row: Mapping[str, Any]) -> None:
        """Count one more answer."""
        self._right += bool(row["correct"])
        self._done += 1
        self.update(self._bar, completed=self._done, description=self._share())

    def _share(self) -> str:
        return f"{100 * self._right / self._done:.1f} % right" if self._done else ""
