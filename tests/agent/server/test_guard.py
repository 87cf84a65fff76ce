"""Requests are bounded in number and in time, wherever they hang; a server says when it cannot serve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from strop.agent.engines.base import Chunk
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import create_app
from strop.agent.server.guard import Limits
from strop.agent.server.run import running
from tests.agent.server.serving import ask, engine_that_says, events, refined, served_over

CHAT = "/v1/chat/completions"


class Flood(ScriptedEngine):
    """Never stops writing."""

    left = False

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Chunk]:
        try:
            while True:
                yield Chunk(tuple(b"word " * 1000))
                await asyncio.sleep(0)
        finally:
            self.left = True


class Ailing(ScriptedEngine):
    """Says what it is told to of its state."""

    ails: str | None = None

    @property
    def trouble(self) -> str | None:
        return self.ails


def slow_engine() -> Any:
    return engine_that_says("word " * 400, latency=0.05, chunk=2)


async def test_requests_over_the_limit_are_refused_with_when_to_come_back() -> None:
    engine = slow_engine()
    source = served_over(engine, limits=Limits(requests=3, seconds=1))
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        replies = await asyncio.gather(*(http.post(CHAT, json=ask(stream=True)) for _ in range(8)))
        statuses = sorted(reply.status_code for reply in replies)
        assert statuses == [200] * 3 + [429] * 5
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert (await http.get("/health")).status_code == 200
        assert (await http.post(CHAT, json=ask(max_tokens=1))).status_code == 200  # there is room again
    assert engine.active == 0


async def test_a_request_whose_time_is_over_is_answered_and_frees_the_engine() -> None:
    for engine, begins in ((slow_engine(), True), (engine_that_says("x", latency=5), False)):
        source = served_over(engine, limits=Limits(seconds=0.3))
        async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
            stream = await http.post(CHAT, json=ask(stream=True))
            if begins:
                assert events(stream.content)[-1]["error"]["code"] == "timeout"
                assert "strop_stream_errors_total 1.0" in (await http.get("/metrics")).text
            else:
                reply = await http.post(CHAT, json=ask(n=2))
                for one in (stream, reply):
                    assert (one.status_code, one.json()["error"]["code"]) == (504, "timeout")
        assert engine.active == 0


async def test_refining_is_bounded_too() -> None:
    engine = engine_that_says("x")
    source = refined(engine, delay=5, limits=Limits(seconds=0.3), keep_alive=0.1)
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        stream = await http.post(
            CHAT, json=ask(stream=True, tools=[{"type": "function", "function": {"name": "f"}}])
        )
        assert events(stream.content)[-1]["error"]["code"] == "timeout"


async def test_a_body_that_never_comes_is_given_up() -> None:
    source = served_over(engine_that_says("x"), limits=Limits(seconds=0.3))
    async with running(create_app(source)) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = await asyncio.wait_for(reader.read(100), 5)
        assert answer.startswith(b"HTTP/1.1 504")
        writer.close()


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    engine = Flood(lambda _: "x", context_length=10**9)
    source = served_over(engine, limits=Limits(seconds=30, write_seconds=0.3))
    async with running(create_app(source)) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = b'{"messages": [{"role": "user", "content": "?"}], "stream": true, "max_tokens": 100000000}'
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        writer.write(head + body)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while not engine.left:
                await asyncio.sleep(0.05)
        writer.close()


async def test_headers_are_bounded() -> None:
    source = served_over(engine_that_says("x"))
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health", headers={"x": "y" * 30_000})).status_code == 200
        reply = await http.get("/health", headers={"x": "y" * 200_000})
        assert reply.status_code == 400


async def test_ready_says_why_not() -> None:
    engine = Ailing(lambda _: "x")
    app = create_app(served_over(engine))
    async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/ready")).json() == {"status": "ready"}
        engine.ails = "the engine is being started again"
        for reply in (await http.get("/ready"), await http.post(CHAT, json=ask())):
            assert (reply.status_code, engine.ails in reply.text) == (503, True)
            assert reply.headers["retry-after"]
        engine.ails = None
        app.state.keeper.draining = True
        assert (await http.get("/ready")).json()["error"]["code"] == "shutting_down"
        assert (await http.post(CHAT, json=ask())).status_code == 503


async def test_pages_of_other_origins_are_refused_unless_named() -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    for origins, allowed in (((), None), (("https://app.example",), "https://app.example")):
        source = served_over(engine_that_says("x"), cors_origins=origins)
        async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
            reply = await http.options(CHAT, headers=preflight)
            assert reply.headers.get("access-control-allow-origin") == allowed
            # What a browser sends without asking first is not answered either, whatever it calls the host.
            for origin in ("https://app.example", "https://evil.example"):
                simple = {"Origin": origin, "Content-Type": "text/plain", "Host": "evil.example"}
                reply = await http.post(CHAT, content=json.dumps(ask()), headers=simple)
                assert reply.status_code == (200 if origin == allowed else 403), reply.text
            assert (await http.post(CHAT, json=ask())).status_code == 200
