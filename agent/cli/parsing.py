"""Reading what the command line hands over as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from strop.agent.lock import held
from strop.tools.corpus import Corpus, read_corpus
from strop.tools.errors import UsageError
from strop.tools.task import Task


def require_free(out: Path) -> None:
    """See that nothing keeps results from the directory `out`, before anything slow.

    Raises RunError where it cannot be written or another process works there, UsageError where it is a file.
    """
    with held(out / ".lock", f"something in {out}"):
        pass


def require_worlds(module: str) -> None:
    """Raises UsageError where there is no module of worlds with this name; an empty one is none."""
    try:
        there = not module or find_spec(module) is not None
    except (ImportError, ValueError):  # a package it should lie in is missing
        there = False
    if not there:
        raise UsageError(f"--worlds names a module, and there is none called {module!r}")


def names(text: str) -> tuple[str, ...]:
    """``a,b`` as names; blanks ignored."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def engine_args(flags: Iterable[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` flags as a mapping; a value is JSON where it is JSON, else text. Raises UsageError."""
    parsed: dict[str, Any] = {}
    for flag in flags or ():
        name, equals, value = flag.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"--engine-arg wants NAME=VALUE, got {flag!r}")
        try:
            parsed[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name.strip()] = value
    return parsed


def adapters_of(flags: Iterable[str] | None) -> tuple[tuple[str, Path], ...]:
    """``NAME=DIR`` flags as pairs, each name once. Raises UsageError."""
    pairs: dict[str, Path] = {}
    for flag in flags or ():
        name, equals, directory = flag.partition("=")
        if not (equals and name and directory):
            raise UsageError(f"--lora wants NAME=DIR, got {flag!r}")
        if name in pairs:
            raise UsageError(f"--lora names {name!r} twice")
        pairs[name] = Path(directory)
    return tuple(pairs.items())


def api_keys_of(key: str | None, file: Path | None) -> tuple[str, ...]:
    """The keys of an option, where an empty one is none, and of a file with one a line. Raises UsageError."""
    keys = [key] if key else []
    if file is not None:
        try:
            keys += [line.strip() for line in file.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file {file}: {error}") from error
        if not keys:
            raise UsageError(f"--api-key-file {file} holds no key")
    return tuple(keys)


def read_tasks_aloud(path: Path) -> list[Task]:
    """The tasks of a file, in whichever layout it is; rows that are none are named on standard error."""
    return read_most_aloud(path)[0]


def read_most_aloud(path: Path) -> tuple[list[Task], int]:
    """And how many rows are none."""
    from strop.training.layouts import read_layout

    loaded = read_layout(path)
    for row in loaded.bad:
        typer.echo(f"{path}:{row.line}: skipped: {row.reason}", err=True)
    return [task for _, task in loaded.tasks], len(loaded.bad)


def elsewhere(out: Path, source: Path | str) -> Path:
    """`out`, where it is not the very file that is read. Raises UsageError: rows that are skipped would be
    lost."""
    if out.resolve() == Path(source).resolve():
        raise UsageError(f"--out {out} is the file that is read: give another")
    return out


def corpora_of(flags: Iterable[str]) -> list[Corpus]:
    """``SUITE`` or ``SUITE=DIR`` flags as all that these benchmarks ask. Raises what `read_corpus` does, and
    UsageError for a benchmark named twice."""
    corpora: dict[str, Corpus] = {}
    for flag in flags:
        name, _, directory = flag.partition("=")
        if name in corpora:
            raise UsageError(f"--against names {name} twice")
        corpora[name] = read_corpus(name, Path(directory) if directory else None)
    return list(corpora.values())
