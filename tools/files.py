"""Files that are either whole or not there.

Whole-file writes go to a temporary name in the same directory, are flushed to disk and renamed.
Logs that grow (`JsonlWriter`) are appended line by line; a line cut off by a kill is dropped on the
next open, so that a reader only ever sees whole rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from strop.tools.errors import DataError, RunError, UsageError

_PACKED = {
    b"\x1f\x8b": "packed by gzip", b"BZh": "packed by bzip2", b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd", b"PK\x03\x04": "a zip archive", b"PAR1": "Parquet",
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
"""What a file that is no text begins with."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped."""

    line: int
    """Counted from 1."""
    reason: str


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} is given twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is larger than a number can be")
    return value


EXACT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_finite)
"""Refuses by ValueError what Python's own reader bends: of a key given twice it keeps one, ``NaN`` is no JSON
and ``1e400`` becomes infinite."""


def is_json(value: Any) -> bool:
    """Whether JSON holds a value as it is: no tuple, no bytes, no key that is no text, at any depth."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    return value is None or isinstance(value, str | int | float)


def as_json(value: Any) -> Any:
    """A value as JSON can hold it: tuples as lists, what it has no word for as Python writes it."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(as_json, value))
    return value if is_json(value) else repr(value)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that UTF-8 can hold: readable, but escaped where a string has half of a surrogate pair.

    Models write those, and so do the tasks made from what they wrote.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, all or nothing. Raises RunError where the disk refuses."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing. Raises RunError where the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the parent may be what is wrong
            temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, all or nothing."""
    write_text(path, json_text(value, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, all or nothing."""
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A new directory to write into, which becomes `path` where the block ends without an error.

    Raises UsageError where `path` holds something already, RunError where the disk refuses.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UsageError(f"{path} holds something already: name another directory or delete it")
    growing = path.absolute().with_name(f".{path.absolute().name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(growing, ignore_errors=True)  # of a process of this number that was killed
        growing.mkdir(parents=True)
        yield growing
        growing.replace(path)  # an empty directory may be there
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal. Raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises DataError naming file and line."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", path=path, line=error.lineno) from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, nesting without end
        raise DataError(f"not JSON: {error}", path=path) from error


def read_jsonl(
    path: Path, parse: Callable[[str], Any] = json.loads
) -> tuple[list[tuple[int, dict[str, Any]]], list[BadRow]]:
    """(line number, object) of every readable row, and the unreadable rows. Blank lines are neither.

    Data that others wrote want ``EXACT.decode``; logs may hold ``NaN``, and go by Python's own reader.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    bad: list[BadRow] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse(line)
        except (ValueError, RecursionError) as error:
            bad.append(BadRow(number, f"not JSON: {error}"))
            continue
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            bad.append(BadRow(number, f"not a JSON object but {type(row).__name__}"))
    return rows, bad


def has_rows(path: Path) -> bool:
    """Whether a JSON-lines file is there with at least one whole line. Raises DataError."""
    if not path.exists():
        return False
    try:
        return b"\n" in path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def read_text(path: Path) -> str:
    """A file's text. Raises DataError where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    except UnicodeDecodeError as error:
        packed = next((kind for mark, kind in _PACKED.items() if error.object.startswith(mark)), None)
        why = f": it is {packed}, and only plain text is read here" if packed else ""
        raise DataError(f"not UTF-8 at byte {error.start}{why}", path=path) from error


class JsonlWriter:
    """Appends rows to a JSON-lines file, each flushed to disk before `write` returns.

    Opening drops a last line without its newline: the process died while writing it.
    Raises RunError where the disk refuses.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refused must not be tried again on closing.
            self._file = path.open("ab", buffering=0)
            self._size = self._drop_partial_line()
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error

    def _drop_partial_line(self) -> int:
        size = self._path.read_bytes().rfind(b"\n") + 1
        self._file.truncate(size)
        return size

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, all or nothing."""
        line = json_text(row).encode() + b"\n"
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise RunError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._size += len(line)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
