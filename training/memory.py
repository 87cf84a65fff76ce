"""Memory that a training held, given back before an engine starts beside it."""

from __future__ import annotations

import ctypes
import gc


def give_memory_back() -> None:
    """Return what a training held to the system, before an engine starts beside it.

    Trainers are full of reference cycles, and glibc keeps what it has freed.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
