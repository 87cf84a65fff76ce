"""Calibrates the gate that skips checks (`strop.refine.assurance`), on tasks with known answers.

Every task is answered with adaptive refinement and no gate. What the gate would have done at any threshold
follows from the trials: a draft that is sure enough is final, any other is worth its check. So one pass gives
the whole curve of accuracy over cost, for every statistic.

Not covered: thresholds are fitted to the tasks given. Hold tasks out and measure again before trusting the
last percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from strop.agent.answer import Answer, Usage
from strop.refine.assurance import Gate, Statistic, assurance
from strop.tools.errors import DataError
from strop.tools.verdict import Verdict

NEVER = 1.0
"""A threshold no log-probability reaches: every draft is checked."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One task, refined without a gate."""

    id: str
    assurance: Mapping[str, float] | None
    """Of the draft, by statistic; None for a draft that no gate may pass."""
    draft_right: bool
    final_right: bool
    cost: int
    """Ids the engine computed for the checks: prompts that were not cached, and what was written."""

    @classmethod
    def of(cls, task_id: str, answer: Answer, judged: Callable[[Answer], Verdict], sound: bool) -> Self:
        """From an answer with log-probabilities. `sound`: no schema speaks against its draft."""
        first = answer.drafts[0]
        sure = {one.value: assurance(first, one) for one in Statistic}
        known = {name: value for name, value in sure.items() if value is not None}
        draft = Answer(first, Usage(), (first,))
        return cls(
            task_id,
            known if sound and len(known) == len(Statistic) else None,
            judged(draft).correct,
            judged(answer).correct,
            computed(answer.check_usage),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Raises DataError where it is no trial."""
        try:
            return cls(**row)
        except TypeError as error:
            raise DataError(f"no trial of a calibration: {error}") from error


def computed(usage: Usage) -> int:
    """Ids the engine had to compute."""
    return usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens


@dataclass(frozen=True, slots=True)
class Point:
    """What a gate would do."""

    threshold: float
    checked: float
    """Share of answers that would be checked."""
    accuracy: float
    cost: float
    """Ids computed for checks, an answer on average."""


def curve(trials: Sequence[Trial], statistic: Statistic) -> list[Point]:
    """One point for every threshold that makes a difference, from checking nothing sure to checking all.

    Raises DataError for no trials.
    """
    if not trials:
        raise DataError("there are no trials to calibrate on")
    values = sorted({trial.assurance[statistic] for trial in trials if trial.assurance is not None})
    return [_point(trials, statistic, threshold) for threshold in (*values, NEVER)]


def _point(trials: Sequence[Trial], statistic: Statistic, threshold: float) -> Point:
    skipped = [t.assurance is not None and t.assurance[statistic] >= threshold for t in trials]
    right = [t.draft_right if skip else t.final_right for t, skip in zip(trials, skipped, strict=True)]
    costs = [0 if skip else t.cost for t, skip in zip(trials, skipped, strict=True)]
    count = len(trials)
    return Point(threshold, 1 - sum(skipped) / count, sum(right) / count, sum(costs) / count)


def best_gate(
    trials: Sequence[Trial], *, tolerance: float = 0.0, model: str = "", weights: str = ""
) -> tuple[Gate, Point]:
    """The cheapest gate whose accuracy is at most `tolerance` under the best there is, and its point.

    Where two cost the same, the one that checks less. Raises DataError for no trials.
    """
    points = [(point, statistic) for statistic in Statistic for point in curve(trials, statistic)]
    best = max(point.accuracy for point, _ in points)
    good = [one for one in points if one[0].accuracy >= best - tolerance - 1e-9]
    point, statistic = min(good, key=lambda one: (one[0].cost, one[0].checked))
    return Gate(statistic, point.threshold, model, weights), point
