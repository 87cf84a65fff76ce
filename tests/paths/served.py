"""``strop serve`` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STARTUP_SECONDS = 480


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    """Without ``/v1``."""
    lines: list[str] = field(default_factory=list)
    """What it said on stderr so far."""


@contextmanager
def strop_serve(*words: str, key: str = "") -> Iterator[Server]:
    """The server on a free port while the block runs; it must leave with status 0 at SIGTERM."""
    environment = {**os.environ, "STROP_API_KEY": key, "NO_COLOR": "1", "COLUMNS": "200"}
    command: Sequence[str] = (sys.executable, "-m", "strop.agent.cli", "serve", *words, "--port", "0")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    lines: list[str] = []
    ready = threading.Event()
    threading.Thread(target=_read, args=(process, lines, ready), daemon=True).start()
    try:
        assert ready.wait(STARTUP_SECONDS), "".join(lines)
        found = re.search(r"Ready: .* at (http://\S+)/v1", "".join(lines))
        assert found, "".join(lines)
        yield Server(process, found[1], lines)
        if process.poll() is None:  # the block may have killed it
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, "".join(lines)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def engine_processes(pid: int) -> list[int]:
    """The children of a server that compute."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"resource_tracker" not in command]


def _read(process: subprocess.Popen[str], lines: list[str], ready: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if line.startswith("Ready:"):
            ready.set()
    ready.set()
