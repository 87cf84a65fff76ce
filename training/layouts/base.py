"""What a layout is: how somebody else writes conversations with tools down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from strop.tools.task import Task

Row: TypeAlias = Mapping[str, Any]
"""One object of a file."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands."""

    id: str
    """Of a row that has none: the file's name and the row's number."""
    source: str
    """`Task.source` of a row that does not say."""

    def id_of(self, row: Row) -> str:
        """The row's own id as text, or the one of its place."""
        own = row.get("id")
        is_name = isinstance(own, str | int) and not isinstance(own, bool) and own != ""
        return str(own) if is_name else self.id


class Layout(Protocol):
    """A way to write conversations down."""

    @property
    def name(self) -> str:
        """Its key in `LAYOUTS`."""
        ...

    def fits(self, row: Row) -> bool:
        """Whether the row could be of this layout, by its keys and speakers; it may still be broken."""
        ...

    def marked(self, row: Row) -> bool:
        """Whether a row that fits has something that tells this layout from the others it may fit."""
        ...

    def read(self, row: Row, origin: Origin) -> list[Task]:
        """The tasks of a row, at least one. Raises DataError with the reason where there is none."""
        ...


@runtime_checkable
class Writer(Protocol):
    """A layout that tasks can be written in."""

    def write(self, task: Task) -> dict[str, Any]:
        """The row `read` reads. Raises DataError for a task that the layout cannot hold."""
        ...
