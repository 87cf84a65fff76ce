"""Simulated worlds in a process of their own, with limits on time and memory.

Calls that a model makes reach code that can run for hours (a power of two large numbers), so they are made
in a child process: a step that takes too long costs the child, which is started anew, and the trajectory
that made it. The other trajectories of the child are played again from the calls they had made, when they
go on.

The worlds are a benchmark's: a module with a function ``open_world(setup)`` that returns a `World` and, if
whole trajectories are judged in the child, ``judge(request)``. Requests and replies are one JSON object a
line.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, TextIO

from strop.tools.errors import DataError, StepLimitError
from strop.tools.spec import ToolCall

STEP_SECONDS = 10.0
"""For the calls of one step, and for judging one trajectory."""
MOST_BYTES = 2 << 30
"""Address space of the child, where the system can limit it."""


class World(Protocol):
    """What a module of worlds opens, in the child."""

    def make(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The result of a call as text; errors are results, too."""
        ...

    def told(self) -> Any:
        """What the world tells of itself, as JSON: what a memory shows, or a state to be judged."""
        ...


class Setup(Protocol):
    """How a world begins."""

    def to_json(self) -> dict[str, Any]:
        """What ``open_world`` is given."""
        ...


class _ChildError(StepLimitError):
    """An exception in the child, which nobody there expected."""


class Simulators:
    """A child process with the worlds of any number of tasks. Safe to use from several threads."""

    def __init__(
        self,
        worlds: str,
        step_seconds: float = STEP_SECONDS,
        *,
        preload: tuple[str, ...] = (),
        most_bytes: int = MOST_BYTES,
        environment: Mapping[str, str] | None = None,
    ):
        """`worlds` is the module of worlds; `preload` are more, whose imports take longer than a step may.

        `environment` is added to the child's.
        """
        self._seconds = step_seconds
        self._modules = (worlds, *preload)
        self._most_bytes = most_bytes
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._ready = False
        self._replies: queue.Queue[str | None] = queue.Queue()
        self._played: dict[str, tuple[Setup, list[ToolCall]]] = {}
        self._open: set[str] = set()

    def begin(self, world: str, setup: Setup, calls: Sequence[ToolCall]) -> Any:
        """Begin a world in which `calls` have been made already; what it tells then.

        Raises StepLimitError where that takes too long, DataError where it cannot begin.
        """
        with self._lock:
            self._begin(world, setup, calls)
            self._played[world] = (setup, list(calls))
            return self._ask({"told": world})["told"]

    def step(self, world: str, setup: Setup, calls: Sequence[ToolCall]) -> list[str]:
        """Make `calls` in the world of that name, which begins as `setup` says at its first step.

        Raises StepLimitError where they take too long, and the world is closed then; DataError where it
        cannot begin.
        """
        with self._lock:
            _, played = self._played.setdefault(world, (setup, []))
            try:
                if world not in self._open:
                    self._begin(world, setup, played)
                results: list[str] = self._ask({"step": world, "calls": rows_of(calls)})["results"]
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
                # A child that died has forgotten all of them.
                with suppress(StepLimitError):
                    self._ask({"close": world})

    def judge(self, request: Mapping[str, Any]) -> Any:
        """What the module of worlds says of a trajectory. Raises StepLimitError."""
        with self._lock:
            return self._ask({"judge": request})["judged"]

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

    def _begin(self, world: str, setup: Setup, calls: Sequence[ToolCall]) -> None:
        # Each of the calls was within the limit when it was made first.
        seconds = self._seconds * (1 + len(calls))
        try:
            self._ask({"open": world, "setup": setup.to_json(), "calls": rows_of(calls)}, seconds)
        except _ChildError as error:
            raise DataError(f"world {world!r} cannot begin: {error}") from None
        self._open.add(world)

    def _ask(self, request: dict[str, Any], seconds: float | None = None) -> Any:
        seconds = seconds or self._seconds
        child = self._running()
        assert child.stdin is not None
        why = "the simulators ended, for want of memory perhaps"
        reply = None
        with suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request | {"seconds": seconds}) + "\n")
            child.stdin.flush()
            try:
                reply = self._replies.get(timeout=seconds)
            except queue.Empty:
                why = f"the simulators took longer than {seconds:g} s"
        if reply is None:
            self._end()
            raise StepLimitError(why)
        answer = json.loads(reply)
        if "failed" in answer:
            self._end()
            raise _ChildError(f"the simulators failed: {answer['failed']}")
        return answer

    def _running(self) -> subprocess.Popen[str]:
        child = self._spawned()
        # Its imports take longer than a step may.
        if not self._ready and self._replies.get() is None:
            self._end()
            raise DataError("the benchmark's simulators cannot be started; the reason is above")
        self._ready = True
        return child

    def _spawned(self) -> subprocess.Popen[str]:
        if self._child is None:
            work = f"from {__name__} import serve; serve({self._modules!r}, {self._most_bytes})"
            self._child = subprocess.Popen(
                [sys.executable, "-c", work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, **self._environment},
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


def rows_of(calls: Sequence[ToolCall]) -> list[list[Any]]:
    """Calls as requests hold them."""
    return [[call.name, dict(call.arguments)] for call in calls]


# --- in the child -------------------------------------------------------------------------------------------


def serve(modules: tuple[str, ...], most_bytes: int) -> None:
    """Answer requests from standard input until it ends. The first of the modules is that of the worlds."""
    replies, sys.stdout = sys.stdout, sys.stderr
    source, *_ = map(import_module, modules)
    worlds: dict[str, World] = {}
    _limit_memory(most_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the parent, whose end ends this process, too
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        _expire(request["seconds"] + 1)
        try:
            answer = _answer(request, source, worlds)
        except Exception as error:  # noqa: BLE001 - the parent tells what of
            answer = {"failed": f"{type(error).__name__}: {error}"}
        _expire(0)
        print(json.dumps(answer), file=replies, flush=True)


def _expire(seconds: float) -> None:
    """Let the system end this process by then, if the parent is no longer there to do it; 0 is never."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(request: dict[str, Any], source: Any, worlds: dict[str, World]) -> dict[str, Any]:
    match request:
        case {"open": name, "setup": setup, "calls": calls}:
            worlds[name] = source.open_world(setup)
            _make(worlds[name], calls)
            return {}
        case {"step": name, "calls": calls}:
            return {"results": _make(worlds[name], calls)}
        case {"told": name}:
            return {"told": worlds[name].told()}
        case {"close": name}:
            del worlds[name]
            return {}
        case {"judge": trajectory}:
            return {"judged": source.judge(trajectory)}
    raise ValueError(f"no request: {sorted(request)}")


def _make(world: World, calls: Sequence[Sequence[Any]]) -> list[str]:
    return [world.make(name, arguments) for name, arguments in calls]


def _limit_memory(most_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
