"""What a run directory holds, read for the report: whatever is missing or half-written is just not there.

Nothing here fails on a run that is unfinished. A file that cannot be read is named in `RunView.notes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.agent.paired import Comparison, compare
from strop.tools.errors import DataError
from strop.tools.files import read_json, read_jsonl
from strop.tools.share import Share

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """One category before and after."""

    name: str
    before: Share | None
    after: Share | None
    paired: Comparison | None
    """Over the tasks both answered; None where there is none."""


@dataclass(frozen=True, slots=True)
class BenchView:
    """One benchmark directory."""

    summary: Row
    """Empty where the benchmark is not complete."""
    answers: tuple[Row, ...]
    """Rows so far."""

    @property
    def exists(self) -> bool:
        return bool(self.summary or self.answers)

    def share(self, category: str | None = None) -> Share | None:
        """Of one category, or of all together; from the answers, else from the summary."""
        rows = [row for row in self.answers if category in (None, row.get("category"))]
        if rows:
            return Share(sum(bool(row.get("correct")) for row in rows), len(rows))
        scores = self.summary.get("categories", {})
        chosen = [score for name, score in scores.items() if category in (None, name)]
        if not chosen:
            return None
        return Share(sum(one["correct"] for one in chosen), sum(one["total"] for one in chosen))

    @property
    def categories(self) -> list[str]:
        """In the order they were asked."""
        named = [*self.summary.get("categories", {}), *(str(row.get("category")) for row in self.answers)]
        return list(dict.fromkeys(named))

    def verdicts(self, category: str | None = None) -> dict[str, bool]:
        """{task id: right or not}."""
        return {
            str(row.get("id")): bool(row.get("correct"))
            for row in self.answers
            if category in (None, row.get("category"))
        }


@dataclass(frozen=True, slots=True)
class RoundView:
    """One round's output."""

    number: int
    """From 1; 0 is the warm-up."""
    before: BenchView
    after: BenchView
    held_before: BenchView
    held_after: BenchView
    collected: Row
    """The collection's summary; empty before its end."""
    deficiencies: tuple[Row, ...]
    pairs: tuple[Row, ...]
    log: tuple[Row, ...]
    """Training log, a row a step."""
    trained: Row
    """The training's summary; empty before its end."""
    decision: Row
    """Empty before it was made."""

    @property
    def title(self) -> str:
        return f"Round {self.number}" if self.number else "Warm-up"


@dataclass(frozen=True, slots=True)
class StageView:
    """What one stage took."""

    name: str
    starts: int
    """More than one: it was interrupted, or done again under other settings."""
    seconds: float | None
    """Of the attempt that finished; None where none has."""
    failure: str
    """Why the last attempt failed; empty where it did not."""


@dataclass(slots=True)
class RunView:
    """A run directory."""

    path: Path
    config: Row = field(default_factory=dict)
    versions: Row = field(default_factory=dict)
    serve: Row = field(default_factory=dict)
    events: tuple[Row, ...] = ()
    stages: tuple[StageView, ...] = ()
    rounds: tuple[RoundView, ...] = ()
    tasks: dict[str, Row] = field(default_factory=dict)
    """Task rows by id, trained on and held out."""
    notes: list[str] = field(default_factory=list)
    """What could not be read."""


def read_run(path: Path) -> RunView:
    """Read what there is. Raises nothing for missing or broken files."""
    view = RunView(path)
    reader = _Reader(view.notes)
    view.config = reader.one(path / "config.json")
    view.versions = reader.one(path / "versions.json")
    view.serve = reader.one(path / "serve.json")
    view.events = reader.many(path / "events.jsonl")
    view.stages = tuple(_stages(view.events))
    view.rounds = tuple(_rounds(path / "rounds", view.config, reader))
    for name in ("train", "held_out"):
        view.tasks |= {str(row.get("id")): row for row in reader.many(path / "tasks" / f"{name}.jsonl")}
    return view


def score_lines(before: BenchView, after: BenchView) -> list[ScoreLine]:
    """A line a category in the order asked, then ``all`` where there is more than one."""
    names = list(dict.fromkeys([*before.categories, *after.categories]))
    lines = [_line(name, name, before, after) for name in names]
    return [*lines, _line("all", None, before, after)] if len(lines) > 1 else lines


def overall(before: BenchView, after: BenchView) -> ScoreLine | None:
    """All categories together; None where nothing was measured."""
    return _line("all", None, before, after) if before.exists or after.exists else None


def question_of(task: Row) -> str:
    """The last user message of a task row."""
    said = [message.get("content") for message in task.get("messages", ()) if message.get("role") == "user"]
    return str(said[-1]) if said else ""


def _line(name: str, category: str | None, before: BenchView, after: BenchView) -> ScoreLine:
    first, second = before.verdicts(category), after.verdicts(category)
    paired = compare(first, second) if first and second else None
    return ScoreLine(name, before.share(category), after.share(category), paired)


class _Reader:
    """Reads files that may be missing, and notes those that are broken."""

    def __init__(self, notes: list[str]):
        self._notes = notes

    def one(self, path: Path) -> Row:
        if not path.exists():
            return {}
        try:
            value = read_json(path)
        except DataError as error:
            self._notes.append(str(error))
            return {}
        if isinstance(value, dict):
            return value
        self._notes.append(f"{path}: not a JSON object")
        return {}

    def many(self, path: Path) -> tuple[Row, ...]:
        if not path.exists():
            return ()
        try:
            rows, bad = read_jsonl(path)
        except DataError as error:
            self._notes.append(str(error))
            return ()
        self._notes.extend(f"{path}:{row.line}: {row.reason}" for row in bad)
        return tuple(row for _, row in rows)


def _rounds(folder: Path, config: Row, reader: _Reader) -> Iterator[RoundView]:
    """The warm-up and the rounds that `config` asks for, in order, up to the first that was not accepted, or
    a warm-up that was not decided: what lies beyond is of an earlier start.

    All that are there where no configuration can be read.
    """
    if (folder / "0").is_dir() and config.get("warmup", True) is not None:
        warm_up = _round(folder / "0", reader)
        yield warm_up
        if not warm_up.decision:
            return
    asked = config.get("rounds")
    for number in range(1, asked + 1) if isinstance(asked, int) else itertools.count(1):
        if not (folder / str(number)).is_dir():
            return
        view = _round(folder / str(number), reader)
        yield view
        if not view.decision.get("accepted"):
            return


def _round(folder: Path, reader: _Reader) -> RoundView:
    def bench(name: str) -> BenchView:
        return BenchView(
            reader.one(folder / name / "summary.json"), reader.many(folder / name / "answers.jsonl")
        )

    # A round without pairs is trained on its samples alone.
    places = (folder / "train", folder / "corpus")
    train = next((place for place in places if place.exists()), places[0])
    # The log moves with the adapter once training is complete.
    logs = [train / "adapter" / "train_log.jsonl", train / "adapter.part" / "train_log.jsonl"]
    log = next((path for path in logs if path.exists()), train / "train_log.jsonl")
    return RoundView(
        number=int(folder.name),
        before=bench("before"),
        after=bench("after"),
        held_before=bench("held_out_before"),
        held_after=bench("held_out_after"),
        collected=reader.one(folder / "collect" / "summary.json"),
        deficiencies=reader.many(folder / "collect" / "deficiencies.jsonl"),
        pairs=reader.many(folder / "collect" / "pairs.jsonl"),
        log=reader.many(log),
        trained=reader.one(train / "adapter" / "train_summary.json"),
        decision=reader.one(folder / "decision.json"),
    )


def _stages(events: Sequence[Row]) -> list[StageView]:
    found: dict[str, StageView] = {}
    for event in events:
        name = str(event.get("stage") or "")
        known = found.get(name, StageView(name, 0, None, ""))
        match event.get("event"):
            case "stage_start":
                found[name] = StageView(name, known.starts + 1, None, "")
            case "stage_end":
                found[name] = StageView(name, known.starts, float(event.get("seconds") or 0), "")
            case "stage_failed":
                found[name] = StageView(name, known.starts, None, str(event.get("reason") or "failed"))
            case _:
                continue
    return list(found.values())
