"""An engine that is started again when it dies.

An engine process can be killed, run out of memory or hit a bug, and takes every running request with it.
Those requests fail; then a new engine is started with the adapters the old one had, while requests are
refused with an error that says so. An adapter that cannot be loaded again is given up, not the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from strop.agent.engines.base import Chunk, Completion, Engine, EngineInfo, Sampling
from strop.tools.errors import EngineDeadError, EngineError

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
        self._given_up: str | None = None
        """Why no more starts are tried, once that is so."""
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def trouble(self) -> str | None:
        """Why no request can be served now; None where they can."""
        if self._given_up is None and self._engine.trouble is not None:
            self._replace(self._engine)  # it died while nobody asked it anything
        if self._is_restarting:
            return "the engine died and is being started again"
        return self._given_up

    @property
    def _is_restarting(self) -> bool:
        return self._restarting is not None and not self._restarting.done()

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
        if dead is self._engine and not self._is_restarting and not self._closed:
            self._say("the engine died; starting it again")
            self._restarting = asyncio.ensure_future(self._restart())

    async def _restart(self) -> None:
        await _closed_quietly(self._engine)
        while self._failures < MOST_STARTS:
            self._failures += 1
            try:
                self._engine = await self._another()
            except Exception as error:  # noqa: BLE001  # a bug in a start must not end the restarting unseen
                why = str(error) or type(error).__name__
                self._say(f"start {self._failures} of {MOST_STARTS} failed: {why}")
                await asyncio.sleep(self._pause * 2 ** (self._failures - 1))
            else:
                self._say("the engine runs again")
                return
        self._given_up = f"the engine died {self._failures} times in a row and is not started again"
        self._say(self._given_up)

    async def _another(self) -> Engine:
        """A new engine with those adapters of the old one that can still be loaded."""
        engine = await self._start()
        try:
            for name, path in list(self._adapters.items()):  # one may be unloaded meanwhile
                await self._load_again(engine, name, path)
        except BaseException:  # cancelled, or dead again
            await _closed_quietly(engine)
            raise
        return engine

    async def _load_again(self, engine: Engine, name: str, path: Path) -> None:
        """Or do without it. Raises EngineDeadError."""
        try:
            await engine.load_adapter(name, path)
        except EngineDeadError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the engine serves without it
            self._adapters.pop(name, None)
            self._say(f"adapter {name} could not be loaded again, requests for it fail: {error}")


async def _closed_quietly(engine: Engine) -> None:
    """Free what a dead engine still holds, whatever it says about that."""
    try:
        await engine.close()
    except Exception:  # noqa: BLE001  # it is dead: nothing it raises is news
        return
