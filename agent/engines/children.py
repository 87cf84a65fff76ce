"""Engine processes belong to the process that started them.

vLLM runs in processes of its own, and two things go wrong with those by default. When the process that
started them is killed outright (SIGKILL, out of memory), they go on computing and hold their gigabytes, and
the next start finds the machine full. And a Ctrl-C in a terminal reaches them too, so that they die with
pages of traces before their parent can close them.

vLLM loads the plug-in declared in pyproject.toml in each of its processes. There it asks the kernel to kill
the process when its parent dies, and leaves interrupts to the parent. Processes of a vLLM that Strop did not
start are left alone.

The kernel's word for parent is the thread that started a process, not the whole of its parent. So an engine
is started in a thread of its own (`Starter`) that stays as long as the engine does.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MARK = "STROP_ENGINE_STARTED_BY"
"""Environment variable with the process id of the Strop process that starts an engine."""
_PR_SET_PDEATHSIG = 1
_TICK = 0.1


def mark_children() -> None:
    """Have engine processes started from now on belong to this one."""
    os.environ[MARK] = str(os.getpid())


def belong_to_parent() -> None:
    """The plug-in; does nothing but in a process under a marked one."""
    starter = os.environ.get(MARK)
    if starter is None or starter == str(os.getpid()):
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    parent = multiprocessing.parent_process()  # of a worker it is another engine process
    if not _alive(int(starter)) or (parent is not None and not parent.is_alive()):
        # It died before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `by` when the thread that started it ends, and with its parent at the
    latest, where the kernel can (Linux).

    It outlives the start of another program, so that it may be called between fork and exec.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)


class Starter:
    """A thread to start one engine in, while the event loop goes on; see the module for why it stays."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._thread = 0

    async def run(self, start: Callable[[], T], undo: Callable[[T], None]) -> T:
        """What `start` returns. The thread ends where that fails.

        Cancelled, this kills the processes that `start` has begun, waits for it to fail of that, and calls
        `undo` with what it returns all the same.
        """
        # Not the future's result: importing vLLM keeps this thread's frames for good, and they the future.
        made: list[T] = []
        started = asyncio.get_running_loop().run_in_executor(self._pool, self._begin, start, made)
        try:
            await asyncio.shield(started)
        except BaseException:
            self.end()  # once `start` has, and even if this is cancelled again
            started.add_done_callback(asyncio.Future.exception)  # nobody else asks why it failed
            while not started.done():
                self._kill()
                await asyncio.wait([started], timeout=_TICK)
            if made:
                undo(made.pop())
            raise
        return made.pop()

    def end(self) -> None:
        """Let the thread end, and by the kernel what it has started and is still there."""
        self._pool.shutdown(wait=False)

    def _begin(self, start: Callable[[], T], made: list[T]) -> None:
        self._thread = threading.get_native_id()
        made.append(start())

    def _kill(self) -> None:
        """Kill the processes that the thread has started, and theirs; multiprocessing's tracker stays."""
        begun = _children(f"self/task/{self._thread}")
        for process in multiprocessing.active_children():
            if process.pid in begun:
                workers = _children(f"{process.pid}/task/*")
                process.kill()
                for worker in workers:
                    with suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)


def _children(of: str) -> set[int]:
    """The processes that threads below ``/proc`` have started; empty where there are no such threads."""
    found: set[int] = set()
    with suppress(OSError):  # one has ended
        for listed in Path("/proc").glob(f"{of}/children"):
            found.update(map(int, listed.read_text().split()))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
