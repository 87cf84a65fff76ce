"""The second stage of a collection: a tree for every task that is searched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from strop.agent.policy import Policy
from strop.refine.executor import Executor
from strop.refine.sample import Sample
from strop.refine.search import SearchConfig, search
from strop.refine.store import CollectionDir, TreeFile
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


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of one collection. A finished one is on disk and no longer in memory."""

    executor: Executor
    config: SearchConfig
    store: CollectionDir
    seed: int

    async def grow(self, task: Task, samples: Sequence[Sample]) -> None:
        """The task's tree file, from these answers; one that is there stays. Raises EngineError, RunError."""
        if self.store.tree_file(task.id).exists():
            return
        tree = await self.executor.run(SearchJob(task, tuple(samples), self.config, self.seed))
        # In a thread: others' results should not wait for the disk.
        await asyncio.to_thread(self.store.write_tree, tree)
