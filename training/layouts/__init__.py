"""Training data in other people's layouts, read as tasks.

    read_layout("data.json")                  # detects the layout
    read_layout("data.json", "toolace")

Conversations give one task for every answer in them that can be learned. Tools and arguments are kept as they
stand; a row that cannot be read is named with its reason and skipped. Nothing is evaluated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from strop.tools.errors import DataError, UsageError
from strop.tools.files import BadRow
from strop.tools.task import Task
from strop.training.layouts.base import Layout, Origin, Row, Writer
from strop.training.layouts.hermes import HermesLayout
from strop.training.layouts.openai import OpenAi
from strop.training.layouts.own import Own
from strop.training.layouts.rows import Rows, read_rows
from strop.training.layouts.sealtools import SealTools
from strop.training.layouts.sharegpt import ApiGenMt, ShareGpt, without_beginnings
from strop.training.layouts.toolace import ToolAce
from strop.training.layouts.xlam import XLam

SAMPLE = 200
"""Rows at the beginning of a file that its layout is told by."""

_ALL: tuple[Layout, ...] = (
    Own(), OpenAi(), ToolAce(), XLam(), ApiGenMt(), HermesLayout(), SealTools(), ShareGpt()
)  # fmt: skip
LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""Every layout by name."""
WRITERS: Mapping[str, Writer] = MappingProxyType({"strop": Own(), "openai": OpenAi(), "sharegpt": ShareGpt()})
"""Those that tasks can be written in."""

Numbered: TypeAlias = tuple[int, Row]
Watch: TypeAlias = Callable[[list[Numbered]], Iterable[Numbered]]
"""Goes through rows for somebody who waits, as a progress bar does."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read of a source."""

    layout: str
    """Its name in `LAYOUTS`."""
    tasks: list[tuple[int, Task]]
    """(line or number of its row, task), in the source's order."""
    bad: list[BadRow]
    """Rows that are skipped, in the source's order."""


def read_layout(source: Path | str, layout: str | None = None, *, watch: Watch = iter) -> Loaded:
    """The tasks of a .jsonl, .json or .parquet file, or of a data set of the hub.

    `layout` is detected where it is None. A later task with an id already seen makes its row a bad one.
    Raises UsageError for an unknown layout, DataError where the source cannot be read, its layout cannot be
    told, or it holds no task at all.
    """
    rows = read_rows(source)
    chosen = named(layout) if layout is not None else detect(rows)
    seen: set[str] = set()
    tasks: list[tuple[int, Task]] = []
    bad = list(rows.bad)
    for number, row in watch(rows.rows):
        origin = Origin(f"{rows.name}-{number}", f"{Path(rows.source).name} ({chosen.name})")
        try:
            found = chosen.read(row, origin)
            again = next((task.id for task in found if task.id in seen), None)
            if again is not None:
                raise DataError(f"id {again!r} was seen before")
        except DataError as error:
            bad.append(BadRow(number, str(error)))
            continue
        seen.update(task.id for task in found)
        tasks += [(number, task) for task in found]
    if not tasks:
        first = min(bad, key=lambda one: one.line, default=None)
        reason = f"; first problem, at {first.line}: {first.reason}" if first else ""
        raise DataError(f"no task could be read{reason}", path=rows.source)
    return Loaded(chosen.name, tasks, sorted(bad, key=lambda one: one.line))


@dataclass(frozen=True, slots=True)
class Written:
    """Tasks in another layout."""

    rows: list[Mapping[str, Any]]
    """In the tasks' order. In `sharegpt`, where all answers of a row are learned, one a conversation: the
    longest, of which shorter ones are the beginnings."""
    refused: list[tuple[int, str, str]]
    """(line or number of its row, id, reason) of every task that the layout cannot hold."""


def written(tasks: Iterable[tuple[int, Task]], layout: str) -> Written:
    """`tasks`, as `Loaded` has them, as rows of a layout. Raises UsageError for one that is not written."""
    if layout not in WRITERS:
        raise UsageError(f"{layout!r} is not written; {', '.join(WRITERS)} are")
    rows: list[Mapping[str, Any]] = []
    refused: list[tuple[int, str, str]] = []
    for number, task in tasks:
        try:
            rows.append(WRITERS[layout].write(task))
        except DataError as error:
            refused.append((number, task.id, str(error)))
    return Written(without_beginnings(rows) if layout == "sharegpt" else rows, refused)


def named(layout: str) -> Layout:
    """Raises UsageError for a name that no layout has."""
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]


def detect(rows: Rows) -> Layout:
    """The one layout that fits all rows at the beginning which any layout fits.

    Raises DataError where there is none, or more than one.
    """
    sample = [row for _, row in rows.rows[:SAMPLE]]
    known = [row for row in sample if any(layout.fits(row) for layout in _ALL)]
    found = [
        layout for layout in _ALL if known and all(map(layout.fits, known)) and any(map(layout.marked, known))
    ]
    if len(found) == 1:
        return found[0]
    raise DataError(_untold(rows, sample, known), path=rows.source)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _untold(rows: Rows, sample: list[Row], known: list[Row]) -> str:
    """Why no layout could be told."""
    if not sample:
        return "no row could be read" + (f"; first problem: {rows.bad[0].reason}" if rows.bad else "")
    if not known:
        keys = ", ".join(map(repr, sample[0])) or "no keys"
        within = next((key for key, value in sample[0].items() if _is_rows(value)), None)
        hint = f" (if {within!r} holds the rows, make it a file of its own)" if within else ""
        return f"in no layout that is known ({', '.join(LAYOUTS)}): its first row has {keys}{hint}"
    counts = Counter(
        layout.name for row in known for layout in _ALL if layout.fits(row) and layout.marked(row)
    )
    mixed = ", ".join(f"{name} ({count} rows)" for name, count in counts.items())
    return f"its layout cannot be told: {mixed}; 'strop data convert --from' takes one"


__all__ = [
    "LAYOUTS",
    "WRITERS",
    "Layout",
    "Loaded",
    "Origin",
    "Writer",
    "Written",
    "detect",
    "named",
    "read_layout",
    "written",
]
