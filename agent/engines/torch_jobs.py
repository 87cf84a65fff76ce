"""What waits for the thread that owns a torch model, and how callers in an event loop get their answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.agent.engines.base import Chunk, Completion, FinishReason, Sampling
from strop.agent.engines.grammar import Matcher
from strop.tools.errors import EngineError, StropError

MAX_ROWS = 16
"""Most samples decoded together; a single request with more of them still runs as one batch."""


@dataclass(slots=True)
class Row:
    """One sample as it grows."""

    generator: Any
    """torch.Generator of its own."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    matcher: Matcher | None = None
    """Where in its structure the sample is; None without one."""
    watched: tuple[float, ...] | None = None
    reason: FinishReason | None = None


@dataclass(slots=True, eq=False)
class Job:
    """A generation request, on its way through the thread."""

    prompt_ids: list[int]
    sampling: Sampling
    adapter: str | None
    """peft's name, None for the model as it is."""
    deliver: Callable[[Chunk | list[Completion] | Exception], None]
    stream: bool = False
    cancelled: bool = False
    """Set by the caller's thread, read by the model's."""
    rows: list[Row] = field(default_factory=list)
    matchers: Sequence[Matcher | None] = ()
    """One for each sample."""


@dataclass(slots=True, eq=False)
class Call:
    """Something else to be done in the thread that owns the model."""

    run: Callable[[], Any]
    deliver: Callable[[Any], None]


def companions(first: Job, waiting: deque[Job | Call | None]) -> list[Job]:
    """`first` and those that wait for the same adapter, up to `MAX_ROWS` rows; taken out of `waiting`."""
    batch, rows = [first], first.sampling.n
    for other in list(waiting):
        fits = isinstance(other, Job) and other.adapter == first.adapter
        if isinstance(other, Job) and fits and rows + other.sampling.n <= MAX_ROWS:
            batch.append(other)
            rows += other.sampling.n
            waiting.remove(other)
    return batch


def attempt(run: Callable[[], Any], waiters: Sequence[Job | Call], *, deliver_result: bool = False) -> None:
    """Run; whoever waits gets the result or the error, classified."""
    try:
        result = run()
    except StropError as error:
        outcome: Any = error
    except Exception as error:  # noqa: BLE001  # the thread must outlive a failed batch, whose callers are told
        outcome = EngineError(f"transformers failed: {first_line(error)}")
        outcome.__cause__ = error
    else:
        outcome = result
        if not deliver_result:
            return
    for waiter in waiters:
        waiter.deliver(outcome)


def to_loop(arrivals: asyncio.Queue[Any]) -> Callable[[Any], None]:
    """Put into an asyncio queue from another thread; a loop that is gone wants nothing any more."""
    loop = asyncio.get_running_loop()

    def deliver(item: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrivals.put_nowait, item)

    return deliver


def unwrapped(item: Any) -> Any:
    """`item`, raised where it is an error."""
    if isinstance(item, Exception):
        raise item
    return item


def completion(row: Row, sampling: Sampling) -> Completion:
    """What became of a sample."""
    logprobs = tuple(row.logprobs) if sampling.logprobs else None
    alternatives = tuple(row.top_logprobs) if sampling.logprobs and sampling.top_logprobs else None
    reason = row.reason or FinishReason.ABORT
    return Completion(tuple(row.ids), reason, logprobs, 0, alternatives, row.watched)


def first_line(error: BaseException) -> str:
    """What of an error a person is told."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
