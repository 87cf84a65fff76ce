"""Training in the very process that also runs an event loop and starts engines."""

from __future__ import annotations

import ctypes
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_this_process() -> Iterator[None]:
    """Around a training that a coroutine makes and waits for, in the main thread.

    It is interrupted where it is: an event loop answers the first Ctrl-C by cancelling its task, which would
    see it only once the training is over. What it held is given back before an engine starts beside it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _give_memory_back()


def _give_memory_back() -> None:
    """Trainers are full of reference cycles, and glibc keeps what it has freed."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
