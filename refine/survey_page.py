"""A survey's page: one HTML file without outside requests. All text of models and tasks is escaped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from strop.agent.failure import category_of, in_turns
from strop.refine.survey_report import Failure, Report, advice, findings, group_of, headline, quantiles
from strop.tools.files import write_text
from strop.tools.task import Task

MOST_TOOLS = 30
"""Rows of the heat map; the rest is behind a button."""
MOST_SPOTS = 12
LONGEST_TEXT = 4000
"""Characters of any one text."""


def write_page(path: Path, report: Report, selections: Sequence[Mapping[str, Any]]) -> None:
    """Write the page. Raises RunError."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda share: f"{100 * share:.0f} %", "said": _said}
    template = environment.from_string((files("strop.refine") / "survey.html.j2").read_text("utf-8"))
    shown = in_turns([_failure(one) for one in report.failures], category_of)
    page = template.render(
        report=report,
        headline=headline(report),
        findings=findings(report),
        advice=advice(report),
        selections=selections,
        errors=list(report.whole.errors),
        hottest=max((n for errors in report.tools.values() for n in errors.values()), default=1),
        most_tools=MOST_TOOLS,
        places=_bars(report.places),
        spots=_bars(dict(list(report.spots.items())[:MOST_SPOTS])),
        tokens=_bars(_token_names(report.tokens)),
        parted=sum(report.places.values()),
        points=_points(report),
        perplexity=quantiles(report.whole.perplexities),
        shown=len(shown),
        failures=shown,
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
    )
    write_text(path, page)


def _bars(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """Name, count, and its length against the longest in percent."""
    most = max(counts.values(), default=0) or 1
    return [(name, count, round(100 * count / most, 1)) for name, count in counts.items()]


def _token_names(tokens: Mapping[int, int]) -> dict[str, int]:
    firsts = list(tokens)
    names = [
        str(first) if after == first + 1 else f"{first}–{after - 1}" for first, after in pairwise(firsts)
    ]
    return dict(zip((*names, f"{firsts[-1]}+"), tokens.values(), strict=True))


def _points(report: Report) -> list[dict[str, Any]]:
    """A task each, in percent of the plot: perplexity by its logarithm, least to greatest, and pass rate."""
    logs = [math.log10(value) for value in report.whole.perplexities]
    low, high = (min(logs), max(logs)) if logs else (0.0, 1.0)
    width = (high - low) or 1.0
    return [
        {
            "x": round(100 * (math.log10(row.perplexity) - low) / width, 2),
            "y": round(100 * row.passes / row.samples, 2),
            "calls": bool(row.tools),
            "title": f"{row.task_id}: perplexity {row.perplexity:.4g}, {row.passes} of {row.samples} right",
        }
        for row in report.rows
        if row.perplexity is not None and row.samples
    ]


def _failure(failure: Failure) -> dict[str, Any]:
    parting = failure.parting
    return {
        "id": failure.task.id,
        "sample": failure.sample,
        "category": group_of(failure.task),
        "error": failure.error,
        "detail": _clip(failure.outcome.verdict.detail),
        "tools": list(failure.tools),
        "place": str(parting.place) if parting else "",
        "spot": f"{parting.description}, token {parting.token}" if parting else "",
        "asked": [_clip(line) for line in _asked(failure.task)],
        "answer": _clip(failure.outcome.text),
        "gold": [_clip(line) for line in _gold(failure.task)],
    }


def _asked(task: Task) -> list[str]:
    return [f"{message.get('role')}: {message.get('content') or ''}" for message in task.messages]


def _gold(task: Task) -> list[str]:
    if task.gold is None:
        return []
    return [str(call) for call in task.gold.calls] or [task.gold.response or "(prose, no call)"]


def _said(name: str) -> str:
    return name.replace("_", " ")


def _clip(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
