"""How sure a score is, and how sure a difference between two.

Intervals are Wilson's (1927), which stay inside [0, 1] and make sense at 0 and 100 %. Two runs over the same
tasks are compared task by task with McNemar's (1947) exact test: only tasks whose verdict flipped tell them
apart, and under "no difference" each flip is a fair coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(correct: int, total: int, *, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, both ends in [0, 1]; (0, 1) where nothing was asked."""
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} correct of {total}")
    if total == 0:
        return 0.0, 1.0
    share, spread = correct / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(share * (1 - share) / total + spread / (4 * total))
    # At the ends the formula is exact but for rounding.
    low = 0.0 if correct == 0 else max(0.0, middle - half)
    return low, 1.0 if correct == total else min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Share:
    """Tasks answered right, out of those asked."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]; 0 where nothing was asked."""
        return self.correct / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.correct, self.total)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of `gained` flips to right against `lost` to wrong; 1 where none flipped."""
    flips = gained + lost
    if flips == 0:
        return 1.0
    ways = tail = 1
    for k in range(min(gained, lost)):
        ways = ways * (flips - k) // (k + 1)
        tail += ways
    # Integers divided by integers: exact at any size.
    return min(1.0, 2 * tail / (1 << flips))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the tasks both answered."""

    total: int
    """Tasks both runs answered."""
    before: int
    """Right in the first."""
    after: int
    """Right in the second."""
    gained: tuple[str, ...]
    """Ids wrong before and right after."""
    lost: tuple[str, ...]
    """Ids right before and wrong after."""

    @property
    def difference(self) -> float:
        """Accuracy after minus accuracy before, in [-1, 1]."""
        return (self.after - self.before) / self.total if self.total else 0.0

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test, two-sided."""
        return mcnemar(len(self.gained), len(self.lost))


def compare(before: Mapping[str, bool], after: Mapping[str, bool]) -> Comparison:
    """Compare two runs given as {task id: right or not}; ids only one of them has are left out."""
    both = [task_id for task_id in before if task_id in after]
    return Comparison(
        total=len(both),
        before=sum(before[task_id] for task_id in both),
        after=sum(after[task_id] for task_id in both),
        gained=tuple(task_id for task_id in both if after[task_id] and not before[task_id]),
        lost=tuple(task_id for task_id in both if before[task_id] and not after[task_id]),
    )
