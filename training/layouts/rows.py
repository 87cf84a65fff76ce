"""Rows of a file, whatever it is: JSON lines, a JSON list, Parquet, or a data set of the hub.

Parquet gives every object of a column the same keys, with None for those it did not have: tools and
arguments survive it where they are JSON text, as in the data sets these layouts come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError, UsageError
from strop.tools.files import BadRow, read_json, read_jsonl
from strop.training.layouts.base import Row

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Rows:
    """What a source holds."""

    source: str
    """As it was asked for; in messages."""
    name: str
    """Short; in ids."""
    rows: list[tuple[int, Row]]
    """(line of a JSON-lines file, or number of the row, from 1; the row)."""
    bad: list[BadRow]
    """What is no object at all."""


def read_rows(source: Path | str) -> Rows:
    """Raises DataError where a file cannot be read, UsageError where what reads it is not installed."""
    path = Path(source)
    if not path.exists() and path.suffix not in _FILES and _HUB_ID.fullmatch(str(source)):
        return _counted(str(source), str(source).partition("/")[2], _from_hub(str(source)))
    if path.suffix == ".parquet":
        return _counted(str(source), path.stem, _from_parquet(path))
    if path.suffix == ".json" and _is_list(path):
        return _counted(str(source), path.stem, read_json(path))
    rows, bad = read_jsonl(path)
    return Rows(str(source), path.stem, list(rows), bad)


def _counted(source: str, name: str, items: list[Any]) -> Rows:
    numbered = list(enumerate(items, start=1))
    bad = [
        BadRow(number, f"not a JSON object but {type(item).__name__}")
        for number, item in numbered
        if not isinstance(item, dict)
    ]
    return Rows(source, name, [(number, item) for number, item in numbered if isinstance(item, dict)], bad)


def _is_list(path: Path) -> bool:
    """Whether it begins as a list does: many a .json holds JSON lines."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(4096).lstrip().startswith("[")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _from_parquet(path: Path) -> list[Any]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UsageError(f"{path}: Parquet is read by pyarrow: pip install 'strop[train]'") from error
    try:
        rows: list[Any] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise DataError(f"not Parquet that can be read: {error}", path=path) from error
    return rows


def _from_hub(name: str) -> list[Any]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UsageError(
            f"{name} is no file, and data sets of the hub are fetched by datasets: pip install 'strop[train]'"
        ) from error
    import httpx

    try:
        return list(load_dataset(name, split="train"))
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is no file, and cannot be fetched from the hub: {reason}") from error
