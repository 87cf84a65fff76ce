"""The one policy a run has open at a time.

An engine takes a minute to start and gigabytes to hold, so stages share one as long as they ask for the same
adapter, none is started for stages that are done already, and none is held while the model trains.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from strop.agent.loading import Loaded, PolicySource, load_policy
from strop.refine.executor import Executor, Here
from strop.refine.ray_workers import RayPlan, opener, ray_crew


class Workbench:
    """Opens the policy that is asked for, closing another one first. Close it when done."""

    def __init__(self, source: PolicySource):
        """`source` says everything but the adapter."""
        self.source = source
        self._stack = AsyncExitStack()
        self._loaded: Loaded | None = None
        self._adapter: Path | None = None

    async def policy(self, adapter: Path | None) -> Loaded:
        """The model with `adapter`, its engine running. Raises what `load_policy` raises."""
        if self._loaded is None or adapter != self._adapter:
            await self.close()
            source = replace(self.source, adapter=adapter)
            self._loaded = await self._stack.enter_async_context(load_policy(source))
            self._adapter = adapter
        return self._loaded

    @asynccontextmanager
    async def executor(
        self, adapter: Path | None, plan: RayPlan | None, concurrency: int
    ) -> AsyncIterator[Executor]:
        """The model with `adapter` for a collection: on Ray by `plan`, while no engine runs here, or else in
        this process, with `concurrency` tasks at once. Raises what `ray_crew` does."""
        if plan is None:
            yield Here((await self.policy(adapter)).policy, concurrency)
            return
        await self.close()
        async with ray_crew(opener(replace(self.source, adapter=adapter)), plan) as crew:
            yield crew

    async def close(self) -> None:
        """Free the engine; `policy` may be called again."""
        self._loaded = None
        await self._stack.aclose()
