"""A share of tasks, and how sure it is.

Intervals are Wilson's (1927), which stay inside [0, 1] and make sense at 0 and 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(correct: float, total: int, *, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, both ends in [0, 1]; (0, 1) where nothing was asked.

    Raises ValueError for more correct than there are, or fewer than none.
    """
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
