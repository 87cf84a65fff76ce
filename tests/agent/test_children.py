"""What an engine's processes do when the one that started them is interrupted or killed outright, and the
thread that starts them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from multiprocessing.connection import Connection

import pytest

from strop.agent.engines.children import MARK, Starter, belong_to_parent

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


def dies(pid: int) -> bool:
    """Whether a process ends within 20 seconds."""
    give_up = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    return not is_alive(pid)


def spawned(target: Callable[[Connection], None]) -> tuple[multiprocessing.process.BaseProcess, int]:
    """A process that runs `target`, and the number it sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there,), daemon=False)
    process.start()
    there.close()
    number: int = here.recv()
    return process, number


def works(ready: Connection) -> None:
    """In a worker of `has_worker`."""
    ready.send(os.getpid())
    time.sleep(60)


def belongs_too_late(ready: Connection) -> None:
    """In a worker: its parent has died before it asks to die with it."""
    parent = os.getppid()
    ready.send(os.getpid())
    while os.getppid() == parent:
        time.sleep(0.01)
    belong_to_parent()
    time.sleep(60)


def has_worker(ready: Connection) -> None:
    """In an engine process: sends the id of its worker."""
    ready.send(spawned(works)[1])
    time.sleep(60)


def has_late_worker(ready: Connection) -> None:
    """In an engine process, too."""
    ready.send(spawned(belongs_too_late)[1])
    time.sleep(60)


@linux
def test_a_child_dies_with_its_killed_parent() -> None:
    parent, child = started()
    assert is_alive(child)
    ended(parent)
    assert dies(child)


@linux
def test_a_worker_dies_with_an_engine_process_that_died_before_it_could_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MARK, str(os.getpid()))
    engine, worker = spawned(has_late_worker)
    engine.kill()
    engine.join()
    assert dies(worker)


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


@linux
async def test_what_a_starter_has_started_lives_until_the_starter_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MARK, str(os.getpid()))

    def start() -> subprocess.Popen[str]:
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    starter = Starter()
    child = await starter.run(start, undo=lambda child: child.kill())
    await asyncio.sleep(0.3)
    assert child.poll() is None
    starter.end()
    assert await asyncio.to_thread(child.wait, 20) == -signal.SIGKILL
    assert child.stdout is not None
    child.stdout.close()


async def test_the_event_loop_goes_on_while_something_is_started() -> None:
    going_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def start() -> bool:
        asyncio.run_coroutine_threadsafe(_set(going_on), loop).result(20)
        return True

    starter = Starter()
    assert await starter.run(start, undo=lambda _: None)
    assert going_on.is_set()
    starter.end()


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_start_that_fails_says_so() -> None:
    def start() -> None:
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        await Starter().run(start, undo=lambda _: None)


@linux
async def test_a_cancelled_start_leaves_no_process_and_others_alone() -> None:
    begun = list[tuple[multiprocessing.process.BaseProcess, int]]()
    loop, there = asyncio.get_running_loop(), asyncio.Event()

    def start() -> None:
        begun.append(spawned(has_worker))
        loop.call_soon_threadsafe(there.set)
        begun[0][0].join()
        raise ChildProcessError("it ended")

    complaints = list[object]()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    other, other_worker = spawned(has_worker)
    undone = list[None]()
    starting = asyncio.create_task(Starter().run(start, undo=undone.append))
    async with asyncio.timeout(60):
        await there.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    del starting
    await asyncio.sleep(0.1)  # until its callbacks have run
    gc.collect()
    assert complaints == []  # of an error that nobody asked for
    [(engine, worker)] = begun
    assert not engine.is_alive()
    assert dies(worker)
    assert undone == []
    assert other.is_alive()
    os.kill(other_worker, signal.SIGKILL)
    other.kill()
    other.join()


async def test_what_a_cancelled_start_returns_all_the_same_is_taken_back() -> None:
    def start() -> str:
        time.sleep(0.3)
        return "engine"

    undone = list[str]()
    starting = asyncio.create_task(Starter().run(start, undo=undone.append))
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert undone == ["engine"]
