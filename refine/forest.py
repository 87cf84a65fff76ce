"""The second stage of a collection: a tree for every task that is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strop.agent.policy import Policy
from strop.refine.crowd import each
from strop.refine.search import SearchConfig, search
from strop.refine.store import CollectionDir, Diagnosis
from strop.tools.task import Task


async def search_all(
    tasks: Sequence[Task],
    policy: Policy,
    config: SearchConfig,
    store: CollectionDir,
    diagnoses: Mapping[str, Diagnosis],
    *,
    seed: int,
    concurrency: int,
) -> None:
    """A tree file for every one of `tasks`; those that are there stay. `concurrency` trees grow at once.

    A finished tree is on disk and no longer in memory. Raises EngineError, RunError.
    """

    async def one(task: Task) -> None:
        samples = diagnoses[task.id].samples
        store.write_tree(await search(task, policy, samples, config, seed=seed))

    missing = [task for task in tasks if not store.tree_file(task.id).exists()]
    await each("searching", missing, one, concurrency, len(tasks))
