"""Engine processes belong to the process that started them.

vLLM runs in processes of its own, and two things go wrong with those by default. When the process that
started them is killed outright (SIGKILL, out of memory), they go on computing and hold their gigabytes, and
the next start finds the machine full. And a Ctrl-C in a terminal reaches them too, so that they die with
pages of traces before their parent can close them.

vLLM loads the plug-in declared in pyproject.toml in each of its processes. There it asks the kernel to kill
the process when its parent dies, and leaves interrupts to the parent. Processes of a vLLM that Strop did not
start are left alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

MARK = "STROP_ENGINE_STARTED_BY"
"""Environment variable with the process id of the Strop process that starts an engine."""
_PR_SET_PDEATHSIG = 1


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
    if not _alive(int(starter)):
        # It died before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `by` when its parent dies, where the kernel can (Linux).

    It outlives the start of another program, so that it may be called between fork and exec.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
