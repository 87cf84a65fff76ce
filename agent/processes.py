"""Work spread over this machine's processors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from strop.tools.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

GONE_IN = 5.0
"""Seconds that ended processes are waited for."""


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], meanwhile: Callable[[], object] | None = None
) -> Iterator[Result]:
    """`function` of each item, in their order, in as many processes as there are processors for it.

    `meanwhile` is called while they are at work, to prepare for what they bring. Function, items and results
    are pickled. Raises what the function raises, and ends the processes then; RunError where one of them was
    killed. They end with this process, however it ends.
    """
    workers = min(len(items), processors())
    if workers < 2:
        yield from map(function, items)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, _context(), initializer=_begin)
    try:
        results = pool.map(function, items)
        if meanwhile is not None:
            meanwhile()
        yield from results
        pool.shutdown()
    except BrokenProcessPool as error:
        raise RunError("a process was killed, for want of memory perhaps") from error
    finally:
        manager = getattr(pool, "_executor_manager_thread", None)
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if manager is not None:  # else a Python that exits now may write to the pipe this thread is closing
            manager.join(GONE_IN)


def processors() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _context() -> multiprocessing.context.BaseContext:
    """Forking spares the imports; it is safe on Linux, and where no other thread holds a lock."""
    alone = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if alone else "spawn")


def _begin() -> None:
    """In a worker. Ctrl-C is for the parent, which then lets the workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
