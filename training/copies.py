"""Training does not start on tasks that repeat a benchmark, and writes down which ones it looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from strop.tools.corpus import data_here, read_corpus, why_absent
from strop.tools.errors import UsageError
from strop.tools.screening import Screening, Yardsticks
from strop.tools.suites import SUITES
from strop.tools.task import Task

SHOWN = 3
"""Copies an error names."""
UNABLE = "comparing needs strop[data]"
"""Why no benchmark was compared with."""


def yardsticks_here() -> Yardsticks:
    """Every benchmark whose data are here (`strop.tools.corpus.data_here`), and why the others are not.

    Takes seconds. Raises DataError where a variable names a place without such data, UsageError where what
    comparing needs is not installed (``strop[data]``).
    """
    return _yardsticks(tuple(data_here().items()))


@cache
def _yardsticks(here: tuple[tuple[str, Path | None], ...]) -> Yardsticks:
    corpora = [read_corpus(name, data) for name, data in here]
    absent = [name for name in SUITES if name not in dict(here)]
    return Yardsticks.of(corpora, {name: why_absent(name) for name in absent})


def refuse_copies(tasks: Sequence[Task], *, allowed: bool, lifted_by: str) -> Mapping[str, Any]:
    """Raises UsageError where a task repeats a benchmark's question, tool or answer, unless that is
    `allowed`; `lifted_by` is what allows it. Raises what `yardsticks_here` does, too, but for what is not
    installed where copies are allowed.

    Returns what was compared with what, as plain JSON, for the run's own record.
    """
    unable = allowed and find_spec("datasketch") is None
    yardsticks = Yardsticks.of([], dict.fromkeys(SUITES, UNABLE)) if unable else yardsticks_here()
    screening = yardsticks.screen(tasks)
    if screening.hits and not allowed:
        raise UsageError(_refusal(screening, lifted_by))
    return {**screening.to_json(), "allowed": allowed}


def _refusal(screening: Screening, lifted_by: str) -> str:
    counts = Counter(hit.what for hit in screening.hits)
    kinds = ", ".join(f"{count} {what}s" for what, count in counts.items())
    named = "; ".join(
        f"{hit.task}: {hit.what}, {hit.copy} of {hit.suite} {hit.case}" for hit in screening.hits[:SHOWN]
    )
    return (
        f"{screening.repeating} of {screening.tasks} tasks repeat something of a benchmark ({kinds}): {named}"
        f". 'strop data check FILE' lists them; {lifted_by} trains on them all the same"
    )
