"""The second stage of a collection: a tree for every task that is searched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strop.agent.policy import Policy
from strop.refine.crowd import each
from strop.refine.executor import Executor
from strop.refine.sample import Sample
from strop.refine.search import SearchConfig, search
from strop.refine.store import CollectionDir, Diagnosis, TreeFile
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class SearchJob:
    """One task's search."""

    task: Task
    samples: tuple[Sample, ...]
    """Answers its tree starts from; not empty."""
    config: SearchConfig
    seed: int

    async def run(self, policy: Policy) -> TreeFile:
        """The tree as it is stored, made where it was grown. Raises EngineError."""
        return TreeFile.of(await search(self.task, policy, self.samples, self.config, seed=self.seed))


async def search_all(
    tasks: Sequence[Task],
    executor: Executor,
    config: SearchConfig,
    store: CollectionDir,
    diagnoses: Mapping[str, Diagnosis],
    *,
    seed: int,
) -> None:
    """A tree file for every one of `tasks`; those that are there stay. `executor.slots` trees grow at once.

    A finished tree is on disk and no longer in memory. Raises EngineError, RunError.
    """

    async def one(task: Task) -> None:
        job = SearchJob(task, diagnoses[task.id].samples, config, seed)
        tree = await executor.run(job)
        # In a thread: others' results should not wait for the disk.
        await asyncio.to_thread(store.write_tree, tree)

    missing = [task for task in tasks if not store.tree_file(task.id).exists()]
    await each("searching", missing, one, executor.slots, len(tasks))
