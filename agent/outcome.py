"""The files in which a benchmark says what it came to."""

from __future__ import annotations

from pathlib import Path

from strop.agent.failure import Failures
from strop.agent.page import write_page
from strop.agent.summary import Summary
from strop.tools.files import write_json

SUMMARY, PAGE = "summary.json", "page.html"


def write_outcome(out: Path, summary: Summary, failures: Failures) -> None:
    """Write summary and page to `out`. Raises RunError."""
    write_json(out / SUMMARY, summary.to_json())
    write_page(out / PAGE, summary, failures)
