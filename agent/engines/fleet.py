"""Several servers behind one engine: health-checked, and each request sent to where its prefix is cached.

Every backend remembers the prompts it was given, as hashes of leading blocks. A request goes to the healthy
backend that has most of its prompt, where that is at least half of it; else to the one with the fewest
requests. So the check turns of a refinement and the later turns of a conversation, which begin with what came
before, go back to the cache that holds it, while new conversations spread out even if all begin with the same
system message. A backend that cannot be reached is left out until its health check succeeds again; what it
had not begun to answer is asked elsewhere, and so is what one has no room for. A backend that comes back
without the fleet's adapters gets them again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from strop.agent.engines.base import Chunk, Completion, EngineInfo, Sampling, closable
from strop.agent.engines.endpoint import EndpointEngine
from strop.tools.errors import EndpointError, EngineError, StropError, UsageError

T = TypeVar("T")

BLOCK = 32
"""Ids in a block of a remembered prompt."""
MOST_BLOCKS = 200_000
"""Blocks remembered for each backend; the least recently used are forgotten."""
CHECK_SECONDS = 5.0
"""Between two health checks, unless told otherwise, and the longest wait for one."""


@dataclass(eq=False)
class Backend:
    """One server."""

    engine: EndpointEngine
    trouble: str | None = None
    """Why it is left out; None where it is not."""
    active: int = 0
    """Requests in flight."""
    served: int = 0
    """Requests sent to it so far."""
    _known: OrderedDict[int, None] = field(default_factory=OrderedDict)

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.engine.info.detail

    def known_ids(self, blocks: Sequence[int]) -> int:
        """How many leading ids of a prompt with these blocks it was given before."""
        for count, block in enumerate(blocks):
            if block not in self._known:
                return count * BLOCK
        return len(blocks) * BLOCK

    def remember(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > MOST_BLOCKS:
            self._known.popitem(last=False)


class FleetEngine:
    """An `Engine` over servers that serve the same model."""

    def __init__(self, engines: Sequence[EndpointEngine], *, check_seconds: float = CHECK_SECONDS):
        """`check_seconds` pass between two health checks. Raises UsageError where there are no engines."""
        if not engines:
            raise UsageError("a fleet needs at least one backend")
        self.backends = tuple(Backend(engine) for engine in engines)
        infos = [engine.info for engine in engines]
        self._info = replace(
            infos[0],
            kind="fleet",
            context_length=min(info.context_length for info in infos),
            structures=all(info.structures for info in infos),
            detail=f"{len(engines)} backends: {', '.join(info.detail for info in infos)}",
        )
        self._check_seconds = check_seconds
        self._adapters: dict[str, Path] = {}
        self._changing = asyncio.Lock()
        self._checking: asyncio.Task[None] | None = None

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def trouble(self) -> str | None:
        """Why no request can be served now; None where they can."""
        if all(backend.trouble for backend in self.backends):
            return "; ".join(f"{backend.url}: {backend.trouble}" for backend in self.backends)
        return None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        return await self._asked(
            prompt_ids, lambda engine: engine.generate(prompt_ids, sampling, adapter=adapter)
        )

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        last: EndpointError | None = None
        for backend in self._candidates(prompt_ids):
            begun = False
            try:
                with self._sent_to(backend):
                    chunks = closable(backend.engine.stream(prompt_ids, sampling, adapter=adapter))
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                    return
            except EndpointError as error:
                if begun or not _may_go_elsewhere(error):
                    raise
                last = error
        raise self._nowhere(last)

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        return await self._asked(
            prompt_ids, lambda engine: engine.score(prompt_ids, completion_ids, adapter=adapter)
        )

    async def load_adapter(self, name: str, path: Path) -> None:
        """On every backend; `path` must exist where they run. Where one refuses, none keeps it."""
        loaded: list[Backend] = []
        async with self._changing:
            try:
                for backend in self.backends:
                    await backend.engine.load_adapter(name, path)
                    loaded.append(backend)
            except StropError:
                await asyncio.gather(
                    *(backend.engine.unload_adapter(name) for backend in loaded), return_exceptions=True
                )
                raise
            self._adapters[name] = path

    async def unload_adapter(self, name: str) -> None:
        """On every backend that has it. Where one fails, the others have forgotten it all the same."""
        async with self._changing:
            self._adapters.pop(name, None)
            ends = await asyncio.gather(
                *(_unload(backend, name) for backend in self.backends), return_exceptions=True
            )
        for error in ends:
            if error is not None:
                raise error

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        for backend in self.backends:
            await backend.engine.close()

    async def _asked(self, prompt_ids: Sequence[int], ask: Callable[[EndpointEngine], Awaitable[T]]) -> T:
        """What the first backend that can be reached, and has room, answers."""
        last: EndpointError | None = None
        for backend in self._candidates(prompt_ids):
            try:
                with self._sent_to(backend):
                    return await ask(backend.engine)
            except EndpointError as error:
                if not _may_go_elsewhere(error):
                    raise
                last = error
        raise self._nowhere(last)

    def _nowhere(self, last: EndpointError | None) -> EngineError:
        """Why no backend has answered, of which `last` is what the last one said."""
        if last is not None and last.busy:
            return last
        return EngineError(f"no backend can be reached: {self.trouble}")

    def _candidates(self, prompt_ids: Sequence[int]) -> Iterator[Backend]:
        """Backends to try, one after the other; each is told apart only when the one before has failed."""
        if self._checking is None:
            self._checking = asyncio.ensure_future(self._check())
        blocks = _blocks(prompt_ids)
        tried: list[Backend] = []
        while healthy := [one for one in self.backends if one.trouble is None and one not in tried]:
            best = max(healthy, key=lambda backend: (backend.known_ids(blocks), -backend.active))
            if best.known_ids(blocks) * 2 < len(prompt_ids):
                best = min(healthy, key=lambda backend: (backend.active, backend.served))
            best.remember(blocks)
            tried.append(best)
            yield best

    @contextmanager
    def _sent_to(self, backend: Backend) -> Iterator[None]:
        """Around a request. A connection that fails puts the backend out."""
        backend.active += 1
        backend.served += 1
        try:
            yield
        except EndpointError as error:
            if error.unreachable:
                backend.trouble = str(error)
            raise
        finally:
            backend.active -= 1

    async def _check(self) -> None:
        """Ask every backend for its health, for ever."""
        while True:
            await asyncio.gather(*map(self._examine, self.backends))
            await asyncio.sleep(self._check_seconds)

    async def _examine(self, backend: Backend) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await backend.engine.check_health()
            await self._complete(backend)
        except TimeoutError:
            backend.trouble = f"no answer to a health check within {CHECK_SECONDS:g} s"
        except StropError as error:
            backend.trouble = str(error)
        else:
            backend.trouble = None

    async def _complete(self, backend: Backend) -> None:
        """Load those of the fleet's adapters that a backend does not have: it was started again."""
        if not self._adapters:
            return
        async with self._changing:
            known = await backend.engine.served_names()
            for name, path in self._adapters.items():
                if name not in known:
                    await backend.engine.load_adapter(name, path)


async def _unload(backend: Backend, name: str) -> None:
    if name in await backend.engine.served_names():
        await backend.engine.unload_adapter(name)


def _may_go_elsewhere(error: EndpointError) -> bool:
    return error.unreachable or error.busy


def _blocks(prompt_ids: Sequence[int]) -> list[int]:
    """A hash for every leading block, each of all ids up to its end."""
    key, blocks = 0, []
    for end in range(BLOCK, len(prompt_ids) + 1, BLOCK):
        key = hash((key, tuple(prompt_ids[end - BLOCK : end])))
        blocks.append(key)
    return blocks
