"""Many things asked of one engine at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_flight(items: Iterable[Item], work: Callable[[Item], Awaitable[Any]], limit: int) -> None:
    """`work` on all, `limit` at a time; the first failure cancels the others and is raised as it is."""
    queue = iter(items)

    async def run() -> None:
        for item in queue:
            await work(item)

    await together(run() for _ in range(max(1, limit)))


async def each(title: str, items: Sequence[Item], work: Callable[[Item], Awaitable[Any]], limit: int) -> None:
    """`in_flight` under a progress bar called `title`."""
    with _progress() as progress:
        bar = progress.add_task(title, total=len(items))

        async def run(item: Item) -> None:
            await work(item)
            progress.advance(bar)

        await in_flight(items, run, limit)


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of all, in order. The first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in running]


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
