"""Simulated worlds in a process of their own, with limits on time and memory.

Calls that a model makes reach code that can run for hours (a power of two large numbers), so they are made
in a child process: a step that takes too long costs the child, which is started anew, and the trajectory
that made it. The other trajectories of the child are played again from the calls they had made, when they
go on.

Requests and replies are one JSON object a line.
"""

from __future__ import annotations

import getpass
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.worlds import Invocation, Setup, World, check, simulator_of
from strop.tools.errors import DataError, StepLimitError
from strop.tools.spec import ToolCall

STEP_SECONDS = 10.0
"""For the calls of one step, and for judging one trajectory."""
MOST_BYTES = 2 << 30
"""Address space of the child, where the system can limit it."""

Steps = Sequence[Sequence[ToolCall]]


class Simulators:
    """A child process with the worlds of any number of tasks. Safe to use from several threads."""

    def __init__(
        self,
        step_seconds: float = STEP_SECONDS,
        *,
        preload: tuple[str, ...] = (),
        most_bytes: int = MOST_BYTES,
    ):
        """`preload` names simulators whose imports take longer than a step may."""
        self._seconds = step_seconds
        self._preload = preload
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._ready = False
        self._replies: queue.Queue[str | None] = queue.Queue()
        self._played: dict[str, tuple[Setup, list[ToolCall]]] = {}
        self._open: set[str] = set()

    def start(self) -> None:
        """Begin to start the child, which the first request else waits for."""
        with self._lock:
            self._spawned()

    def begin(self, world: str, setup: Setup, calls: Sequence[ToolCall]) -> str:
        """Begin a world in which `calls` have been made already; what its memory shows then.

        For the simulators of a memory. Raises StepLimitError where that takes too long.
        """
        with self._lock:
            self._ask({"open": world, "setup": setup.to_json(), "calls": _rows(calls)})
            self._played[world] = (setup, list(calls))
            self._open.add(world)
            shown: str = self._ask({"show": world})["shown"]
            return shown

    def step(self, world: str, setup: Setup, calls: Sequence[ToolCall]) -> list[str]:
        """Make `calls` in the world of that name, which begins as `setup` says at its first step.

        Raises StepLimitError where they take too long; that world is closed then.
        """
        with self._lock:
            _, played = self._played.setdefault(world, (setup, []))
            try:
                if world not in self._open:
                    self._ask({"open": world, "setup": setup.to_json(), "calls": _rows(played)})
                    self._open.add(world)
                results: list[str] = self._ask({"step": world, "calls": _rows(calls)})["results"]
            except StepLimitError:
                self._played.pop(world)
                raise
            played += calls
            return results

    def close_world(self, world: str) -> None:
        """Forget a world; nothing happens where there is none of that name."""
        with self._lock:
            self._played.pop(world, None)
            if world in self._open:
                self._open.remove(world)
                self._ask({"close": world})

    def judge(self, setup: Setup, gold: Sequence[Sequence[str]], turns: Sequence[Steps]) -> Fault | None:
        """`strop.tools.bfcl.worlds.check`, with the gold as text. Raises StepLimitError."""
        rows = [[_rows(step) for step in steps] for steps in turns]
        with self._lock:
            reply = self._ask({"judge": setup.to_json(), "gold": gold, "turns": rows})
        fault = reply["fault"]
        return None if fault is None else Fault(*fault)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def __enter__(self) -> Simulators:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        child = self._running()
        assert child.stdin is not None
        reply = None
        with suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            with suppress(queue.Empty):
                reply = self._replies.get(timeout=self._seconds)
        if reply is None:
            self._end()
            raise StepLimitError(f"the simulators took longer than {self._seconds:g} s, or too much memory")
        return json.loads(reply)

    def _running(self) -> subprocess.Popen[str]:
        child = self._spawned()
        # Its imports take longer than a step may.
        if not self._ready and self._replies.get() is None:
            raise DataError("the simulators of bfcl-eval cannot be started; the reason is above")
        self._ready = True
        return child

    def _spawned(self) -> subprocess.Popen[str]:
        if self._child is None:
            work = f"from {__name__} import serve; serve({self._preload!r}, {self._most_bytes})"
            # Some of the benchmark's modules make folders when imported; not beside the installed package.
            folder = Path(tempfile.gettempdir(), f"strop-bfcl-{getpass.getuser()}")
            self._child = subprocess.Popen(
                [sys.executable, "-c", work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "BFCL_PROJECT_ROOT": str(folder)},
            )
            # A queue of this child's own: nothing that an earlier one still says can be taken for its
            # replies.
            self._replies = queue.Queue()
            reader = threading.Thread(target=_read, args=(self._child.stdout, self._replies), daemon=True)
            reader.start()
            self._ending = weakref.finalize(self, _end, self._child)
        return self._child

    def _end(self) -> None:
        self._open.clear()
        if self._child is not None:
            self._ending()
            self._child, self._ready = None, False


def _end(child: subprocess.Popen[str]) -> None:
    """Kill a child, whatever it is doing; also when nobody holds its `Simulators` any more."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _read(pipe: TextIO | None, replies: queue.Queue[str | None]) -> None:
    with suppress(ValueError):  # closed under it
        for line in pipe or ():
            replies.put(line)
    replies.put(None)


def _rows(calls: Sequence[ToolCall]) -> list[list[Any]]:
    return [[call.name, dict(call.arguments)] for call in calls]


# --- in the child -------------------------------------------------------------------------------------------


def serve(preload: tuple[str, ...] = (), most_bytes: int = MOST_BYTES) -> None:
    """Answer requests from standard input until it ends."""
    replies, sys.stdout = sys.stdout, sys.stderr
    worlds: dict[str, World] = {}
    import mpmath  # noqa: F401 - the slowest of the simulators' imports, before the clock runs

    for name in preload:
        simulator_of(name)
    _limit_memory(most_bytes)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), worlds)), file=replies, flush=True)


def _answer(request: dict[str, Any], worlds: dict[str, World]) -> dict[str, Any]:
    match request:
        case {"open": name, "setup": setup, "calls": calls}:
            worlds[name] = World(Setup.from_json(setup).beginning())
            for call in _invocations(calls):
                worlds[name].call(call)
            return {}
        case {"step": name, "calls": calls}:
            return {"results": [worlds[name].call(call) for call in _invocations(calls)]}
        case {"show": name}:
            return {"shown": worlds[name].shown()}
        case {"close": name}:
            del worlds[name]
            return {}
        case {"judge": setup, "gold": gold, "turns": turns}:
            right = [[Invocation.parse(text) for text in texts] for texts in gold]
            made = [[_invocations(step) for step in steps] for steps in turns]
            fault = check(Setup.from_json(setup), right, made)
            return {"fault": fault and [fault.error_type, fault.subject, fault.detail]}
    raise ValueError(f"no request: {sorted(request)}")


def _invocations(rows: list[list[Any]]) -> list[Invocation]:
    return [Invocation(name, arguments) for name, arguments in rows]


def _limit_memory(most_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
