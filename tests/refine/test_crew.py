"""Workers that die, arrive late, or cannot start: what a crew makes of them, without Ray."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.chat import Template
from strop.agent.policy import Policy
from strop.refine.collect import CollectConfig, collect, collect_with
from strop.refine.crew import MOST_DEATHS, MOST_STARTS, Crew, WorkerDiedError
from strop.refine.executor import Job, Result, identity_of
from strop.refine.search import SearchConfig
from strop.tools.errors import EngineDeadError, EngineError, ModelError, RunError
from strop.tools.task import Task
from tests.refine.worlds import EASY, SIMPLE, TASKS, WORLD, files, policy

CONFIG = CollectConfig(samples=6, search=SearchConfig(simulations=4, max_tokens=400), concurrency=2)


@dataclass
class Village:
    """Where workers of this process are hired, and how they die."""

    lives: Callable[[str], bool] = lambda _task_id: True
    """Whether the worker survives a job of this task."""
    starts: Callable[[int], Exception | None] = lambda _number: None
    """Why the worker that is hired as the so-manieth does not start."""
    world: Any = field(default_factory=lambda: WORLD)
    seconds: Callable[[int], float] = lambda _number: 0.0
    """How long a job takes the worker that was hired as the so-manieth."""
    hired: list[Villager] = field(default_factory=list)

    def hire(self) -> Villager:
        self.hired.append(Villager(self, len(self.hired)))
        return self.hired[-1]

    def crew(self, workers: int, each: int, said: list[str] | None = None) -> Crew:
        say = (lambda _: None) if said is None else said.append
        return Crew(self.hire, workers=workers, each=each, say=say, pause=0.0)


class Villager:
    """A `Worker` in this process."""

    def __init__(self, village: Village, number: int):
        self.village, self.number = village, number
        self.policy = policy(village.world)
        self.dead: asyncio.Event = asyncio.Event()
        self.jobs: list[str] = []
        self.busy = 0

    async def start(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        problem = self.village.starts(self.number)
        if problem is not None:
            raise problem
        return identity_of(self.policy)

    async def template(self) -> Template:
        return self.policy.template

    async def run(self, job: Job[Result]) -> Result:
        self.jobs.append(job.task.id)
        self.busy += 1
        work = asyncio.ensure_future(self._work(job))
        death = asyncio.ensure_future(self.dead.wait())
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        self.busy -= 1
        if self.dead.is_set():
            work.cancel()
            raise WorkerDiedError("killed")
        return await work

    async def _work(self, job: Job[Result]) -> Result:
        await asyncio.sleep(self.village.seconds(self.number))
        if not self.village.lives(job.task.id):
            self.dead.set()
            await asyncio.sleep(60)
        return await job.run(self.policy)

    def kill(self) -> None:
        self.dead.set()


@dataclass(frozen=True)
class Name:
    """A job that says its task's name, or fails."""

    task: Task
    error: Exception | None = None

    async def run(self, _policy: Policy) -> str:
        if self.error is not None:
            raise self.error
        return self.task.id


def named(count: int) -> list[Name]:
    return [Name(replace(SIMPLE, id=str(number))) for number in range(count)]


@given(
    workers=st.integers(1, 4),
    each=st.integers(1, 4),
    killers=st.sets(st.integers(0, 11), max_size=MOST_STARTS - 1),
    slow=st.sets(st.integers(0, 7)),
)
def test_every_job_is_done_whoever_dies_of_the_others(
    workers: int, each: int, killers: set[int], slow: set[int]
) -> None:
    """A task that kills one worker, once, costs nobody their result, however many others it takes along."""
    left = {str(number) for number in killers}
    village = Village(_once(left), seconds=lambda number: 0.001 if number in slow else 0.0)

    async def run() -> list[str]:
        async with village.crew(workers, each) as crew:
            return await asyncio.gather(*map(crew.run, named(12)))

    assert asyncio.run(run()) == [str(number) for number in range(12)]
    assert not left
    assert all(worker.dead.is_set() for worker in village.hired)


def _once(killers: set[str]) -> Callable[[str], bool]:
    """Every one of `killers` kills the first worker it gets."""

    def lives(task_id: str) -> bool:
        harmless = task_id not in killers
        killers.discard(task_id)
        return harmless

    return lives


async def test_a_collection_of_mortals_is_that_of_one_process(tmp_path: Path) -> None:
    await collect(TASKS, policy(WORLD), CONFIG, tmp_path / "one")
    village = Village(_once({task.id for task in TASKS}))
    async with village.crew(2, 2) as crew:
        await collect_with(crew, TASKS, CONFIG, tmp_path / "many")
    assert len(village.hired) > 2
    assert files(tmp_path / "many") == files(tmp_path / "one")


async def test_what_one_process_began_many_go_on_with(tmp_path: Path) -> None:
    await collect(TASKS, policy(WORLD), CONFIG, tmp_path / "one")
    await collect(TASKS[:2], policy(WORLD), CONFIG, tmp_path / "both")
    village = Village()
    async with village.crew(2, 2) as crew:
        await collect_with(crew, TASKS, CONFIG, tmp_path / "both")
    assert {job for worker in village.hired for job in worker.jobs} == {"neither", "easy"}
    assert files(tmp_path / "both") == files(tmp_path / "one")


async def test_the_task_that_kills_is_named_and_no_other() -> None:
    village = Village(lambda task_id: task_id != "3")
    done: list[str] = []

    async def run(crew: Crew, job: Name) -> None:
        done.append(await crew.run(job))

    async with village.crew(2, 4) as crew:
        runs = [asyncio.create_task(run(crew, job)) for job in named(12)]
        results = await asyncio.gather(*runs, return_exceptions=True)
    assert [index for index, result in enumerate(results) if result is not None] == [3]
    assert "task '3': 3 workers died over it, the last with nothing else" in str(results[3])
    assert sorted(done, key=int) == [str(n) for n in range(12) if n != 3]
    assert sum(worker.jobs.count("3") for worker in village.hired) == MOST_DEATHS
    last = next(worker for worker in reversed(village.hired) if "3" in worker.jobs)
    assert last.jobs[-1] == "3"


async def test_a_dead_engine_is_a_dead_worker_and_a_reported_failure_is_not() -> None:
    deaths = iter([EngineDeadError("gone"), None])

    @dataclass(frozen=True)
    class Dies(Name):
        async def run(self, policy: Policy) -> str:
            return await Name(self.task, next(deaths)).run(policy)

    village = Village()
    async with village.crew(1, 1) as crew:
        assert await crew.run(Dies(SIMPLE)) == "simple"
        assert len(village.hired) == 2
        with pytest.raises(EngineError, match="out of sorts"):
            await crew.run(Name(SIMPLE, EngineError("out of sorts")))
        assert len(village.hired) == 2


async def test_a_fast_worker_gets_more_and_nobody_too_much() -> None:
    village = Village(seconds=lambda number: 0.002 if number == 0 else 0.1)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, *(worker.busy for worker in village.hired))
            await asyncio.sleep(0)

    async with village.crew(2, 3) as crew:
        await asyncio.sleep(0.01)
        watching = asyncio.create_task(watch())
        await asyncio.gather(*map(crew.run, named(60)))
        watching.cancel()
    counts = [len(worker.jobs) for worker in village.hired]
    assert counts[0] > 3 * counts[1] > 0
    assert most == 3


async def test_what_is_wrong_for_the_first_worker_is_said_as_it_is() -> None:
    village = Village(starts=lambda _: ModelError("no such model"))
    with pytest.raises(ModelError, match="no such model"):
        async with village.crew(3, 1):
            pytest.fail("nobody could start")
    assert all(worker.dead.is_set() for worker in village.hired)


async def test_workers_that_cannot_start_later_are_done_without() -> None:
    said: list[str] = []
    village = Village(starts=lambda number: None if number == 0 else ModelError("not on this node"))
    async with village.crew(2, 1, said) as crew:
        assert await asyncio.gather(*map(crew.run, named(9))) == [str(n) for n in range(9)]
        while len(village.hired) < 1 + MOST_STARTS:
            await asyncio.sleep(0)
    assert "worker 2 did not start: not on this node" in said


async def test_a_worker_with_another_model_is_not_used() -> None:
    said: list[str] = []

    class Stranger(Villager):
        async def start(self) -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {**await super().start(), "weights": "others"}

    hired = [Villager(Village(), 0), Stranger(Village(), 1)]
    strangers = iter(hired)
    hire = lambda: next(strangers, hired[1])  # noqa: E731
    async with Crew(hire, workers=2, each=1, say=said.append, pause=0.0) as crew:
        await asyncio.sleep(0.05)
        await asyncio.gather(*map(crew.run, named(4)))
    assert hired[1].jobs == []
    assert any("not that of the first (weights differ)" in line for line in said)


async def test_nobody_left_is_one_error_and_what_is_done_stays(tmp_path: Path) -> None:
    village = Village(
        lives=lambda task_id: task_id == EASY.id,
        starts=lambda number: None if number < 2 else WorkerDiedError("no machine"),
    )
    async with village.crew(2, 1) as crew:
        with pytest.raises(RunError, match=r"all workers are gone \(2\), each lost 5 times.*no machine"):
            await collect_with(crew, (EASY, *TASKS[:3]), CONFIG, tmp_path)
        with pytest.raises(RunError, match="all workers are gone"):
            await crew.run(Name(SIMPLE))
    assert b'"easy"' in (tmp_path / "deficiencies.jsonl").read_bytes()


async def test_leaving_ends_everybody_and_a_cancelled_job_frees_its_worker() -> None:
    village = Village(seconds=lambda _: 0.05)
    async with village.crew(1, 1) as crew:
        runs = [asyncio.create_task(crew.run(job)) for job in named(3)]
        await asyncio.sleep(0.01)
        runs[0].cancel()
        runs[1].cancel()
        assert await runs[2] == "2"
    assert all(worker.dead.is_set() for worker in village.hired)


def test_ray_is_not_imported_before_it_is_used() -> None:
    code = "import sys, strop.refine.ray_workers, strop.training.round; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
