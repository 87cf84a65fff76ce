"""Draws what a calibration found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strop.refine.assurance import Gate, Statistic
from strop.refine.calibrate import Point, Trial, curve
from strop.tools.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_drawing() -> type[Figure]:
    """matplotlib's figure. Raises UsageError where it is not installed: ask before anything slow begins."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"drawing needs matplotlib ({error}): pip install 'strop[plots]'") from error
    return Figure


def draw(trials: Sequence[Trial], gate: Gate, chosen: Point, path: Path) -> None:
    """Write the curves of accuracy over cost as a picture; its ending says which kind.

    Raises what `require_drawing` raises.
    """
    figure = require_drawing()(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for statistic in Statistic:
        points = sorted(curve(trials, statistic), key=lambda point: point.cost)
        label = {"mean": "mean log-probability", "least": "least log-probability"}[statistic.value]
        axes.step([p.cost for p in points], [100 * p.accuracy for p in points], where="post", label=label)
    axes.plot([chosen.cost], [100 * chosen.accuracy], "o", color="black")
    note = f"{gate.statistic.value} ≥ {gate.threshold:.3g}\n{chosen.checked:.0%} checked"
    axes.annotate(note, (chosen.cost, 100 * chosen.accuracy), textcoords="offset points", xytext=(8, -24))
    axes.set_xlabel("tokens computed for checks, an answer")
    axes.set_ylabel("right answers, %")
    axes.set_title(f"{gate.model}: what checking costs and brings ({len(trials)} tasks)")
    axes.legend(loc="best", frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
