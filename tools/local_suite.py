"""What suites that lie in files share: their categories, their folder, their digest, their rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError, MissingDataError, UsageError
from strop.tools.files import read_jsonl
from strop.tools.suite import AnyCase, Overalls, Suite, no_overall


@dataclass(frozen=True, slots=True)
class Categories:
    """The categories of a benchmark, and names for several of them."""

    title: str
    """The benchmark, as errors call it."""
    names: tuple[str, ...]
    """In the order they are run and reported."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Why some are not here, by what their names begin with."""

    def resolve(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The categories that these names of categories and groups stand for. Raises UsageError."""
        found: set[str] = set()
        for name in wanted:
            why = next((why for prefix, why in self.elsewhere.items() if name.startswith(prefix)), None)
            if why is not None:
                raise UsageError(f"{self.title} category {name!r}: {why}")
            if name not in self.names and name not in self.groups:
                known = ", ".join((*self.names, *self.groups))
                raise UsageError(f"no {self.title} category {name!r}; there are {known}")
            found.update(self.groups.get(name, (name,)))
        return tuple(name for name in self.names if name in found)


@dataclass(frozen=True, slots=True)
class Clone:
    """A suite whose data somebody else's repository holds, and a person brings along."""

    name: str
    """What results are filed under."""
    categories: Categories
    get: str
    """How to get the data, after a colon."""
    files: Callable[[Path, str], Sequence[Path]]
    """Of a directory and a category: the files of its cases."""
    read: Callable[[Path, str], Iterable[AnyCase]]
    """Of a directory and a category: its cases. Raises DataError."""
    overalls: Overalls = no_overall

    def load(self, wanted: Sequence[str], *, limit: int | None, data: Path | None) -> Suite:
        """The first `limit` cases of each category.

        Raises UsageError for an unknown category or no `data`, DataError where a file is missing or
        malformed.
        """
        names = self.categories.resolve(wanted)
        directory = self.directory(data)
        cases: list[AnyCase] = []
        sizes: dict[str, int] = {}
        for name in names:
            found = self.load_category(name, directory)
            sizes[name] = len(found)
            cases += found[:limit]
        every = [path for name in self.categories.names for path in self.files(directory, name)]
        version = f"{self.categories.title} {digest_of(every)}"
        return Suite(self.name, version, tuple(cases), sizes, self.overalls)

    def load_category(self, category: str, data: Path | None = None) -> Sequence[AnyCase]:
        """All cases of one category, in their file's order.

        Raises UsageError where there is no `data`, MissingDataError for a missing file, DataError for a
        malformed one.
        """
        directory = self.directory(data)
        for path in self.files(directory, category):
            if not path.is_file():
                raise MissingDataError(f"no such {self.categories.title} file: {self.get}", path=path)
        return list(self.read(directory, category))

    def directory(self, data: Path | None) -> Path:
        """`data`, or what the suite's variable names. Raises UsageError where it names nothing."""
        directory = data or named_data(self.name)
        if directory is None:
            raise UsageError(
                f"the data of {self.categories.title} are not part of Strop: {self.get}, "
                f"or name it in {data_variable(self.name)}"
            )
        return directory


def data_variable(suite: str) -> str:
    """The environment variable that names the directory of a suite's data: ``STROP_ACEBENCH_DATA``."""
    return f"STROP_{suite.upper()}_DATA"


def named_data(suite: str) -> Path | None:
    """The directory that `data_variable` names, if it names one."""
    named = os.environ.get(data_variable(suite))
    return Path(named) if named else None


def digest_of(paths: Iterable[Path]) -> str:
    """Of the content of those files that are there: 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def rows_of(path: Path, *wanted: str, title: str, get: str) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, each with the fields `wanted`. Raises DataError naming the row."""
    if not path.is_file():
        raise MissingDataError(f"no such {title} file: {get}", path=path)
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(bad[0].reason, path=path, line=bad[0].line)
    for line, row in rows:
        missing = [name for name in wanted if name not in row]
        if missing:
            raise DataError(f"no {missing[0]!r}; is this {title}?", path=path, line=line)
    return [row for _, row in rows]


def matched(
    questions: Sequence[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]], path: Path
) -> list[Any]:
    """The ``ground_truth`` of each question, by id. Raises DataError naming one without."""
    truths = {row["id"]: row["ground_truth"] for row in answers}
    missing = [row["id"] for row in questions if row["id"] not in truths]
    if missing:
        raise DataError(f"no answer to {missing[0]!r}", path=path)
    return [truths[row["id"]] for row in questions]
