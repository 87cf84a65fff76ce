"""How many workers one collecting process keeps busy: ``--executor ray`` with simulated engines.

    python benchmarks/ray_scaling.py [--workers 1,2,4,8,16,32,64] [--tasks 24] [--speed 1] [--driver 2000]

Real Ray, real jobs (sampling, search), real files; only the model is a script that takes its time: a request
takes `PREFILL` seconds and `PER_TOKEN` for every id of its longest sample, each drawn log-normally for every
request, all divided by `--speed`. The medians are chosen so that an answer takes what the embedded model's
took on two cores, four requests at once: 5.4 s. Every worker gets `--tasks` tasks, so that
the time would stay the same if nothing were lost. Simulated workers share `--processes` processes: sleeping
takes no processor, and 64 times Python takes 6 GB. The collecting process keeps its books by worker all the
same.

``busy`` is the share of the slots' time with a job in it: what is missing is the end, when the last jobs are
waited for, and the delays. ``driver`` is the share of one core that the
collecting process uses. ``delay`` is how long a job and its result are under way: from asking for a worker to
the job's beginning, and from its end to the result's arrival. No job waits for a worker to be free in it,
since only as many are asked for as there are slots.

`--driver N` tasks are then collected with jobs that return what is known already: the most that one process
can hand out, take in and write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from strop.agent.engines.base import Completion, Sampling
from strop.agent.engines.scripted import Entry, Ids, ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.refine.collect import CollectConfig, collect_with
from strop.refine.crew import Crew
from strop.refine.executor import Executor, Job
from strop.refine.ray_workers import RayWorker, Workshop
from strop.tools.task import Task
from strop.training.synth import synthesise

PREFILL, PER_TOKEN, SPREAD = 0.5, 0.045, 0.35
"""Seconds, seconds an id, and the standard deviation of their logarithms. Answers have about 110 ids."""
COLUMNS = (
    *("workers", "tasks", "s", "tasks/s", "speed-up", "efficiency", "busy", "driver", "KB a task"),
    *("delay p50", "p95"),
)
EVERY = 20
"""One job of so many has its bytes counted."""


def main() -> None:
    import ray

    options = parser().parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    pool = [ray.remote(Workshop).options(num_cpus=0, max_concurrency=4096) for _ in range(options.processes)]
    actors = [one.remote(partial(simulated, options.speed)) for one in pool]
    asyncio.run(measured(ray, actors, synthesise(64, seed=1), 64, options.each))  # imports are not measured
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    first = None
    for workers in map(int, filter(None, options.workers.split(","))):
        tasks = synthesise(options.tasks * workers, seed=0)
        row = asyncio.run(measured(ray, actors, tasks, workers, options.each))
        first = first or row.rate / workers
        print(row.line(workers, row.rate / first), flush=True)
    if options.driver:
        tasks = synthesise(options.driver, seed=0)
        row = asyncio.run(measured(ray, actors, tasks, 64, options.each, known={}))
        rate, cpu, pairing = row.rate, *(1000 * part / len(tasks) for part in (row.cpu, row.pairing))
        print(f"\ndriver alone, {len(tasks)} tasks: {rate:.0f} tasks/s, {cpu:.1f} ms of its processor each;")
        print(f"pairs take it {pairing:.1f} ms a task more, at the end")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", default="1,2,4,8,16,32,64", help="how many, one row each")
    parser.add_argument("--tasks", type=int, default=24, help="of every worker")
    parser.add_argument("--each", type=int, default=4, help="tasks in flight in every worker")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than measured the model is")
    parser.add_argument("--processes", type=int, default=8, help="that share the simulated workers")
    parser.add_argument(
        "--driver", type=int, default=2000, help="tasks to find the driver's limit with; 0: none"
    )
    return parser


class SlowEngine(ScriptedEngine):
    """A script that takes a model's time."""

    speed = 1.0

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        done = await super().generate(prompt_ids, sampling, adapter=adapter)
        self.requests.clear()
        rng = random.Random(f"{sampling.seed}/{len(prompt_ids)}")
        longest = max(len(one.token_ids) for one in done)
        seconds = PREFILL * rng.lognormvariate(0, SPREAD) + longest * PER_TOKEN * rng.lognormvariate(
            0, SPREAD
        )
        await asyncio.sleep(seconds / self.speed)
        return done


@asynccontextmanager
async def simulated(speed: float) -> AsyncIterator[Policy]:
    """A worker's policy."""
    engine = SlowEngine(answers)
    engine.speed = speed
    yield Policy(engine, ScriptedTemplate())


def answers(prompt: Ids) -> Entry:
    """Five calls and a refusal, all wrong: every task is searched."""
    question = last_turn(prompt)
    rng = random.Random(question)

    def call() -> str:
        arguments = {"city": question.split()[-1], "days": rng.randrange(30), "unit": rng.choice("CFK")}
        name = f"tool_{rng.randrange(9)}"
        return f"```json\n{json.dumps({'name': name, 'arguments': arguments}, indent=2)}\n```"

    return [*((call(), 1.0) for _ in range(5)), ("I cannot do this.", 0.5)]


@dataclass(frozen=True)
class Timed:
    """A job that also says when it began and ended; all processes of a machine share this clock."""

    job: Job[Any]

    @property
    def task(self) -> Task:
        return self.job.task

    async def run(self, policy: Policy) -> tuple[Any, float, float]:
        began = time.monotonic()
        return await self.job.run(policy), began, time.monotonic()


@dataclass(frozen=True)
class Known:
    """A job whose result is known."""

    task: Task
    result: Any

    async def run(self, _policy: Policy) -> Any:
        return self.result


@dataclass
class Row:
    """One collection as the driver saw it."""

    tasks: int
    seconds: float = 0.0
    """Of sampling and search."""
    cpu: float = 0.0
    """Of the driver meanwhile, seconds."""
    pairing: float = 0.0
    """Seconds after that."""
    slots: int = 1
    """Jobs that the workers can have at once."""
    busy: float = 0.0
    """Seconds of all jobs in the workers."""
    jobs: int = 0
    counted: int = 0
    sizes: int = 0
    """Bytes of `counted` jobs and their results."""
    delays: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.tasks / self.seconds

    def line(self, workers: int, speed_up: float) -> str:
        ordered = sorted(self.delays)
        p50, p95 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        kilobytes = self.sizes / self.counted * self.jobs / self.tasks / 1000
        columns = (
            workers,
            self.tasks,
            f"{self.seconds:.1f}",
            f"{self.rate:.2f}",
            f"{speed_up:.1f}",
            f"{speed_up / workers:.0%}",
            f"{self.busy / self.seconds / self.slots:.0%}",
            f"{self.cpu / self.seconds:.1%}",
            f"{kilobytes:.1f}",
            f"{p50:.0f} ms",
            f"{p95:.0f} ms",
        )
        return f"| {' | '.join(map(str, columns))} |"


class Watched:
    """An executor that keeps count of another's jobs."""

    def __init__(self, inner: Executor, row: Row, known: dict[Any, Any] | None):
        self.identity, self.template, self.slots = inner.identity, inner.template, inner.slots
        self._inner = inner
        self._row = row
        self._known = known
        self.finished = 0.0
        self.cpu = 0.0

    async def run(self, job: Job[Any]) -> Any:
        if self._known is not None:
            result = await self._inner.run(Known(job.task, self._known[job.task.id, type(job)]))
        else:
            result = await self._timed(job)
        self.finished, self.cpu = time.monotonic(), time.process_time()
        return result

    async def _timed(self, job: Job[Any]) -> Any:
        asked = time.monotonic()
        result, began, ended = await self._inner.run(Timed(job))
        self._row.busy += ended - began
        self._row.delays.append(began - asked + time.monotonic() - ended)
        self._row.jobs += 1
        if self._row.jobs % EVERY == 1:
            self._row.counted += 1
            self._row.sizes += len(pickle.dumps(job)) + len(pickle.dumps(result))
        return result


class Learning:
    """An executor in this process that remembers every result."""

    def __init__(self, known: dict[Any, Any]):
        engine = SlowEngine(answers)
        engine.speed = float("inf")
        self._policy = Policy(engine, ScriptedTemplate())
        self.identity: dict[str, Any] = {}
        self.template = self._policy.template
        self.slots = 8
        self._known = known

    async def run(self, job: Job[Any]) -> Any:
        result = await job.run(self._policy)
        self._known[job.task.id, type(job)] = result
        return result


async def measured(
    ray: Any,
    actors: list[Any],
    tasks: list[Task],
    workers: int,
    each: int,
    known: dict[Any, Any] | None = None,
) -> Row:
    """Collect `tasks`; with `known` (filled first) by jobs that return what they would."""
    row, config = Row(len(tasks), slots=workers * each), CollectConfig()
    places = iter(range(workers))
    out = Path(tempfile.mkdtemp(dir="."))  # a real disk: temporary folders are memory at times
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            if known is not None:
                await collect_with(Learning(known), tasks, config, out / "learned")
            hire = lambda: RayWorker(ray, actors[next(places) % len(actors)])  # noqa: E731
            crew = Kept(hire, workers=workers, each=each)
            async with crew:
                while len(crew.ready()) < workers:
                    await asyncio.sleep(0.01)
                watched = Watched(crew, row, known)
                began, cpu = time.monotonic(), time.process_time()
                await collect_with(watched, tasks, config, out / "measured")
        row.seconds, row.cpu = watched.finished - began, watched.cpu - cpu
        row.pairing = time.monotonic() - watched.finished
    finally:
        shutil.rmtree(out)
    return row


class Kept(Crew):
    """A crew that leaves its workers' processes to the next."""

    def ready(self) -> list[Any]:
        return self._hands

    async def _dismiss(self) -> None:
        self._hands.clear()


if __name__ == "__main__":
    sys.exit(main())
