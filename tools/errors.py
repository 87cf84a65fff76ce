"""Every exception Strop raises on purpose.

    StropError                    one line for a person: what was wrong, where, and what to do
    ├── UsageError                the request itself is wrong (exit code 2, HTTP 400)
    │   └── TooLongError          the prompt does not fit the model's context
    ├── DataError                 a file or row cannot be read; names the file and the line
    │   └── MissingDataError      a benchmark's file, or a package it needs, is not on this machine
    ├── ModelError                a model or adapter is unknown, broken or tampered with
    │   └── HashMismatchError     the bytes are not the pinned ones; carries both hashes
    ├── EngineError               an engine could not start or answer
    │   ├── EngineDeadError       it will never answer again; a new one may
    │   └── EndpointError         a remote endpoint failed, or cannot be asked at all
    │       └── RefusedError      it will not answer this one request, or with garbage
    ├── StepLimitError            a simulated world ran into its limits of time or memory
    └── RunError                  a stage of a run could not be carried out (disk, memory, NaN)

Everything else that escapes is a bug of Strop's, and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class StropError(Exception):
    """Base of all expected failures; its text is shown to the user as it is."""


class UsageError(StropError):
    """What was asked for makes no sense: an unknown name, a value out of range."""


class TooLongError(UsageError):
    """A prompt that leaves the model no room for an answer; a benchmark counts it wrong and goes on."""


class DataError(StropError):
    """A file or one of its rows is not what it should be."""

    def __init__(self, message: str, *, path: Path | str | None = None, line: int | None = None):
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message)
        self.path = path
        """File that was read, if any."""
        self.line = line
        """Line within it, counted from 1, if it has lines."""


class MissingDataError(DataError):
    """Part of a benchmark that nobody has brought to this machine; what there is of it is whole."""


class ModelError(StropError):
    """A model or adapter that cannot be found, fetched, read or converted."""


class HashMismatchError(ModelError):
    """Downloaded bytes differ from the pinned ones; they have been deleted."""

    def __init__(self, name: str, *, expected: str, actual: str):
        super().__init__(
            f"{name}: the downloaded bytes are not the pinned ones and were deleted. "
            f"Expected sha256 {expected}, got {actual}. Try again; if it persists, the source "
            f"is broken or has been tampered with."
        )
        self.expected = expected
        self.actual = actual


class EngineError(StropError):
    """An engine that cannot be started, or failed while generating."""


class EngineDeadError(EngineError):
    """An engine whose process is gone: only starting another helps."""


class EndpointError(EngineError):
    """A remote endpoint that refused the connection, failed, or answered something unreadable."""

    unreachable: bool = False
    """Whether the connection failed, or the server says it cannot serve now: another may well do."""
    busy: bool = False
    """Whether the server has too much to do already: another may have less."""


class RefusedError(EndpointError):
    """A request that a remote endpoint refuses, or answers with what is no answer, and would again; others it
    may well answer. A benchmark counts such a task wrong and goes on."""


class StepLimitError(StropError):
    """Calls made in a simulated world took too long or too much memory; that world is gone."""


class RunError(StropError):
    """A stage of a run that cannot go on; what earlier stages wrote is kept."""
