"""The tasks of a run: which are trained on, and which are held out to decide whether a round is accepted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from strop.tools.errors import RunError
from strop.tools.files import BadRow
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
    """(to train on, held out), shuffled by `seed`. Raises RunError where nothing is left to train on."""
    if len(tasks) <= held_out:
        raise RunError(f"{len(tasks)} tasks are too few to hold {held_out} out: lower tasks.held_out")
    shuffled = list(tasks)
    random.Random(seed).shuffle(shuffled)
    return shuffled[held_out:], shuffled[:held_out]
