"""Two runs of one benchmark, compared task by task: is the second worse?

The whole and every category are tested with McNemar's exact test; the categories' p-values are corrected for
their number after Holm (1979), so that one of twenty does not fall by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.outcome import SUMMARY
from strop.agent.paired import Comparison, compare
from strop.agent.rows import SETTINGS, Row, read_answers
from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_json

ALL = "all"


@dataclass(frozen=True, slots=True)
class Line:
    """One category, or all together."""

    name: str
    paired: Comparison
    p_value: float
    """Of no difference; of a category, corrected for the number of categories."""

    def regressed(self, alpha: float) -> bool:
        return self.p_value < alpha and self.paired.difference < 0


@dataclass(frozen=True, slots=True)
class Report:
    """What the comparison came to."""

    lines: Sequence[Line]
    """By category, and all together last."""
    alpha: float
    notes: Sequence[str]
    """What a reader must know: answers only one run has."""

    @property
    def all(self) -> Comparison:
        return self.lines[-1].paired

    @property
    def regressed(self) -> bool:
        """Whether the second run is significantly worse, in all or in a category."""
        return any(line.regressed(self.alpha) for line in self.lines)

    @property
    def verdict(self) -> str:
        """In one sentence."""
        worse = [line.name for line in self.lines if line.regressed(self.alpha)]
        if worse:
            return f"significantly worse: {', '.join(worse)}"
        whole = self.lines[-1]
        if whole.p_value < self.alpha:
            return "significantly better"
        return f"no significant difference ({len(self.all.gained)} gained, {len(self.all.lost)} lost)"


def compare_runs(before: Path, after: Path, *, alpha: float = 0.05) -> Report:
    """Compare the benchmark directories `before` and `after`. Of several samples a task the first counts.

    Raises DataError where one holds no answers, UsageError where one was broken off or they have no task in
    common.
    """
    notes = _different_settings(before, after)
    earlier, later = _rows(before), _rows(after)
    both = [task_id for task_id in earlier if task_id in later]
    if not both:
        raise UsageError(f"{before} and {after} have no task in common")
    categories = dict.fromkeys(earlier[task_id]["category"] for task_id in both)
    paired = {name: compare(_verdicts(earlier, name), _verdicts(later, name)) for name in categories}
    corrected = holm({name: comparison.p_value for name, comparison in paired.items()})
    whole = compare(_verdicts(earlier), _verdicts(later))
    lines = [Line(name, comparison, corrected[name]) for name, comparison in paired.items()]
    notes += [
        f"{len(alone):,} answers of {run} have no counterpart and are left out"
        for run, alone in ((before, earlier.keys() - later.keys()), (after, later.keys() - earlier.keys()))
        if alone
    ]
    return Report([*lines, Line(ALL, whole, whole.p_value)], alpha, notes)


def _different_settings(before: Path, after: Path) -> list[str]:
    """What was asked differently, besides the model. Raises UsageError for two benchmarks."""
    ours, theirs = map(_settings, (before, after))
    if ours.get("suite") != theirs.get("suite"):
        raise UsageError(f"{before} is a run of {ours.get('suite')}, {after} one of {theirs.get('suite')}")
    names = [name for name in ours if name == "version" or name.startswith("sampling.")]
    return [
        f"{name} differs: {ours[name]} and {theirs.get(name)}"
        for name in names
        if ours[name] != theirs.get(name)
    ]


def _settings(run: Path) -> Mapping[str, Any]:
    known = read_json(run / SETTINGS) if (run / SETTINGS).exists() else {}
    if not isinstance(known, dict):
        raise DataError("holds no settings of a benchmark", path=run / SETTINGS)
    return known


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm 1979, step down)."""
    corrected: dict[str, float] = {}
    floor = 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        floor = max(floor, min(1.0, p_value * (len(p_values) - place)))
        corrected[name] = floor
    return corrected


def _rows(run: Path) -> dict[str, Row]:
    every = read_answers(run)
    if not every:
        raise DataError("no answers of a benchmark here", path=run)
    if len(every) != _told(run):
        raise UsageError(f"{run} was broken off: run it again, it goes on where it was")
    return {row["id"]: row for row in every if not row.get("sample")}


def _told(run: Path) -> int:
    """Answers that a run's summary speaks of; it is written last."""
    if not (run / SUMMARY).exists():
        return 0
    try:
        return sum(one["total"] for one in read_json(run / SUMMARY)["categories"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"no summary of a benchmark ({error!r})", path=run / SUMMARY) from error


def _verdicts(rows: Mapping[str, Row], category: str | None = None) -> dict[str, bool]:
    return {
        task_id: bool(row["correct"])
        for task_id, row in rows.items()
        if category is None or row["category"] == category
    }
