"""What an engine's processes do when the one that started them is interrupted or killed outright."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points

import pytest

from strop.agent.engines.children import belong_to_parent

CHILD = """
import os, time
from strop.agent.engines.children import belong_to_parent
belong_to_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys, time
from strop.agent.engines.children import mark_children
mark_children()
subprocess.Popen([sys.executable, "-c", {CHILD!r}])
time.sleep(60)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's promise is Linux's")


def started() -> tuple[subprocess.Popen[str], int]:
    """A parent, and the process id of the child it has started."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie nobody has waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


@linux
def test_a_child_dies_with_its_killed_parent() -> None:
    parent, child = started()
    assert is_alive(child)
    ended(parent)
    give_up = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@linux
def test_an_interrupt_is_left_to_the_parent() -> None:
    parent, child = started()
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    assert is_alive(child)
    ended(parent)


def test_other_processes_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    belong_to_parent()
    assert signal.getsignal(signal.SIGINT) is before


def test_vllm_is_told_of_the_plug_in() -> None:
    (plugin,) = entry_points(group="vllm.general_plugins", name="strop_children")
    assert plugin.load() is belong_to_parent
