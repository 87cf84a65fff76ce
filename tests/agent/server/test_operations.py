"""Health, versions, metrics, and how a server takes its address and leaves it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from strop.agent.chat import Ids
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import create_app
from strop.agent.server.guard import Limits
from strop.agent.server.run import bind, running, url_of
from strop.tools.errors import EngineError, UsageError
from tests.agent.server.serving import ONE_CALL, WEATHER, ask, engine_that_says, refined, served_over


async def test_models_and_version() -> None:
    source = served_over(engine_that_says("x", context_length=512))
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        (card,) = (await http.get("/v1/models")).json()["data"]
        assert (await http.get("/v1/models/test-model")).json() == card
        version = (await http.get("/version")).json()
    assert card == {
        "id": "test-model",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "strop",
        "root": "test-model",
        "parent": None,
        "max_model_len": 512,
    }
    assert version["engine"] == "scripted"
    assert version["version"].count(".") == 2


async def test_health_follows_the_engine_down_and_up_again() -> None:
    down = asyncio.Event()

    def script(_: Ids) -> str | EngineError:
        return EngineError("the engine died") if down.is_set() else "fine"

    source = served_over(ScriptedEngine(script))
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health")).json() == {"status": "ok"}
        down.set()
        assert (await http.post("/v1/chat/completions", json=ask())).status_code == 503
        reply = await http.get("/health")
        assert (reply.status_code, "the engine died" in reply.text) == (503, True)
        down.clear()
        assert (await http.get("/health")).status_code == 200
        assert (await http.post("/v1/chat/completions", json=ask(stream=True))).status_code == 200


async def test_metrics_count_what_was_served() -> None:
    app = create_app(refined(engine_that_says(ONE_CALL)))
    async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
        await http.post("/v1/chat/completions", json=ask(tools=[WEATHER]))
        await http.post("/v1/chat/completions", json=ask(stream=True))
        await http.post("/v1/chat/completions", json=ask(n=0))
        await http.get("/a/b/c")
        page = (await http.get("/metrics")).text.splitlines()
    for line in (
        'strop_requests_total{route="/v1/chat/completions",status="200"} 2.0',
        'strop_requests_total{route="/v1/chat/completions",status="400"} 1.0',
        'strop_requests_total{route="other",status="404"} 1.0',
        'strop_request_seconds_count{route="/v1/chat/completions"} 3.0',
        "strop_requests_in_flight 1.0",
        "strop_refinement_rounds_total 2.0",
        'strop_answers_total{stop_reason="equal"} 1.0',
        'strop_answers_total{stop_reason="off"} 1.0',
        f'strop_tokens_total{{kind="completion"}} {2 * (len(ONE_CALL) + 1) + 5}.0',
    ):
        assert line in page


async def test_refused_requests_are_counted_by_their_route() -> None:
    app = create_app(served_over(engine_that_says("x"), limits=Limits(requests=0)))
    async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/v1/chat/completions", json=ask())).status_code == 429
        assert (await http.post("/a/b/c")).status_code == 429
        app.state.keeper.draining = True
        assert (await http.post("/v1/completions", json={})).status_code == 503
        page = (await http.get("/metrics")).text
    for line in (
        'strop_requests_total{route="/v1/chat/completions",status="429"} 1.0',
        'strop_requests_total{route="other",status="429"} 1.0',
        'strop_requests_total{route="/v1/completions",status="503"} 1.0',
    ):
        assert line in page


async def test_the_first_token_of_a_stream_is_no_comment() -> None:
    app = create_app(refined(engine_that_says(ONE_CALL), delay=0.3, keep_alive=0.02))
    async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
        reply = await http.post("/v1/chat/completions", json=ask(stream=True, tools=[WEATHER]))
        page = (await http.get("/metrics")).text
    assert reply.text.startswith(": strop refining")
    assert "strop_first_token_seconds_count 1.0" in page
    assert float(page.partition("strop_first_token_seconds_sum ")[2].split()[0]) >= 0.3


async def test_two_apps_count_apart() -> None:
    pages = []
    for _ in range(2):
        app = create_app(served_over(engine_that_says("x")))
        async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
            await http.post("/v1/chat/completions", json=ask())
            pages.append((await http.get("/metrics")).text)
    assert all('strop_answers_total{stop_reason="off"} 1.0' in page for page in pages)


async def test_running_leaves_signals_alone_and_gives_the_port_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with running(create_app(served_over(engine_that_says("x")))) as url:
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        port = urlsplit(url).port
    assert port is not None
    bind("127.0.0.1", port).close()


def test_an_address_that_is_taken_is_named_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=rf"127\.0\.0\.1:{port}: .*in use.*--port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("a" * 99, 1)]
)
def test_an_address_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on {host}"):
        bind(host, port)


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_urls_are_what_a_client_can_use(host: str, url: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with bind(host, 0) as listening:
        assert url_of(listening).startswith(url)


SERVER = """
import asyncio
from strop.agent.server.app import create_app
from strop.agent.server.run import bind, run_server
from tests.agent.server.serving import engine_that_says, served_over

async def serve():
    served = served_over(engine_that_says("one two three four", latency=0.2))
    with bind("127.0.0.1", 0) as listening:
        await run_server(create_app(served), listening)
    print("the engine can be closed", flush=True)

asyncio.run(serve())
"""


async def announced_url(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while "Ready" not in (line := (await process.stderr.readline()).decode()):
            assert line, "the server ended before it was ready"
    return line.split(" at ")[1].split("/v1")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_requests_finish_and_returns_to_the_caller(number: signal.Signals) -> None:
    root = str(Path(__file__).parents[3])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root, "COLUMNS": "200"},
    )
    url = await announced_url(process)
    async with (
        httpx.AsyncClient(base_url=url) as http,
        http.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as stream,
    ):
        lines = stream.aiter_lines()
        first = await anext(lines)
        process.send_signal(number)
        rest = [line async for line in lines]
    out, _ = await process.communicate()
    chunks = [json.loads(line[6:]) for line in [first, *rest] if line.startswith("data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == "one two three four"
    assert rest[-2] == "data: [DONE]"
    assert (process.returncode, out.decode()) == (0, "the engine can be closed\n")
