"""A moving bar for a wait whose length nobody knows, so that a person sees that something still happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def waiting(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show `what`, a pulsing bar and the time it has taken; yields what changes the text.

    The bar is gone afterwards, and is not shown at all where `console` is no terminal.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda text: progress.update(task, description=text)
