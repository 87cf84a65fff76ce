"""The benchmarks there are, and how each is loaded.

Another is one module with a function of `Loader`'s form; `strop bench run FILE.py` runs it without touching
this package (see docs/benchmarks.md).
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from strop.tools.errors import UsageError
from strop.tools.suite import Suite


class Loader(Protocol):
    """Loads a suite."""

    def __call__(self, categories: Sequence[str], *, limit: int | None, data: Path | None) -> Suite:
        """The first `limit` cases of each of these categories (of all, where none is named), from `data`.

        Raises UsageError for an unknown category, DataError where data are missing or malformed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where a suite comes from."""

    title: str
    module: str
    """Whose ``load_suite`` is the `Loader`; imported only when the suite is wanted."""

    def load(self, categories: Sequence[str], *, limit: int | None, data: Path | None) -> Suite:
        """As `Loader`."""
        loader: Loader = import_module(self.module).load_suite
        return loader(categories, limit=limit, data=data)


SUITES: Mapping[str, Source] = {
    "bfcl": Source(
        "The Berkeley Function Calling Leaderboard, judged as its own checker judges.",
        "strop.tools.bfcl.suite",
    ),
    "acebench": Source(
        "ACEBench, agent tasks included, judged as its published checker judges.", "strop.tools.acebench"
    ),
    "apibank": Source("API-Bank, levels 1 to 3, call by call.", "strop.tools.apibank"),
    "toolalpaca": Source("ToolAlpaca, simulated and real, call by call.", "strop.tools.toolalpaca"),
    "sealtools": Source("Seal-Tools, in and out of domain, call by call.", "strop.tools.sealtools"),
}
"""By the name they have on the command line."""


def load_file(path: Path, categories: Sequence[str], *, limit: int | None, data: Path | None) -> Suite:
    """The suite of a file that has a ``load_suite``. Raises UsageError where there is none."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; want a Python file with a function load_suite")
    loader: Any = runpy.run_path(str(path)).get("load_suite")
    if not callable(loader):
        raise UsageError(f"{path}: it has no function load_suite(categories, *, limit, data)")
    suite = loader(categories, limit=limit, data=data)
    if not isinstance(suite, Suite):
        raise UsageError(
            f"{path}: its load_suite returned {type(suite).__name__}, not a strop.tools.suite.Suite"
        )
    if unknown := [name for name in categories if name not in suite.sizes]:
        raise UsageError(f"{path}: no category {unknown[0]!r}; it has {', '.join(suite.sizes)}")
    return suite
