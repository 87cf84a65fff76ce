"""What the person watching a training sees: a bar, and a line now and then. From the first process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from strop.training.ranks import Ranks


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left, in the first process; yields ``advance(steps, total=None)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    hidden = not Ranks.here().first
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task(what, total=total)

        def advance(steps: int, total: int | None = None) -> None:
            progress.update(task, advance=steps, total=total)

        yield advance


def say(text: str) -> None:
    """One line for the person watching, from the first process."""
    if Ranks.here().first:
        Console(stderr=True).print(text)
