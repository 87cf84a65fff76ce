"""A collection's workers on Ray: an actor each, with an engine of its own; see `strop.refine.crew`.

Jobs, results and the first worker's template travel by Ray; files are written by the process that started the
collection, and by nobody else. Every node needs this Strop and the model, under the same name or path. The
actors end with that process, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from rich.console import Console

from strop.agent.chat import Template
from strop.agent.loading import PolicySource, load_policy
from strop.agent.policy import Policy
from strop.refine.crew import Crew, WorkerDiedError
from strop.refine.executor import Executor, Here, Job, Result, identity_of
from strop.tools.bounds import require
from strop.tools.errors import RunError, StropError, UsageError

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Policy]]
"""Makes a worker's policy, in the worker. Can be pickled."""


@dataclass(frozen=True, slots=True)
class RayPlan:
    """How many workers, and what each takes of the cluster."""

    workers: int = 2
    """≥ 1."""
    each: int = 8
    """Tasks in flight at once in every worker; ≥ 1."""
    gpus: float | None = None
    """Of each worker; ≥ 0, parts of one allowed. None: `spread` where the cluster has GPUs, else 0."""
    spread: int = 1
    """GPUs that a worker's engine spreads over where there are any."""
    cpus: float = 1.0
    """Of each worker, as Ray counts them; ≥ 0."""
    address: str | None = None
    """A running cluster's; none: ``$RAY_ADDRESS``, or a cluster on this machine that ends with the work."""

    def __post_init__(self) -> None:
        bounds = (
            ("workers", self.workers >= 1, "at least 1"),
            ("each", self.each >= 1, "at least 1"),
            ("gpus", self.gpus is None or self.gpus >= 0, "0 or more"),
            ("cpus", self.cpus >= 0, "0 or more"),
        )
        require(self, bounds)


def opener(source: PolicySource) -> Opener:
    """Loads what `source` says."""
    return partial(_open, source)


@asynccontextmanager
async def _open(source: PolicySource) -> AsyncIterator[Policy]:
    async with load_policy(source) as loaded:
        yield loaded.policy


@asynccontextmanager
async def ray_crew(
    open_policy: Opener, plan: RayPlan, say: Callable[[str], None] | None = None
) -> AsyncIterator[Crew]:
    """A crew of Ray actors, from when the first is ready; they are ended afterwards.

    Uses the Ray of this process where one was started. Raises UsageError where Ray is not installed, RunError
    where there is no cluster or all workers die, and what loading the policy raises.
    """
    ray = _ray()
    say = say or partial(Console(stderr=True).print, markup=False, highlight=False, soft_wrap=True)
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, plan.address)
    try:
        needs = _needs(plan, has_gpus=ray.cluster_resources().get("GPU", 0) > 0)
        _tell_of_room(needs, plan.workers, ray.cluster_resources(), say)
        hire = partial(_hire, ray, open_policy, plan, needs)
        async with Crew(hire, workers=plan.workers, each=plan.each, say=say) as crew:
            yield crew
    finally:
        if ours:
            ray.shutdown()


@asynccontextmanager
async def executor_for(
    source: PolicySource, plan: RayPlan | None, concurrency: int
) -> AsyncIterator[Executor]:
    """`ray_crew` by `plan`; without one, this process with `concurrency` jobs at once."""
    if plan is not None:
        async with ray_crew(opener(source), plan) as crew:
            yield crew
        return
    async with load_policy(source) as loaded:
        yield Here(loaded.policy, concurrency)


class Workshop:
    """In a worker's process: the policy, and the work on it."""

    def __init__(self, open_policy: Opener):
        self._open_policy = open_policy
        self._opened = AsyncExitStack()
        self._policy: Policy

    async def start(self) -> dict[str, Any]:
        """Load the policy; returns `identity_of` it."""
        self._policy = await self._opened.enter_async_context(self._open_policy())
        return identity_of(self._policy)

    async def template(self) -> Template:
        return self._policy.template

    async def run(self, job: Job[Result]) -> Result:
        return await job.run(self._policy)


class RayWorker:
    """A `Worker` whose `Workshop` is a Ray actor."""

    def __init__(self, ray: Any, actor: Any):
        self._ray = ray
        self._actor = actor

    async def start(self) -> dict[str, Any]:
        identity: dict[str, Any] = await self._answer(self._actor.start.remote())
        return identity

    async def template(self) -> Template:
        template: Template = await self._answer(self._actor.template.remote())
        return template

    async def run(self, job: Job[Result]) -> Result:
        result: Result = await self._answer(self._actor.run.remote(job))
        return result

    def kill(self) -> None:
        self._ray.kill(self._actor)

    async def _answer(self, reference: Awaitable[Any]) -> Any:
        """What an actor's method returns. Raises what it raised as it was raised, WorkerDiedError where the
        actor or what it returned is gone."""
        gone = self._ray.exceptions
        try:
            return await reference
        except gone.RayTaskError as error:
            if isinstance(error.cause, StropError):
                raise error.cause from None
            raise
        except gone.OutOfMemoryError as error:
            raise WorkerDiedError("killed by Ray, for its node was out of memory") from error
        except (gone.RayActorError, gone.ObjectLostError) as error:
            raise WorkerDiedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Ray's many lines in one; the last says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split(" Some common causes", 1)[0].rstrip(".") if lines else type(error).__name__


def _needs(plan: RayPlan, *, has_gpus: bool) -> dict[str, float]:
    """What one worker takes, by Ray's names."""
    gpus = plan.gpus if plan.gpus is not None else plan.spread * has_gpus
    return {"CPU": plan.cpus, "GPU": gpus}


def _hire(ray: Any, open_policy: Opener, plan: RayPlan, needs: Mapping[str, float]) -> RayWorker:
    actor = ray.remote(Workshop).options(
        num_cpus=needs["CPU"],
        num_gpus=needs["GPU"],
        max_concurrency=plan.each + 1,  # one to spare, for questions
        scheduling_strategy="SPREAD",
    )
    return RayWorker(ray, actor.remote(open_policy))


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError(f"Ray is not installed ({error}): pip install 'strop[ray]'") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """To the cluster at `address`, or one of this process's own. Raises RunError."""
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    own = {"include_dashboard": False} if address == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level="WARNING", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error
    finally:
        # Ray ends the process on SIGTERM its own way: without closing anything.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


def _knock(address: str) -> None:
    """Raises RunError where nobody is at HOST:PORT; Ray would take minutes to find that out."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal()) or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"no Ray cluster at {address}: {error}") from error


def _tell_of_room(
    needs: Mapping[str, float], workers: int, has: Mapping[str, float], say: Callable[[str], None]
) -> None:
    """Workers the cluster has no room for wait until it has; nobody should wonder why."""
    room = int(min((has.get(name, 0) // need for name, need in needs.items() if need), default=workers))
    if room < workers:
        wants = " and ".join(f"{need:g} {name}" for name, need in needs.items() if need)
        say(
            f"the Ray cluster has room for {room} of {workers} workers ({wants} each); the others wait for it"
        )
