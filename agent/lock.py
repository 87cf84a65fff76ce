"""One process at a time: a lock file that disappears with its holder.

Held through ``flock``, so that a killed holder lets go at once. The file is deleted on release: nothing is
left in a cache that nothing was put into. Local file systems only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from strop.tools.errors import RunError, UsageError


@contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock `path`; calls `waiting` once where another process holds it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, waiting)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # others' locks lie there too
            path.parent.rmdir()


@contextmanager
def held(path: Path, work: str) -> Iterator[None]:
    """Hold the lock `path` while doing `work` (``a benchmark in DIR``), or not at all.

    Raises RunError where another process holds it or the disk refuses, UsageError where the lock's directory
    is a file.
    """

    def refuse() -> None:
        raise RunError(f"another process is running {work}: wait for it, or give another directory")

    if path.parent.exists() and not path.parent.is_dir():
        raise UsageError(f"{path.parent} is a file: give a directory")
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(path, waiting=refuse))
        except OSError as error:
            raise RunError(f"cannot write {path.parent}: {error.strerror or error}") from error
        yield


def _acquire(path: Path, waiting: Callable[[], None]) -> int:
    """A locked descriptor of the file that has the name `path` now.

    Whoever waited for a holder that then deleted the file holds a lock nobody else sees: it tries again.
    """
    told = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:  # the last holder removed the directory just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                try:
                    waiting()
                except BaseException:
                    os.close(descriptor)
                    raise
                told = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
