"""What a benchmark came to: scores by category, what several samples are worth, errors and cost.

pass@k is the unbiased estimate of Chen et al. (2021, arXiv 2107.03374, equation 1): the chance that one of
k samples drawn from those taken is right. majority@k takes the answer given most often among the first k
samples (the one given first, among equals); equal are answers with the same canonical calls, and among those
without a call the right ones and the wrong ones. Where what was said is judged, that has to be the same. Both
are of the tasks that were answered most often, where some were asked for more samples than others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from statistics import fmean as mean
from typing import Any

from strop.agent.answer import Usage
from strop.agent.rows import CONTENT, JUDGED, PROSE, TEXT, Row
from strop.tools.canonical import canonical
from strop.tools.share import Share, wilson
from strop.tools.spec import ToolCall
from strop.tools.suite import Overall


@dataclass(frozen=True, slots=True)
class CategorySummary:
    """One category's answers."""

    score: Share
    """Of all samples."""
    tasks: int
    accuracy: float
    """Mean over tasks of the share of their samples that are right, in [0, 1]."""
    sampled: int
    """Tasks that have as many samples as any, which the next two are of."""
    pass_at: Mapping[int, float]
    """Chance that one of k samples is right, in [0, 1]; only where there is more than one sample a task."""
    majority_at: Mapping[int, float]
    """Share of tasks whose most frequent answer of k samples is right; likewise."""
    errors: Mapping[str, int]
    """Wrong samples by the verdict's error, most frequent first."""
    seconds: Sequence[float] = field(default=(), compare=False)
    """Of each answer, from asking to the whole of it, waiting for the engine included; ascending."""

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy. Samples of one task are not independent: tasks count."""
        return wilson(self.accuracy * self.tasks, self.tasks)

    def to_json(self) -> dict[str, Any]:
        several = {
            "tasks": self.tasks,
            "sampled": self.sampled,
            "pass_at": {str(k): round(share, 6) for k, share in self.pass_at.items()},
            "majority_at": {str(k): round(share, 6) for k, share in self.majority_at.items()},
        }
        return {
            "correct": self.score.correct,
            "total": self.score.total,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            **(several if self.pass_at else {}),
            "errors": dict(self.errors),
            "latency": {"p50": quantile(self.seconds, 0.5), "p95": quantile(self.seconds, 0.95)},
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """What a benchmark came to."""

    suite: str
    model: str
    refine: str
    categories: Mapping[str, CategorySummary]
    """In the order they were asked."""
    usage: Usage
    """Of all answers together."""
    seconds: float
    """Wall time spent asking, interruptions left out."""
    overalls: Sequence[Overall] = field(default=())
    """As the suite defines them."""

    def to_json(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return {
            "suite": self.suite,
            "model": self.model,
            "refine": self.refine,
            "overall": {
                one.name: {
                    "accuracy": one.accuracy,
                    "partial": one.partial,
                    **({"missing": list(one.missing)} if one.partial else {}),
                }
                for one in self.overalls
            },
            "categories": {name: category.to_json() for name, category in self.categories.items()},
            "usage": asdict(self.usage),
            "seconds": round(self.seconds, 1),
        }


def by_category(rows: Iterable[Row]) -> dict[str, CategorySummary]:
    """Summaries of rows, in the order in which their categories first come."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["category"], []).append(row)
    return {name: _category(group) for name, group in grouped.items()}


def scores_of(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """What a suite's overalls are made of (`strop.tools.suite.Scores`)."""
    rights: dict[str, dict[str, list[bool]]] = {}
    for row in rows:
        rights.setdefault(row["category"], {}).setdefault(row["id"], []).append(bool(row["correct"]))
    return {
        category: {task_id: sum(right) / len(right) for task_id, right in tasks.items()}
        for category, tasks in rights.items()
    }


def usage_of(rows: Iterable[Row]) -> Usage:
    """Tokens of all rows together."""
    return sum((Usage(**row["usage"]) for row in rows), Usage())


def pass_at(correct: int, samples: int, k: int) -> float:
    """Chance that of `k` of these samples, drawn without replacement, one is correct."""
    if not 0 < k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} of {correct} correct among {samples} samples")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def majority_is_right(rows: Sequence[Row]) -> bool:
    """Whether the answer given most often is right."""
    answers = [_answer_of(row) for row in rows]
    winner, _ = Counter(answers).most_common(1)[0]
    return bool(rows[answers.index(winner)]["correct"])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ascending values lie; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _category(rows: Sequence[Row]) -> CategorySummary:
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row["id"], []).append(row)
    samples = max(map(len, tasks.values()))
    sampled = [group for group in tasks.values() if len(group) == samples]
    ks = [k for k in (1 << power for power in range(samples.bit_length())) if k <= samples]
    ks = [] if samples == 1 else sorted({*ks, samples})
    right = [sum(bool(row["correct"]) for row in group) for group in sampled]
    return CategorySummary(
        score=Share(sum(bool(row["correct"]) for row in rows), len(rows)),
        tasks=len(tasks),
        accuracy=mean(mean(bool(row["correct"]) for row in group) for group in tasks.values()),
        sampled=len(sampled),
        pass_at={k: mean(pass_at(count, samples, k) for count in right) for k in ks},
        majority_at={k: mean(majority_is_right(group[:k]) for group in sampled) for k in ks},
        errors=dict(Counter(str(row["error"]) for row in rows if not row["correct"]).most_common()),
        seconds=sorted(row["seconds"] for row in rows if "seconds" in row),
    )


def _answer_of(row: Row) -> str:
    """Equal for equal answers."""
    judged = row.get(JUDGED)
    if judged == TEXT:
        return str(row["text"]).strip()
    if judged == CONTENT:
        return " ".join((row["content"] or "").split())
    if judged == PROSE:
        said = [step["content"] or "" for turn in row["turns"] for step in turn if not step["calls"]]
        return " ".join(said[-1].lower().split()) if said else ""
    steps = [step for turn in row.get("turns", [[row]]) for step in turn]
    calls = [canonical(ToolCall(call["name"], call["arguments"]) for call in step["calls"]) for step in steps]
    # Prose is seldom the same twice; what it is worth is what its verdict says.
    return json.dumps([*calls, "" if any(step["calls"] for step in steps) else bool(row["correct"])])
