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
"""Asked, for one token, where the last request failed or its time was over."""
PROBE_SECONDS = 10.0
"""Longest wait for its answer."""


class Pulse:
    """Alive while requests succeed. After one failed, or its time was over, `check` asks the engine itself
    until it answers."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self._failure: str | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a request to the engine: notes how it went, and lets errors pass.

        One that is cancelled says nothing of the engine: its client may have left.
        """
        try:
            yield
        except EngineError as error:
            self._failure = str(error)
            raise
        else:
            self._failure = None

    def doubt(self, reason: str) -> None:
        """Have the next `check` ask the engine: a request's time was over, and it may hang."""
        self._failure = reason

    async def check(self) -> str | None:
        """None where the engine is alive, else what is wrong with it."""
        if self._failure is not None:
            failure = await self._probe()
            # Where a request succeeded meanwhile, the probe may just have stood in a queue.
            self._failure = self._failure and failure
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
