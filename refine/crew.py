"""Workers that each have a policy of their own: who gets which job, and what becomes of a dead one's.

Jobs are streamed. A worker has at most `each` of them at once, which keeps its engine full, and the next job
goes to whoever has fewest: a fast worker gets more of them. The work begins when the first worker is there;
others join when they are.

A failure that a worker reports (EngineError, UsageError) is the job's failure, as in one process. Where a
worker dies, or its engine (EngineDeadError), its jobs are given to others and another worker is hired in its
place, up to `MOST_STARTS` times without a job done in between. A job that was with `MOST_DEATHS` workers when
they died stops the run with its task's name; the last of them had nothing else to do, so that those who were
only near are not blamed.

Not covered: workers that hang, and jobs that were begun by a driver that died (they are done again).
Nothing here knows of Ray: see `strop.refine.ray_workers`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from strop.agent.chat import Template
from strop.refine.executor import Job, Result
from strop.tools.errors import EngineDeadError, RunError, StropError

MOST_STARTS = 5
"""Starts in a row of one place's workers, without a job done, after which it stays empty."""
MOST_DEATHS = 3
"""Dead workers a job is tried with; the last attempt is with a worker that has nothing else."""
PAUSE_SECONDS = 1.0
"""Before the start after the first that failed; it doubles with every further one."""


class WorkerDiedError(Exception):
    """A worker is gone: killed, out of memory, its machine lost. Never leaves the crew."""


class Worker(Protocol):
    """A policy somewhere else. All methods but `kill` raise WorkerDiedError where it is gone."""

    async def start(self) -> dict[str, Any]:
        """Load the policy; returns `identity_of` it. Raises StropError where it cannot be loaded."""
        ...

    async def template(self) -> Template:
        """The policy's."""
        ...

    async def run(self, job: Job[Result]) -> Result:
        """The job's result. Raises what the job raises."""
        ...

    def kill(self) -> None:
        """End it, dead or alive."""
        ...


@dataclass(slots=True)
class _Place:
    """Where one worker after the other stands."""

    number: int
    """Counted from 1."""
    failures: int = 0
    """Workers lost here since a job was done."""
    why: str = ""
    """What became of the last of them."""


@dataclass(slots=True)
class _Hand:
    """A worker that is ready."""

    place: _Place
    worker: Worker
    busy: int = 0
    """Jobs it has."""
    promised: _Seat | None = None
    """Who gets it for itself as soon as it has no job."""


@dataclass(slots=True)
class _Seat:
    """A job's wish for a worker."""

    alone: bool
    hand: asyncio.Future[_Hand] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Crew:
    """An `Executor` over workers. Enter it to hire them; leaving it ends them all."""

    def __init__(
        self,
        hire: Callable[[], Worker],
        *,
        workers: int,
        each: int,
        say: Callable[[str], None] = lambda _: None,
        pause: float = PAUSE_SECONDS,
    ):
        """`hire` makes a worker that is still to be started; `each` is how many jobs one has at once; `say`
        is told of arrivals and deaths; `pause` is in seconds."""
        self.slots = workers * each
        self.identity: dict[str, Any] = {}
        self.template: Template
        self._hire = hire
        self._each = each
        self._say = say
        self._pause = pause
        self._places = [_Place(number + 1) for number in range(workers)]
        self._empty: list[_Place] = []
        self._hands: list[_Hand] = []
        self._seats: deque[_Seat] = deque()
        self._arrivals: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[None]
        self._over: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Returns when the first worker is ready.

        Raises StropError where a worker cannot load the policy before any could, RunError where all die.
        """
        self._first = asyncio.get_running_loop().create_future()
        for place in self._places:
            self._fill(place)
        try:
            await self._first
        except BaseException:
            await self._dismiss()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._dismiss()

    async def run(self, job: Job[Result]) -> Result:
        """See `Executor`. Raises RunError where the job's workers die again and again, or none is left."""
        why = ""
        for deaths in range(MOST_DEATHS):
            async with self._hand(alone=deaths == MOST_DEATHS - 1) as hand:
                try:
                    result = await hand.worker.run(job)
                except (WorkerDiedError, EngineDeadError) as error:
                    why = str(error)
                    self._lose(hand, why)
                else:
                    hand.place.failures = 0
                    return result
        raise RunError(
            f"task {job.task.id!r}: {MOST_DEATHS} workers died over it, the last with nothing else to do "
            f"({why}); what is finished is kept: take the task out and start again"
        )

    @asynccontextmanager
    async def _hand(self, *, alone: bool) -> AsyncIterator[_Hand]:
        """A worker with room for one more job; with `alone`, one that does nothing else meanwhile."""
        seat = _Seat(alone)
        self._seats.append(seat)
        self._deal()
        try:
            hand = await seat.hand
        except asyncio.CancelledError:
            if seat.hand.done() and not seat.hand.cancelled():  # it was given one at that very moment
                self._leave(seat.hand.result(), seat)
            raise
        try:
            yield hand
        finally:
            self._leave(hand, seat)

    def _leave(self, hand: _Hand, seat: _Seat) -> None:
        hand.busy -= 1
        if hand.promised is seat:
            hand.promised = None
        self._deal()

    def _deal(self) -> None:
        """Give workers to those who wait, in their order; whoever wants one alone holds nobody else up."""
        for hand in self._hands:
            self._keep_promise(hand)
        later: list[_Seat] = []
        while self._seats:
            seat = self._seats.popleft()
            if seat.hand.done():
                continue
            if self._over is not None:
                seat.hand.set_exception(self._over)
                continue
            able = self._least_busy(self._each if not seat.alone else self._each + 1)
            if able is None:
                later.append(seat)
                if not seat.alone:
                    break
            elif seat.alone:
                able.promised = seat
                self._keep_promise(able)
            else:
                able.busy += 1
                seat.hand.set_result(able)
        self._seats.extendleft(reversed(later))

    def _keep_promise(self, hand: _Hand) -> None:
        seat = hand.promised
        if seat is None or hand.busy:
            return
        if seat.hand.done():  # cancelled
            hand.promised = None
        else:
            hand.busy = 1
            seat.hand.set_result(hand)

    def _least_busy(self, below: int) -> _Hand | None:
        """Of the workers with fewer than `below` jobs and nothing promised, the one with fewest."""
        able = [hand for hand in self._hands if hand.promised is None and hand.busy < below]
        return min(able, key=lambda hand: hand.busy, default=None)

    def _lose(self, hand: _Hand, why: str) -> None:
        """A worker died: hire another in its place. Each of its jobs may say so; the first counts."""
        if hand not in self._hands:
            return
        self._hands.remove(hand)
        hand.worker.kill()
        hand.place.failures, hand.place.why = hand.place.failures + 1, why
        if hand.promised is not None and not hand.promised.hand.done():
            self._seats.appendleft(hand.promised)
        self._say(f"worker {hand.place.number} died ({why}); its jobs are given to others")
        self._fill(hand.place)
        self._deal()

    def _fill(self, place: _Place) -> None:
        task = asyncio.create_task(self._arrive(place))
        self._arrivals.add(task)
        task.add_done_callback(self._arrived)

    async def _arrive(self, place: _Place) -> None:
        """Hire for `place` until a worker is ready or too many were not."""
        while place.failures < MOST_STARTS:
            if place.failures:
                await asyncio.sleep(self._pause * 2 ** (place.failures - 1))
            worker = self._hire()
            try:
                await self._welcome(place, worker)
                return
            except BaseException as error:
                worker.kill()
                if not isinstance(error, WorkerDiedError | StropError):
                    raise
                if isinstance(error, StropError) and not self.identity:
                    raise  # what is wrong for the first is wrong for all
                place.failures, place.why = place.failures + 1, str(error)
                self._say(f"worker {place.number} did not start: {error}")
        self._give_up(place)

    async def _welcome(self, place: _Place, worker: Worker) -> None:
        identity = await worker.start()
        if not self.identity:
            template = await worker.template()
            if not self.identity:  # nobody was faster
                self.identity, self.template = identity, template
        if identity != self.identity:
            known = self.identity
            keys = sorted(key for key in identity | known if identity.get(key) != known.get(key))
            raise RunError(f"its policy is not that of the first ({', '.join(keys)} differ)")
        self._hands.append(_Hand(place, worker))
        self._say(f"worker {place.number} is ready ({len(self._hands)} of {len(self._places)})")
        self._deal()

    def _give_up(self, place: _Place) -> None:
        self._empty.append(place)
        self._say(f"worker {place.number} is not started again: lost {place.failures} times in a row")
        if len(self._empty) == len(self._places):
            raise RunError(
                f"all workers are gone ({len(self._places)}), each lost {MOST_STARTS} times in a row; "
                f"the last: {place.why}; what is finished is kept: see the workers' logs, and start again"
            )

    def _arrived(self, task: asyncio.Task[None]) -> None:
        """A place is filled or was given up; an exception is the end of all."""
        self._arrivals.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._over = self._over or error
            self._deal()
        if not self._first.done() and (error is not None or self.identity):
            self._first.set_result(None) if error is None else self._first.set_exception(error)

    async def _dismiss(self) -> None:
        for task in self._arrivals:
            task.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)
        for hand in self._hands:
            hand.worker.kill()
        self._hands.clear()
