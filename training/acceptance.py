"""Whether a trained policy replaces the one before: a paired test on held-out tasks, a bound on what is lost.

The gain must be more than `min_gain` and, by McNemar's exact test on the tasks whose verdict flipped, no
likelier than `alpha` by chance (one-sided). And however large it is, at most `max_negative_flips` of the
tasks may turn from right to wrong: users notice what no longer works (MUSCLE, arXiv 2407.09435).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

from strop.agent.paired import Comparison
from strop.training.config import AcceptTable

NOTHING_TO_LEARN: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no preference pair came of the tasks (solved already, or stopped by the gate), so "
    "that nothing was trained",
}
"""The row of ``decision.json`` where a round ends for want of pairs."""
SELECTION_STOPPED: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no task was selected that earlier rounds had not, so that nothing was trained",
}
"""Likewise where a round ends because its selection does not grow."""


def decide(comparison: Comparison, table: AcceptTable) -> dict[str, Any]:
    """Whether the trained policy replaces the one before, and why, as the row of ``decision.json``."""
    refusal = _refusal(comparison, table)
    gain, lost = comparison.difference, _share_lost(comparison)
    return {
        "accepted": refusal is None,
        "reason": refusal or f"accepted: held-out accuracy {gain:+.1%}, {lost:.1%} of tasks turned wrong",
        "held_out": {
            "total": comparison.total,
            "before": comparison.before,
            "after": comparison.after,
            "gained": list(comparison.gained),
            "lost": list(comparison.lost),
            "p_value": comparison.p_value,
            "p_gain": chance_of_gain(comparison),
        },
    }


def chance_of_gain(comparison: Comparison) -> float:
    """How likely so many flips to right, of all that flipped, would be if each were a fair coin; 1 where
    nothing flipped. McNemar's exact test, one-sided."""
    gained = len(comparison.gained)
    flips = gained + len(comparison.lost)
    return sum(comb(flips, k) for k in range(gained, flips + 1)) / (1 << flips)


def _refusal(comparison: Comparison, table: AcceptTable) -> str | None:
    gain, lost, chance = comparison.difference, _share_lost(comparison), chance_of_gain(comparison)
    if gain <= table.min_gain:
        return f"refused: held-out accuracy changed by {gain:+.1%}, wanted more than {table.min_gain:+.1%}"
    if lost > table.max_negative_flips:
        return (
            f"refused: {lost:.1%} of held-out tasks turned wrong, at most {table.max_negative_flips:.1%} may"
        )
    if chance > table.alpha:
        return (
            f"refused: held-out accuracy {gain:+.1%} ({len(comparison.gained)} tasks gained, "
            f"{len(comparison.lost)} lost) may be chance, p {chance:.2g}, at most {table.alpha:g} is wanted"
        )
    return None


def _share_lost(comparison: Comparison) -> float:
    return len(comparison.lost) / comparison.total if comparison.total else 1.0
