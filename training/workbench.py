"""The one policy a run has open at a time.

An engine takes a minute to start and gigabytes to hold, so stages share one as long as they ask for the same
adapter, none is started for stages that are done already, and none is held while the model trains.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from strop.agent.loading import Loaded, PolicySource, load_policy


class Workbench:
    """Opens the policy that is asked for, closing another one first. Close it when done."""

    def __init__(self, source: PolicySource):
        """`source` says everything but the adapter."""
        self._source = source
        self._stack = AsyncExitStack()
        self._loaded: Loaded | None = None
        self._adapter: Path | None = None

    async def policy(self, adapter: Path | None) -> Loaded:
        """The model with `adapter`, its engine running. Raises what `load_policy` raises."""
        if self._loaded is None or adapter != self._adapter:
            await self.close()
            source = replace(self._source, adapter=adapter)
            self._loaded = await self._stack.enter_async_context(load_policy(source))
            self._adapter = adapter
        return self._loaded

    async def close(self) -> None:
        """Free the engine; `policy` may be called again."""
        self._loaded = None
        await self._stack.aclose()
