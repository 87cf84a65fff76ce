"""Whether a trained policy takes the place of the one it was trained from.

Both answered the same held-out tasks, so that they are compared task by task: the chance that a policy that
is no better turns at least so many of the flipped tasks right (McNemar's exact test, one-sided) must be
small, and few tasks may turn wrong, whatever others gain: who uses a model notices what it no longer can
(MUSCLE, arXiv 2407.09435, measures that by the rate of negative flips, too).

The bound on negative flips holds for the tasks that were asked. Its 95 % interval is written down, not
judged: of thirty tasks the upper end is above a tenth where not one has turned wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from strop.agent.paired import Comparison
from strop.tools.share import wilson
from strop.training.table import Table

NOTHING_TO_LEARN: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no preference pair came of the tasks (solved already, or stopped by the gate), and "
    "nothing else to learn from, so that nothing was trained",
}
"""The row of ``decision.json`` where a round ends for want of pairs, and of samples that teach something."""
SELECTION_STOPPED: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no task was selected that earlier rounds had not, so that nothing was trained",
}
"""Likewise where a round ends because its selection does not grow."""


class AcceptTable(Table):
    """When a trained policy replaces the one it was trained from."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    """Greatest one-sided p-value of a gain on held-out tasks: the share of rounds without any effect that
    would be accepted. Below a half, so that as many losses as gains are never enough."""
    max_negative_flips: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Most held-out tasks that may turn from right to wrong, as a share."""


def decide(comparison: Comparison, table: AcceptTable) -> dict[str, Any]:
    """Whether the trained policy is accepted, and why, as the row of ``decision.json``."""
    gained, lost, total = len(comparison.gained), len(comparison.lost), comparison.total
    share = lost / total if total else 1.0
    interval = wilson(lost, total)
    change = (
        f"held-out accuracy {comparison.difference:+.1%} ({gained} of {total} tasks turned right, "
        f"{lost} wrong, one-sided p {comparison.p_gain:.2g})"
    )
    if comparison.p_gain > table.alpha:
        reason = f"refused: {change}; wanted p of at most {table.alpha:g}"
    elif share > table.max_negative_flips:
        reason = f"refused: {change}; {share:.1%} turned wrong, at most {table.max_negative_flips:.1%} may"
    else:
        reason = f"accepted: {change}"
    return {
        "accepted": reason.startswith("accepted"),
        "reason": reason,
        "held_out": {
            "total": total,
            "before": comparison.before,
            "after": comparison.after,
            "gained": list(comparison.gained),
            "lost": list(comparison.lost),
            "p_gain": comparison.p_gain,
            "negative_flips": {"share": share, "interval": list(interval)},
        },
    }
