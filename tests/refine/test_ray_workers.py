"""Workers on a Ray cluster of this machine, over the scripted engine: the same files, whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from strop.agent.chat import Ids
from strop.agent.engines.scripted import Entry, ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.refine.collect import collect, collect_with
from strop.refine.ray_workers import RayPlan, ray_crew
from strop.tools.errors import EngineError, ModelError, RunError, UsageError
from tests.refine.test_crew import CONFIG
from tests.refine.worlds import SIMPLE, TASKS, WORLD, files, policy

pytest.importorskip("ray", reason="Ray is not installed: strop[ray]")

pytestmark = [pytest.mark.model, pytest.mark.timeout(180)]

PLAN = RayPlan(workers=2, each=2, cpus=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for all tests: starting it takes seconds."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@asynccontextmanager
async def scripted(
    folder: Path, latency: float = 0.0, script: Callable[[Ids], Entry | None] | None = None
) -> AsyncIterator[Policy]:
    """What a worker opens; it leaves its process id in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()
    yield Policy(ScriptedEngine(script or dict(WORLD), latency=latency), ScriptedTemplate())


@pytest.fixture
async def alone(tmp_path: Path) -> dict[str, bytes]:
    """What one process collects."""
    await collect(TASKS, policy(WORLD), CONFIG, tmp_path / "alone")
    return files(tmp_path / "alone")


def workers_in(folder: Path) -> set[int]:
    return {int(file.name) for file in folder.iterdir()}


async def seen(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `what`."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_two_workers_write_what_one_process_writes(tmp_path: Path, alone: dict[str, bytes]) -> None:
    async with ray_crew(partial(scripted, tmp_path / "pids"), PLAN) as crew:
        await seen(lambda: len(workers_in(tmp_path / "pids")) == 2)
        await collect_with(crew, TASKS, CONFIG, tmp_path / "many")
    assert files(tmp_path / "many") == alone
    assert os.getpid() not in workers_in(tmp_path / "pids")
    await seen(lambda: not any(map(_runs, workers_in(tmp_path / "pids"))))


async def test_a_killed_process_costs_nothing(tmp_path: Path, alone: dict[str, bytes]) -> None:
    pids, out = tmp_path / "pids", tmp_path / "many"
    async with ray_crew(partial(scripted, pids, 0.3), PLAN) as crew:
        await seen(lambda: len(workers_in(pids)) == 2)
        work = asyncio.create_task(collect_with(crew, TASKS, CONFIG, out))
        await seen((out / "settings.json").exists)
        await asyncio.sleep(0.1)  # all four tasks are being sampled
        os.kill(first := min(workers_in(pids)), signal.SIGKILL)
        await seen(lambda: (out / "trees").exists())
        os.kill(next(pid for pid in sorted(workers_in(pids), reverse=True) if pid != first), signal.SIGKILL)
        await work
        await seen(lambda: len(workers_in(pids)) >= 3)  # others were hired, if only after the work
    assert files(out) == alone


def _deadly(prompt: Ids) -> Entry | None:
    question = last_turn(prompt)
    if question == SIMPLE.messages[-1]["content"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return WORLD[question]


async def test_a_task_that_kills_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "many"
    async with ray_crew(partial(scripted, tmp_path / "pids", script=_deadly), PLAN) as crew:
        with pytest.raises(
            RunError, match="task 'simple': 3 workers died over it, the last with nothing else"
        ):
            await collect_with(crew, TASKS, CONFIG, out)
    rows = map(json.loads, (out / "deficiencies.jsonl").read_text().splitlines())
    done = {row["task_id"] for row in rows}
    assert done
    assert SIMPLE.id not in done
    await collect(TASKS[1:], policy(WORLD), CONFIG, out)  # and gone on with


def _failing(prompt: Ids) -> Entry | None:
    return EngineError("out of sorts") if last_turn(prompt) == "Tell me a joke." else WORLD[last_turn(prompt)]


async def test_a_reported_failure_is_the_error_of_one_process(tmp_path: Path) -> None:
    async with ray_crew(partial(scripted, tmp_path / "pids", script=_failing), PLAN) as crew:
        with pytest.raises(EngineError, match=r"^out of sorts$"):
            await collect_with(crew, TASKS, CONFIG, tmp_path / "many")
    assert len(workers_in(tmp_path / "pids")) <= 2  # none was started again


@asynccontextmanager
async def _missing() -> AsyncIterator[Policy]:
    raise ModelError("no such model")
    yield policy({})


async def test_a_model_that_is_not_there_is_said_so() -> None:
    with pytest.raises(ModelError, match=r"^no such model$"):
        async with ray_crew(_missing, PLAN):
            pass


def endless(prompt: Ids) -> Entry | None:
    """One of two workers never answers: its driver cannot be done before it is told to end."""
    if last_turn(prompt) == "Tell me a joke.":
        time.sleep(3600)
    return WORLD[last_turn(prompt)]


DRIVER = """
import asyncio, sys
from functools import partial
from pathlib import Path
from strop.refine.collect import collect_with
from strop.refine.ray_workers import RayPlan, ray_crew
from tests.refine.test_crew import CONFIG
from tests.refine.test_ray_workers import endless, scripted
from tests.refine.worlds import TASKS

async def main(pids, out):
    plan = RayPlan(workers=2, each=1, cpus=0)
    async with ray_crew(partial(scripted, pids, script=endless), plan) as crew:
        await collect_with(crew, TASKS, CONFIG, out)

asyncio.run(main(*map(Path, sys.argv[1:])))
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
async def test_a_driver_that_ends_takes_its_workers_along_and_is_gone_on_with(
    tmp_path: Path, alone: dict[str, bytes], ending: signal.Signals
) -> None:
    pids, out = tmp_path / "pids", tmp_path / "many"
    words = [sys.executable, "-c", DRIVER, str(pids), str(out)]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    driver = subprocess.Popen(
        words,
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await seen(lambda: any((out / "trees").glob("*.gz")))
        driver.send_signal(ending)
        assert driver.wait(60) != 0
    finally:
        driver.kill()
        driver.wait()
    assert not (out / "pairs.jsonl").exists()
    await seen(lambda: not any(map(_runs, workers_in(pids))))
    finished = {file: file.stat().st_mtime_ns for file in (out / "trees").glob("*.gz")}
    async with ray_crew(partial(scripted, tmp_path / "others"), PLAN) as crew:
        await collect_with(crew, TASKS, CONFIG, out)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert files(out) == alone


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_plans_out_of_range_are_named() -> None:
    with pytest.raises(UsageError, match="workers must be at least 1"):
        RayPlan(workers=0)
    with pytest.raises(UsageError, match="gpus must be 0 or more"):
        RayPlan(gpus=-0.5)
