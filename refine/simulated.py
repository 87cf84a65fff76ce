"""Judging answers where a task's tools are simulated: calls that read differently but do the same are right.

A world is a module's (`strop.tools.simulators`): what the gold's calls return and leave behind in it is what
an answer's have to. Only a verdict that calls an answer wrong is changed, and only to right.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from strop.agent.answer import Draft
from strop.refine.sample import Outcome, Sample, sample_of
from strop.tools.errors import DataError, StepLimitError
from strop.tools.simulators import Simulators
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import Verdict


async def judged(task: Task, drafts: Sequence[Draft], worlds: str) -> list[Sample]:
    """The drafts of a task with gold, judged; `worlds` names a module to play wrong ones in, or is empty.

    Raises DataError where the world cannot begin.
    """
    samples = [sample_of(task, draft) for draft in drafts]
    if not worlds:
        return samples
    # In a thread: playing waits for a child process.
    return await asyncio.to_thread(
        lambda: [replace(one, outcome=executed(task, one.outcome, worlds)) for one in samples]
    )


@dataclass(frozen=True, slots=True)
class TaskWorld:
    """How the world of a task begins (`strop.tools.simulators.Setup`)."""

    task: Task

    def to_json(self) -> dict[str, Any]:
        """What the module's ``open_world`` is given: id, category and names of the tools."""
        tools = [tool.name for tool in self.task.tools]
        return {"task_id": self.task.id, "category": self.task.category, "tools": tools}


def executed(task: Task, outcome: Outcome, worlds: str) -> Outcome:
    """The outcome, right and worth 1 if its calls come to the same as the gold's in the task's world.

    The same are the calls' results, in any order, and what the world tells of itself afterwards. An answer
    without calls, a wrong number of them, one that cannot be read, or one over the limits of
    `strop.tools.simulators` stays what it is. Raises DataError where the world cannot begin.
    """
    gold = task.gold
    if gold is None or outcome.verdict.correct or not outcome.complete or not outcome.calls:
        return outcome
    if len(outcome.calls) == len(gold.calls) and _come_to_the_same(worlds, task, outcome.calls, gold.calls):
        return replace(outcome, verdict=Verdict.right(), reward=1.0)
    return outcome


def _come_to_the_same(worlds: str, task: Task, ours: Sequence[ToolCall], gold: Sequence[ToolCall]) -> bool:
    wanted = _played(worlds, task, gold)
    if wanted is None:
        raise DataError(f"task {task.id!r}: its gold calls cannot be made in {worlds} within the limits")
    return _played(worlds, task, ours) == wanted


def _played(worlds: str, task: Task, calls: Sequence[ToolCall]) -> tuple[list[str], Any] | None:
    """Results of the calls, sorted, and the world's state after them; None where they take too long."""
    simulators, setup = _simulators(worlds), TaskWorld(task)
    world = f"{task.id} {next(_PLAYED)}"
    try:
        results = simulators.step(world, setup, calls)
        return sorted(results), simulators.begin(world, setup, calls)
    except StepLimitError:
        return None
    finally:
        simulators.close_world(world)


_PLAYED = itertools.count()


@cache
def _simulators(worlds: str) -> Simulators:
    """This process's child for the module of that name."""
    return Simulators(worlds)
