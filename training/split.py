"""The tasks of a run: which are trained on, and which are held out to decide whether a round is accepted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from strop.tools.errors import RunError
from strop.tools.files import BadRow, json_text
from strop.tools.task import Task
from strop.training.config import TasksTable
from strop.training.layouts import read_layout
from strop.training.synth import synthesise


def source_tasks(settings: TasksTable, seed: int, on_bad: Callable[[BadRow], None]) -> list[Task]:
    """All tasks of a run, read or made; `on_bad` is told of every row that is left out.

    Raises DataError where the file cannot be read, UsageError where so many cannot be made.
    """
    if settings.file is None:
        return synthesise(settings.synthesise, seed, settings.categories or None)
    loaded = read_layout(settings.file)
    for row in loaded.bad:
        on_bad(row)
    return [task for _, task in loaded.tasks]


def split(tasks: Sequence[Task], held_out: int, seed: int) -> tuple[list[Task], list[Task]]:
    """(to train on, held out), shuffled by `seed`.

    Tasks of one conversation stay together, so that a few less than `held_out` may be held out. Raises
    RunError where nothing is left to train on, or to hold out.
    """
    if len(tasks) <= held_out:
        raise RunError(f"{len(tasks)} tasks are too few to hold {held_out} out: lower tasks.held_out")
    groups = conversations(tasks)
    random.Random(seed).shuffle(groups)
    aside: list[Task] = []
    rest: list[Task] = []
    for group in groups:
        (aside if len(aside) + len(group) <= held_out else rest).extend(group)
    if not aside:
        fewest = min(groups, key=len)
        raise RunError(
            f"no conversation has as few as {held_out} tasks, the shortest has {len(fewest)} (such as "
            f"{fewest[0].id!r}): raise tasks.held_out"
        )
    return rest, aside


def conversations(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks together where one's messages begin, or are, another's: whoever has learned the longer one's
    context has seen the other's answer. What comes before a user has said anything is no conversation yet."""
    first = {_said(task, len(task.messages)): number for number, task in reversed(list(enumerate(tasks)))}
    groups: dict[int, list[Task]] = {}
    for task in tasks:
        root = next(first[said] for said in _beginnings(task) if said in first)
        groups.setdefault(root, []).append(task)
    return list(groups.values())


def without_conversations_of(held_out: Iterable[Task], tasks: Iterable[Task]) -> list[Task]:
    """Those of `tasks` that are of no conversation with a held-out one."""
    held = list(held_out)
    asked = {_said(task, len(task.messages)) for task in held}
    within = {said for task in held for said in _beginnings(task)}
    return [
        task
        for task in tasks
        if _said(task, len(task.messages)) not in within and asked.isdisjoint(_beginnings(task))
    ]


def _beginnings(task: Task) -> list[str]:
    """All that is said up to each message, from the first of a user on; at least all that is said."""
    spoken = next((n for n, one in enumerate(task.messages, 1) if one["role"] == "user"), len(task.messages))
    return [_said(task, count) for count in range(spoken, len(task.messages) + 1)]


def _said(task: Task, count: int) -> str:
    return json_text([dict(message) for message in task.messages[:count]])
