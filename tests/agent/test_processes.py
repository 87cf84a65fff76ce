"""Work spread over processors: in order, with its errors, and gone with whoever began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from strop.agent.processes import processors, spread
from strop.tools.errors import DataError

several = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two processors",
)


def where(number: int) -> tuple[int, int]:
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


def refuse(number: int) -> int:
    if number == 1:
        raise DataError("no such row", path=Path("rows.jsonl"), line=3)
    return number


def test_results_come_in_the_order_of_the_items() -> None:
    found = list(spread(where, range(5)))
    assert [number for number, _ in found] == list(range(5))
    assert list(spread(where, [7])) == [(7, os.getpid())]
    assert list(spread(where, [])) == []


@several
def test_the_work_is_done_elsewhere() -> None:
    assert os.getpid() not in {process for _, process in spread(where, range(3))}


@several
def test_what_is_to_be_done_meanwhile_is_done_here_and_once() -> None:
    done: list[int] = []
    assert len(list(spread(where, range(3), meanwhile=lambda: done.append(os.getpid())))) == 3
    assert done == [os.getpid()]


def test_an_error_is_raised_as_it_is() -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:3: no such row") as caught:
        list(spread(refuse, range(3)))
    assert caught.value.line == 3


def children_of(process: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def ignores_ctrl_c(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored, 16) >> (signal.SIGINT - 1) & 1)


def wait_until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@several
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_whoever_began_them(ending: signal.Signals) -> None:
    # Whoever runs the tests may have interrupts ignored: shells start background jobs so.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    work = "import time; from strop.agent.processes import spread; list(spread(time.sleep, [30] * 9))"
    program = f"{heed}; {work}"
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: len(children_of(parent.pid)) == min(9, processors()))
    workers = children_of(parent.pid)
    wait_until(lambda: all(ignores_ctrl_c(worker) for worker in workers))
    time.sleep(0.5)  # the workers are there before the parent has handed out all of the work
    if ending == signal.SIGINT:
        os.killpg(parent.pid, ending)  # as a terminal does
    else:
        os.kill(parent.pid, ending)
    _, said = parent.communicate(timeout=10)
    assert parent.returncode == -ending
    assert said.count("Traceback") <= 1
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
