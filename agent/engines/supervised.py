"""An engine that is started again when it dies.

An engine process can be killed, run out of memory or hit a bug, and takes every running request with it.
Those requests fail; then a new engine is started with the adapters the old one had, while requests are
refused with an error that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from strop.agent.engines.base import Chunk, Completion, Engine, EngineInfo, Sampling
from strop.tools.errors import EngineDeadError, EngineError, StropError

MOST_STARTS = 5
"""Starts without a request served between them, after which no more is tried."""
PAUSE_SECONDS = 1.0
"""Before the start after the first that failed; it doubles with every further one."""


class SupervisedEngine:
    """An `Engine` around those that `start` makes."""

    def __init__(
        self,
        engine: Engine,
        start: Callable[[], Awaitable[Engine]],
        say: Callable[[str], None] = lambda _: None,
        *,
        pause: float = PAUSE_SECONDS,
    ):
        """`engine` is the first, `start` makes others like it; `say` is told of deaths and starts; `pause`
        is in seconds."""
        self._engine = engine
        self._start = start
        self._say = say
        self._pause = pause
        self._adapters: dict[str, Path] = {}
        self._restarting: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def trouble(self) -> str | None:
        """Why no request can be served now; None where they can."""
        if self._restarting is not None and not self._restarting.done():
            return "the engine died and is being started again"
        if self._failures >= MOST_STARTS:
            return f"the engine died {self._failures} times in a row and is not started again"
        return None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        with self._watched() as engine:
            return await engine.generate(prompt_ids, sampling, adapter=adapter)

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        with self._watched() as engine:
            async for chunk in engine.stream(prompt_ids, sampling, adapter=adapter):
                yield chunk

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        with self._watched() as engine:
            return await engine.score(prompt_ids, completion_ids, adapter=adapter)

    async def load_adapter(self, name: str, path: Path) -> None:
        with self._watched() as engine:
            await engine.load_adapter(name, path)
        self._adapters[name] = path

    async def unload_adapter(self, name: str) -> None:
        self._adapters.pop(name, None)
        with self._watched() as engine:
            await engine.unload_adapter(name)

    async def close(self) -> None:
        self._closed = True
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self._engine.close()

    @contextmanager
    def _watched(self) -> Iterator[Engine]:
        """The engine, around one request. Raises EngineError where there is none."""
        if (trouble := self.trouble) is not None:
            raise EngineError(trouble)
        engine = self._engine
        try:
            yield engine
        except EngineDeadError:
            self._replace(engine)
            raise
        else:
            self._failures = 0

    def _replace(self, dead: Engine) -> None:
        """Start another in the background, once however many requests `dead` fails."""
        starting = self._restarting is not None and not self._restarting.done()
        if dead is self._engine and not starting and not self._closed:
            self._say("the engine died; starting it again")
            self._restarting = asyncio.ensure_future(self._restart())

    async def _restart(self) -> None:
        await _closed_quietly(self._engine)
        while self._failures < MOST_STARTS:
            self._failures += 1
            try:
                engine = await self._start()
                for name, path in self._adapters.items():
                    await engine.load_adapter(name, path)
            except StropError as error:
                self._say(f"start {self._failures} of {MOST_STARTS} failed: {error}")
                await asyncio.sleep(self._pause * 2 ** (self._failures - 1))
            else:
                self._engine = engine
                self._say("the engine runs again")
                return
        self._say(str(self.trouble))


async def _closed_quietly(engine: Engine) -> None:
    """Free what a dead engine still holds, whatever it says about that."""
    try:
        await engine.close()
    except Exception:  # noqa: BLE001  # it is dead: nothing it raises is news
        return
