"""Many tasks at once over one engine, under a progress bar."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from strop.tools.errors import StropError
from strop.tools.task import Task

Result = TypeVar("Result")


async def each(
    title: str, tasks: Sequence[Task], work: Callable[[Task], Awaitable[None]], limit: int
) -> None:
    """`work` on all tasks, `limit` at a time, under a bar called `title`.

    The first failure cancels the rest and is raised as itself where it is a StropError.
    """
    gateway = asyncio.Semaphore(limit)
    with _progress() as progress:
        bar = progress.add_task(title, total=len(tasks))

        async def run(task: Task) -> None:
            async with gateway:
                await work(task)
            progress.advance(bar)

        await together(run(task) for task in tasks)


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of all, in order. The first failure cancels the rest; it is raised as itself where it is
    a StropError."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        expected, unexpected = failures.split(StropError)
        if expected is None or unexpected is not None:
            raise
        raise _first(expected) from failures
    return [task.result() for task in running]


def _first(failures: ExceptionGroup[StropError]) -> StropError:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
