"""No engine process outlives the one that started it.

vLLM runs in processes of its own. When the process that started them is killed outright (SIGKILL, out of
memory), they go on computing and hold their gigabytes, and the next start finds the machine full. vLLM loads
the plug-in declared in pyproject.toml in each of its processes; it asks the kernel to kill that process when
its parent dies. Processes of a vLLM that Strop did not start are left alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

MARK = "STROP_ENGINE_STARTED_BY"
"""Environment variable with the process id of the Strop process that starts an engine."""
_PR_SET_PDEATHSIG = 1


def mark_children() -> None:
    """Have engine processes started from now on die with this one."""
    os.environ[MARK] = str(os.getpid())


def die_with_parent() -> None:
    """The plug-in: in a process under a marked one, ask to be killed when the parent dies (Linux only)."""
    starter = os.environ.get(MARK)
    if starter is None or starter == str(os.getpid()) or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not _alive(int(starter)):
        # It died before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
