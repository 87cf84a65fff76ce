"""Whether the engine is alive, learnt from the requests it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.tools.errors import EngineError, StropError
from strop.tools.task import Task

PROBE = Task("health", ({"role": "user", "content": "Hello"},), ())
"""Asked, for one token, where the last request failed."""
PROBE_SECONDS = 10.0
"""Longest wait for its answer."""


class Pulse:
    """Alive while requests succeed. After a failure, `check` asks the engine itself until it answers."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self._failure: str | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a request to the engine: notes how it went, and lets errors pass."""
        try:
            yield
        except EngineError as error:
            self._failure = str(error)
            raise
        else:
            self._failure = None

    async def check(self) -> str | None:
        """None where the engine is alive, else what is wrong with it."""
        if self._failure is not None:
            self._failure = await self._probe()
        return self._failure

    async def _probe(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._policy.complete(self._policy.prompt_ids(PROBE), Sampling(max_tokens=1))
        except TimeoutError:
            return f"no answer within {PROBE_SECONDS:g} s, after it failed"
        except StropError as error:
            return str(error)
        return None
