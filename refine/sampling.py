"""The first stage of a collection: k answers to every task, judged."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.refine.crowd import each
from strop.refine.deficiency import Selection, diagnose, unsampled
from strop.refine.executor import Executor
from strop.refine.sample import sample_of
from strop.refine.store import CollectionDir, Diagnosis, diagnosis_row
from strop.tools.errors import TooLongError, UsageError
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """How every task is sampled."""

    samples: int = 4
    """k: answers a task; ≥ 1."""
    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 256
    """Most ids of an answer."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SampleJob:
    """One task's samples."""

    task: Task
    config: SampleConfig

    async def run(self, policy: Policy) -> Diagnosis:
        """Sample the task k times and judge the answers. Raises UsageError, EngineError."""
        return await _diagnose(self.task, policy, self.config)


async def sample_all(
    tasks: Sequence[Task], executor: Executor, config: SampleConfig, store: CollectionDir
) -> dict[str, Diagnosis]:
    """Every task's diagnosis by its id, those of earlier starts included; `executor.slots` tasks in flight.

    Raises UsageError for a task that cannot be asked, EngineError where the engine fails, RunError.
    """
    with store.diagnosis_log() as log:  # opened first: that drops a row cut off by a kill
        known = store.diagnoses(tasks)

        async def one(task: Task) -> None:
            known[task.id] = await executor.run(SampleJob(task, config))
            log.write(diagnosis_row(task, known[task.id]))

        missing = [task for task in tasks if task.id not in known]
        await each("finding deficiencies", missing, one, executor.slots, len(tasks))
    return known


async def _diagnose(task: Task, policy: Policy, config: SampleConfig) -> Diagnosis:
    """Sample one task k times and judge the answers."""
    if task.gold is None:
        return Diagnosis(unsampled(task, Selection.NO_GOLD), ())
    sampling = Sampling(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        n=config.samples,
        seed=zlib.crc32(f"{config.seed}/{task.id}".encode()) >> 1,
        logprobs=True,
    )
    try:
        drafts = await policy.sample(task, sampling)
    except TooLongError:
        return Diagnosis(unsampled(task, Selection.NO_ROOM), ())
    except UsageError as error:
        raise UsageError(f"task {task.id!r} cannot be asked: {error}") from error
    samples = tuple(sample_of(task, draft) for draft in drafts)
    return Diagnosis(diagnose(task, samples), samples)
