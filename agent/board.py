"""Progress of a benchmark on standard error: a line for each category, and one for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from strop.agent.rows import Row


class Board(Progress):
    """Counts answers by category, and how many of them were right."""

    def __init__(self, kept: Iterable[Row], todo: Sequence[str], visible: bool):
        """`kept` are rows of earlier runs, `todo` the categories of what is still to be asked."""
        super().__init__(
            # Names of categories are other people's, and may look like markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[right]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not visible or not todo,
        )
        kept = list(kept)
        # Conversations have no verdict.
        self._judged = Counter(row["category"] for row in kept if "correct" in row)
        self._right = Counter(row["category"] for row in kept if row.get("correct"))
        self._done = Counter(row["category"] for row in kept)
        wanted = self._done + Counter(todo)
        self._lines = {
            name: self.add_task(name, total=total, completed=self._done[name], right=self._share(name))
            for name, total in wanted.items()
        }
        self._all = self.add_task("all", total=wanted.total(), completed=len(kept), right=self._share())

    def count(self, row: Row) -> None:
        """Count one more answer."""
        name = row["category"]
        self._done[name] += 1
        self._judged[name] += "correct" in row
        self._right[name] += bool(row.get("correct"))
        self.update(self._lines[name], completed=self._done[name], right=self._share(name))
        self.update(self._all, completed=self._done.total(), right=self._share())

    def _share(self, name: str | None = None) -> str:
        judged = self._judged[name] if name else self._judged.total()
        right = self._right[name] if name else self._right.total()
        return f"{100 * right / judged:.1f} % right" if judged else ""
