"""Rows of a file, whatever it is: JSON lines, a JSON list, Parquet, or a data set of the hub.

Parquet gives every object of a column the same keys, with None for those it did not have: tools and
arguments survive it where they are JSON text, as in the data sets these layouts come from.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError, UsageError
from strop.tools.files import EXACT, BadRow, read_jsonl, read_text
from strop.training.layouts.base import Row
from strop.training.layouts.exact import spans

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(?::[\w.-]+)?")
_FILES = (".json", ".jsonl", ".parquet")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


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
    """Raises DataError where a file cannot be read, UsageError where what reads it is not installed.

    A data set of the hub is ``owner/name``, or ``owner/name:configuration`` where it has several.
    """
    path = Path(source)
    if not path.exists() and path.suffix not in _FILES and _HUB_ID.fullmatch(str(source)):
        name, _, configuration = str(source).partition(":")
        short = "-".join(filter(None, (name.partition("/")[2], configuration)))
        return _counted(str(source), short, from_hub(name, configuration or None))
    if path.suffix in _PACKED:
        raise DataError(f"is packed: unpack it; {', '.join(_FILES)} files are read", path=path)
    if path.suffix == ".parquet":
        return _counted(str(source), path.stem, _from_parquet(path))
    items = _items_of(path) if path.suffix == ".json" else None
    if items is not None:
        return _counted(str(source), path.stem, items)
    rows, bad = read_jsonl(path, EXACT.decode)
    return Rows(str(source), path.stem, list(rows), bad)


def _counted(source: str, name: str, items: list[Any]) -> Rows:
    rows: list[tuple[int, Row]] = []
    bad: list[BadRow] = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            rows.append((number, item))
        elif isinstance(item, ValueError):
            bad.append(BadRow(number, f"not JSON: {item}"))
        else:
            bad.append(BadRow(number, f"not a JSON object but {type(item).__name__}"))
    return Rows(source, name, rows, bad)


def _items_of(path: Path) -> list[Any] | None:
    """What a .json file lists, or the one object it is; None where it holds JSON lines, as many do."""
    text = read_text(path)
    is_list = text[:4096].lstrip().startswith("[")
    try:
        value = EXACT.decode(text)
    except (ValueError, RecursionError):
        return _one_by_one(text, path) if is_list else None
    return value if is_list else [value]


def _one_by_one(text: str, path: Path) -> list[Any]:
    """The items of a list, with the ValueError in the place of each that cannot be read exactly.

    Raises DataError where the text is not JSON even to Python.
    """
    items: list[Any] = []
    try:
        for _, start, end in spans(text, json.JSONDecoder()):
            try:
                items.append(EXACT.decode(text[start:end]))
            except ValueError as error:
                items.append(error)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", path=path, line=error.lineno) from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, nesting without end
        raise DataError(f"not JSON: {error}", path=path) from error
    return items


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


def from_hub(name: str, configuration: str | None) -> list[Any]:
    """The rows of a data set's ``train`` split. Raises DataError, UsageError where datasets is missing."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UsageError(
            f"{name} is no file, and data sets of the hub are fetched by datasets: pip install 'strop[train]'"
        ) from error
    import httpx

    try:
        return list(load_dataset(name, configuration, split="train"))
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        several = _configurations(name) if isinstance(error, ValueError) else []
        if len(several) > 1 and configuration not in several:
            wanted = f"no configuration {configuration!r} but" if configuration else "several configurations:"
            raise DataError(
                f"{name} has {wanted} {', '.join(several)}; name one, as {name}:{several[0]}"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is no file, and cannot be fetched from the hub: {reason}") from error


def _configurations(name: str) -> list[str]:
    """Names of a data set's configurations; none where it cannot be asked for them."""
    import httpx
    from datasets import get_dataset_config_names

    try:
        return list(get_dataset_config_names(name))
    except (OSError, ValueError, RuntimeError, httpx.HTTPError):
        return []
