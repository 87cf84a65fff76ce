"""Health: asked of the engine after a failure, and after a request whose time was over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from strop.agent.chat import Ids
from strop.agent.engines.base import Chunk, Completion
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import create_app
from strop.agent.server.guard import Limits
from strop.agent.server.pulse import Pulse
from strop.agent.server.run import running
from strop.tools.errors import EngineError
from tests.agent.server.serving import ask, served_over

CHAT = "/v1/chat/completions"
WAYS = pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream": True, "n": 2}])


class Moody(ScriptedEngine):
    """Answers, fails at once, or does neither."""

    def __init__(self, mood: str, **options: Any):
        super().__init__(self._said, **options)
        self.mood = mood

    def _said(self, _: Ids) -> str | EngineError:
        return EngineError("the engine died") if self.mood == "fails" else "fine"

    async def generate(self, *args: Any, **options: Any) -> list[Completion]:
        await self._hang()
        return await super().generate(*args, **options)

    async def stream(self, *args: Any, **options: Any) -> AsyncIterator[Chunk]:
        await self._hang()
        async for chunk in super().stream(*args, **options):
            yield chunk

    async def _hang(self) -> None:
        if self.mood == "hangs":
            await asyncio.Event().wait()


@WAYS
async def test_an_engine_that_let_a_requests_time_run_out_is_asked(fields: dict[str, Any]) -> None:
    engine = Moody("hangs")
    source = served_over(engine, limits=Limits(seconds=0.2), keep_alive=0.05)
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health")).status_code == 200
        assert "no answer within 0.2 s" in (await http.post(CHAT, json=ask(**fields))).text
        engine.mood = "fails"
        assert (await http.get("/health")).status_code == 503
        engine.mood = "answers"
        assert (await http.get("/health")).status_code == 200
        assert len(engine.requests) == 2  # both are probes: what hung was never counted


@WAYS
@pytest.mark.parametrize("alive", [True, False])
async def test_a_client_that_leaves_says_nothing_of_the_engine(fields: dict[str, Any], alive: bool) -> None:
    engine = Moody("answers" if alive else "fails")
    async with running(create_app(served_over(engine))) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post(CHAT, json=ask())).is_success == alive
        engine.mood = "hangs"
        with pytest.raises(httpx.ReadTimeout):
            await http.post(CHAT, json=ask(**fields), timeout=0.2)
        await left(http)
        engine.mood = "fails"
        assert (await http.get("/health")).is_success == alive


async def left(http: httpx.AsyncClient) -> None:
    """Wait until the server has noticed that all but this client are gone."""
    async with asyncio.timeout(5):
        while "strop_requests_in_flight 1.0" not in (await http.get("/metrics")).text:
            await asyncio.sleep(0.01)


async def test_a_success_meanwhile_counts_for_more_than_a_probe_that_failed() -> None:
    pulse = Pulse(served_over(Moody("fails", latency=0.1)).first.policy)
    pulse.doubt("no answer within 600 s")
    checking = asyncio.create_task(pulse.check())
    await asyncio.sleep(0.02)
    with pulse.watching():
        pass
    assert await checking is None
    pulse.doubt("no answer within 600 s")
    assert await pulse.check() == "the engine died"
