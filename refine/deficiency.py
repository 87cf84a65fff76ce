"""What k samples of a task show of the policy: how often it is right, what goes wrong, and where.

A task is worth searching where k samples solve it sometimes (ToolACE-R, arXiv 2504.01400: solvable, not yet
solved) or never while its gold is known (iTool, arXiv 2501.09766: the hard samples). What is always solved
teaches nothing. Both papers leave k and the thresholds open: k is a setting, the band is 1 … k-1. Finer
choices are `strop.refine.selection`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from strop.refine.partings import Parting
from strop.refine.sample import Sample
from strop.tools.task import Task


class Selection(StrEnum):
    """What a task is to this policy, and whether it is searched where nothing else is asked for."""

    BAND = "band"
    """Searched: solved by some samples, not by all."""
    UNSOLVED = "unsolved"
    """Searched: solved by none."""
    SOLVED = "solved"
    """Not searched: solved by all."""
    NO_GOLD = "no_gold"
    """Never searched: nobody knows what is right."""
    NO_ROOM = "no_room"
    """Never searched: the prompt leaves no room for an answer in the context."""

    @property
    def searched(self) -> bool:
        return self in (Selection.BAND, Selection.UNSOLVED)


@dataclass(frozen=True, slots=True)
class Deficiency:
    """What k samples of one task show."""

    task_id: str
    category: str
    samples: int
    """k; 0 where nothing was sampled."""
    passes: int
    """Correct ones among them."""
    errors: Mapping[str, int]
    """`ErrorKind` → how many samples; the counts and `passes` add up to `samples`."""
    mean_reward: float
    """In [0, 1]."""
    selection: Selection
    tools: tuple[str, ...] = ()
    """Names of the tools that are rightly called, each once; empty where the right answer is prose."""
    perplexity: float | None = None
    """exp(-mean log p) over the ids of the gold as the policy would write it, ≥ 1; None where it was not
    scored, cannot be, or is not written."""
    partings: tuple[Parting, ...] = ()
    """One for each wrong sample; none where no right answer is known."""

    def to_json(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "category": self.category,
            "samples": self.samples,
            "passes": self.passes,
            "errors": dict(self.errors),
            "mean_reward": self.mean_reward,
            "selection": self.selection,
            "tools": list(self.tools),
            "perplexity": self.perplexity,
            "partings": [parting.to_json() for parting in self.partings],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Deficiency:
        return cls(
            task_id=row["task_id"],
            category=row["category"],
            samples=row["samples"],
            passes=row["passes"],
            errors=row["errors"],
            mean_reward=row["mean_reward"],
            selection=Selection(row["selection"]),
            tools=tuple(row["tools"]),
            perplexity=row["perplexity"],
            partings=tuple(map(Parting.from_json, row["partings"])),
        )


def unsampled(task: Task, selection: Selection) -> Deficiency:
    """The row of a task that could not be sampled or judged."""
    return Deficiency(task.id, task.category, 0, 0, {}, 0.0, selection, called(task))


def called(task: Task) -> tuple[str, ...]:
    """Names of the tools the gold calls, each once."""
    return tuple(dict.fromkeys(call.name for call in task.gold.calls)) if task.gold else ()


def diagnose(task: Task, samples: Sequence[Sample], partings: Sequence[Parting] = ()) -> Deficiency:
    """Count one task's verdicts and decide whether to search it. `samples` is not empty."""
    verdicts = [sample.outcome.verdict for sample in samples]
    passes = sum(verdict.correct for verdict in verdicts)
    errors = Counter(str(verdict.error) for verdict in verdicts if verdict.error)
    return Deficiency(
        task_id=task.id,
        category=task.category,
        samples=len(samples),
        passes=passes,
        errors=dict(sorted(errors.items())),
        mean_reward=round(sum(sample.outcome.reward for sample in samples) / len(samples), 6),
        selection=select(passes, len(samples)),
        tools=called(task),
        partings=tuple(partings),
    )


def select(passes: int, samples: int) -> Selection:
    """The band of `passes` out of `samples` (> 0)."""
    if passes == samples:
        return Selection.SOLVED
    return Selection.BAND if passes else Selection.UNSOLVED


def summarise(deficiencies: Iterable[Deficiency]) -> dict[str, dict[str, Any]]:
    """By category, and ``all``: tasks, samples, passes, tasks by selection, samples by error kind."""
    groups: dict[str, list[Deficiency]] = {"all": []}
    for row in deficiencies:
        groups.setdefault(row.category or "uncategorised", []).append(row)
        groups["all"].append(row)
    return {name: _summary(groups[name]) for name in sorted(groups)}


def _summary(rows: Sequence[Deficiency]) -> dict[str, Any]:
    errors: Counter[str] = Counter()
    for row in rows:
        errors.update(row.errors)
    return {
        "tasks": len(rows),
        "samples": sum(row.samples for row in rows),
        "passes": sum(row.passes for row in rows),
        "selection": dict(sorted(Counter(str(row.selection) for row in rows).items())),
        "errors": dict(sorted(errors.items())),
    }
