"""Training does not start on tasks that repeat a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from strop.tools.bfcl.files import find_data
from strop.tools.bfcl.suite import load_suite
from strop.tools.contamination import Hit, Index
from strop.tools.errors import DataError, UsageError
from strop.tools.task import Task

SHOWN = 3
"""Copies an error names."""


def refuse_copies(tasks: Sequence[Task], allow: str) -> None:
    """Raises UsageError where a task repeats what BFCL asks, its answers or its tools; `allow` is what
    lifts it.

    Where BFCL's data are not installed there is nothing to compare with.
    """
    hits = copies_of_bfcl(tasks)
    if hits:
        found = len({hit.task for hit in hits})
        kinds = ", ".join(f"{count} {what}s" for what, count in Counter(hit.what for hit in hits).items())
        named = "; ".join(
            f"{hit.task}: {hit.what}, {hit.copy} of {hit.suite} {hit.case}" for hit in hits[:SHOWN]
        )
        raise UsageError(
            f"{found} of {len(tasks)} tasks repeat something of a benchmark ({kinds}): {named}. "
            f"'strop data check FILE --against bfcl' lists them; {allow} trains on them all the same"
        )


def copies_of_bfcl(tasks: Sequence[Task]) -> list[Hit]:
    """What of these tasks is in BFCL's single-turn categories."""
    try:
        directory = find_data()
    except DataError:
        return []
    return list(_index(directory).hits(tasks))


@cache
def _index(directory: Path) -> Index:
    """Of the data in a directory; made once, it takes seconds."""
    index = Index()
    suite = load_suite(["single_turn"], data=directory)
    index.add(suite.name, [case.task for case in suite.cases])
    return index
