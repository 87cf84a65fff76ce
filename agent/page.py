"""A benchmark's page: one HTML file without outside requests, to see what was right and why the rest was not.

All text of models and files is escaped; nothing of it is run.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from strop.agent.failure import Failures
from strop.agent.summary import Summary
from strop.tools.files import write_text

if TYPE_CHECKING:
    from jinja2 import Template


def write_page(path: Path, summary: Summary, failures: Failures) -> None:
    """Write the page, with `failures` to browse. Raises RunError."""
    from markupsafe import Markup

    tools = ",".join(f'"{key}":{tool}' for key, tool in failures.tools.items())
    total = sum(one.score.total for one in summary.categories.values())
    correct = sum(one.score.correct for one in summary.categories.values())
    page = page_template().render(
        summary=summary,
        errors=_errors(summary),
        samples=sorted({k for one in summary.categories.values() for k in one.pass_at}),
        total=total,
        correct=correct,
        wrong=total - correct,
        shown=len(failures.shown),
        failures=Markup(f"[{','.join(failure.text for failure in failures.shown)}]"),
        tools=Markup(f"{{{tools}}}"),
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
    )
    write_text(path, page)


@cache
def page_template() -> Template:
    """The page's, compiled at the first call."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "seconds": _seconds}
    # Not by importlib.resources, whose import alone is a fortieth of what scoring takes.
    return environment.from_string(Path(__file__).with_name("bench.html.j2").read_text("utf-8"))


def _errors(summary: Summary) -> list[str]:
    """Errors that occurred, most frequent first."""
    counts: dict[str, int] = {}
    for category in summary.categories.values():
        for error, count in category.errors.items():
            counts[error] = counts.get(error, 0) + count
    return sorted(counts, key=lambda error: -counts[error])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
