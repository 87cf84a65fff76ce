"""How sure a difference between two runs is.

Two runs over the same tasks are compared task by task with McNemar's (1947) exact test: only tasks whose
verdict flipped tell them apart, and under "no difference" each flip is a fair coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of `gained` flips to right against `lost` to wrong; 1 where none flipped."""
    return min(1.0, 2 * _tail(gained + lost, min(gained, lost)))


def mcnemar_gain(gained: int, lost: int) -> float:
    """One-sided exact p-value: the chance of at least `gained` of these flips to right, were each a fair
    coin; 1 where none flipped."""
    return _tail(gained + lost, lost)


def _tail(flips: int, most: int) -> float:
    """The chance of at most `most` heads in so many throws."""
    ways = tail = 1
    for k in range(most):
        ways = ways * (flips - k) // (k + 1)
        tail += ways
    # Integers divided by integers: exact at any size.
    return tail / (1 << flips)


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

    @property
    def p_gain(self) -> float:
        """Of the same test, one-sided: small where the second run is better."""
        return mcnemar_gain(len(self.gained), len(self.lost))


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
