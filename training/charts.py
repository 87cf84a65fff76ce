"""Small charts as inline SVG, coloured by the page's CSS classes so that they follow light and dark.

All text is escaped by markupsafe's formatting. Lengths are in units of a drawing that scales with the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, TypeAlias

from markupsafe import Markup

from strop.tools.share import Share
from strop.training.run_view import ScoreLine

WIDTH = 960
LEFT, RIGHT = 170, 76
"""Room for category names, and for the numbers beside the plot."""
Scale: TypeAlias = Callable[[float], float]


def accuracy_chart(lines: Sequence[ScoreLine]) -> Markup:
    """Accuracy by category, before (hollow) above after (filled), with 95 % intervals."""
    row, top, bottom = 50, 10, 28
    height = top + row * len(lines) + bottom

    def across(share: float) -> float:
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    drawn = [
        _vertical(across(tick / 100), top, height - bottom, f"{tick} %") for tick in (0, 25, 50, 75, 100)
    ]
    for at, line in enumerate(lines):
        middle = top + row * (at + 0.5)
        drawn.append(_text("name", LEFT - 16, middle + 5, line.name.replace("_", " ")))
        drawn.append(_whisker(line.before, "before", middle - 9, across))
        drawn.append(_whisker(line.after, "after", middle + 9, across))
    return _svg(WIDTH, height, drawn, "Accuracy by category before and after, with 95 % intervals")


def curve(rows: Sequence[Mapping[str, Any]], key: str, label: str) -> Markup:
    """One quantity of the training log over steps; empty where the log has fewer than two values of it."""
    points: list[tuple[float, float]] = [
        (row["step"], row[key]) for row in rows if _is_number(row.get(key)) and "step" in row
    ]
    if len(points) < 2:
        return Markup("")
    width, height, left, right, top, bottom = 310, 190, 52, 8, 30, 26
    low, high = _span([value for _, value in points])
    first, last = points[0][0], points[-1][0]

    def across(step: float) -> float:
        return round(left + (step - first) / max(last - first, 1) * (width - left - right), 1)

    def up(value: float) -> float:
        return round(height - bottom - (value - low) / (high - low) * (height - top - bottom), 1)

    drawn = [_text("title", 2, 15, label)]
    drawn += [
        _horizontal(left, width - right, up(tick), _short(tick)) for tick in (low, (low + high) / 2, high)
    ]
    drawn += [_text("tick", across(step), height - 8, f"{step:g}") for step in (first, last)]
    drawn.append(
        Markup('<polyline class="line" points="{}"/>').format(
            " ".join(f"{across(x)},{up(y)}" for x, y in points)
        )
    )
    drawn.append(
        Markup('<circle class="end" cx="{}" cy="{}" r="3.5"/>').format(across(last), up(points[-1][1]))
    )
    drawn.append(_text("value end", width - right, 15, f"last {_short(points[-1][1])}"))
    return _svg(width, height, drawn, f"{label} by step")


def _whisker(share: Share | None, kind: str, y: float, across: Scale) -> Markup:
    if share is None:
        return Markup("")
    low, high = (across(end) for end in share.interval)
    return Markup(
        '<g class="{kind}"><title>{hint}</title>'
        '<path class="whisker" d="M{low} {up}V{down}M{low} {y}H{high}M{high} {up}V{down}"/>'
        '<circle cx="{dot}" cy="{y}" r="5"/></g>{label}'
    ).format(
        kind=kind,
        hint=f"{kind}: {share.correct} of {share.total}",
        low=low,
        high=high,
        y=y,
        up=y - 4,
        down=y + 4,
        dot=across(share.accuracy),
        label=_text(f"value {kind}", WIDTH - RIGHT + 14, y + 4, f"{100 * share.accuracy:.1f} %"),
    )


def _vertical(x: float, top: float, bottom: float, label: str) -> Markup:
    line = Markup('<path class="grid" d="M{} {}V{}"/>').format(x, top, bottom)
    return line + _text("tick", x, bottom + 18, label)


def _horizontal(left: float, right: float, y: float, label: str) -> Markup:
    line = Markup('<path class="grid" d="M{} {}H{}"/>').format(left, y, right)
    return line + _text("tick left", left - 7, y + 4, label)


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y, text)


def _svg(width: float, height: float, drawn: Sequence[Markup], label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup("").join(drawn)
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest, never the same."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _short(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
