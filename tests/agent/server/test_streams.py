"""A stream's deltas, joined, are the reply; leaving it frees the engine; errors end it aloud."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.engines.scripted import Failure, ScriptedEngine
from strop.agent.server.app import Served, create_app
from strop.agent.server.run import running
from strop.tools.errors import EngineError, UsageError
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall
from tests.agent.server.serving import (
    LIMA,
    ONE_CALL,
    OSLO,
    TWO_CALLS,
    WEATHER,
    ask,
    engine_that_says,
    events,
    joined,
    refined,
    served,
    served_over,
    whole,
)

STRICT: dict[str, Any] = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CALLS = st.lists(
    st.builds(
        ToolCall,
        st.sampled_from(["get_weather", "a.b"]),
        st.dictionaries(st.text("abc_", min_size=1, max_size=5), VALUES, max_size=3),
    ),
    min_size=1,
    max_size=3,
)
PROSE = st.text(st.sampled_from('a{[`<☀🙂\n"}'), max_size=12) | st.just("```json\n")


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, str]:
    """(a format, a text of a model that writes calls in it): prose, calls, thoughts, and halves of them."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    try:
        calls = FORMATS[name].render(draw(CALLS))
    except UsageError:  # not every format can write every call
        calls = FORMATS[name].render([LIMA, OSLO])
    thoughts = draw(st.sampled_from(["", "", "<think>\nhm </think>\n", "<think>"]))
    text = thoughts + draw(PROSE) + calls + draw(PROSE)
    keep = draw(st.just(len(text)) | st.integers(0, len(text)))
    # What spells the scripted model's own special ids would be them.
    return name, text[:keep].replace("<|s", "<|S").replace("<|e", "<|E")


async def post(app: Any, body: dict[str, Any]) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.post("/v1/chat/completions", json=body)


async def both_ways(source: Served, body: dict[str, Any]) -> tuple[Any, Any]:
    app = create_app(source)
    reply, stream = await post(app, body), await post(app, {**body, "stream": True})
    assert (reply.status_code, stream.status_code) == (200, 200), reply.text
    *chunks, last = events(stream.content)
    assert last == "[DONE]"
    return joined(chunks), whole(reply.json())


@settings(max_examples=150, deadline=None)
@given(
    answers(),
    st.integers(1, 40),
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.sampled_from([[WEATHER], [STRICT]]),
            "stop": st.sampled_from(["`", "\n\n", ["}", "a☀"]]),
            "max_tokens": st.integers(1, 60),
            "parallel_tool_calls": st.just(False),
        },
    ),
)
def test_deltas_joined_are_the_reply(answer: tuple[str, str], chunk: int, fields: dict[str, Any]) -> None:
    call_format, text = answer
    engine = engine_that_says(text, chunk=chunk, structures=False)  # so that strict tools are called wrongly
    source = served_over(engine, call_format=call_format)
    streamed, reply = asyncio.run(both_ways(source, ask(**fields)))
    assert streamed == reply


@pytest.mark.parametrize("fields", [{"n": 3}, {"logprobs": True}, {"tools": [WEATHER]}])
async def test_so_they_are_where_the_answer_is_settled_first(fields: dict[str, Any]) -> None:
    for source in (served_over(engine_that_says(TWO_CALLS)), refined(engine_that_says(ONE_CALL))):
        streamed, reply = await both_ways(source, ask(**fields))
        assert streamed == reply


async def test_prose_is_sent_while_the_engine_is_still_writing() -> None:
    engine = engine_that_says("word " * 40, latency=0.01)
    async with (
        running(create_app(served_over(engine))) as url,
        httpx.AsyncClient() as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=ask(stream=True)) as stream,
    ):
        async for line in stream.aiter_lines():
            if "word" in line:
                break
        assert engine.active == 1


async def test_arguments_are_sent_while_the_engine_is_still_writing() -> None:
    text = FORMATS["fenced_json"].render([ToolCall("get_weather", {"city": "Llanfair " * 40})])
    engine = engine_that_says(text, latency=0.01)
    async with (
        running(create_app(served_over(engine))) as url,
        httpx.AsyncClient() as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=ask(stream=True, tools=[WEATHER])) as stream,
    ):
        async for line in stream.aiter_lines():
            if "Llan" in line:
                break
        assert engine.active == 1


async def settles(engine: ScriptedEngine, cancelled: int) -> None:
    """Wait until the engine has seen that many cancellations."""
    async with asyncio.timeout(5):
        while engine.cancelled < cancelled or engine.active:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fields", [{}, {"n": 2}])
async def test_a_client_that_leaves_a_stream_frees_the_engine(fields: dict[str, Any]) -> None:
    engine = engine_that_says("word " * 1000, latency=0.3 if fields else 0.01)
    async with running(create_app(served_over(engine, keep_alive=0.05))) as url, httpx.AsyncClient() as http:
        async with http.stream(
            "POST", f"{url}/v1/chat/completions", json=ask(stream=True, **fields)
        ) as stream:
            await anext(stream.aiter_lines())
        await settles(engine, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_its_reply_frees_the_engine(stream: bool) -> None:
    engine = engine_that_says("late", latency=30)
    async with running(create_app(served_over(engine))) as url, httpx.AsyncClient() as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"{url}/v1/chat/completions", json=ask(stream=stream), timeout=0.2)
        await settles(engine, 1)
        page = (await http.get(f"{url}/metrics")).text
    assert 'strop_requests_total{route="/v1/chat/completions",status="499"} 1.0' in page


async def test_a_client_that_leaves_while_refining_frees_the_engine() -> None:
    engine = engine_that_says(ONE_CALL, latency=30)
    source = refined(engine, keep_alive=0.02)
    async with running(create_app(source)) as url, httpx.AsyncClient() as http:
        body = ask(stream=True, tools=[WEATHER])
        async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as stream:
            assert await anext(stream.aiter_lines()) == ": strop refining"
        await settles(engine, 1)


async def test_an_engine_that_fails_before_the_first_event_is_503() -> None:
    app = create_app(served({"Weather in Lima?": EngineError("out of memory")}))
    for body in (ask(), ask(stream=True), ask(stream=True, n=2)):
        reply = await post(app, body)
        assert reply.status_code == 503
        assert reply.json()["error"] == {
            "message": "out of memory",
            "type": "server_error",
            "param": None,
            "code": "engine_error",
        }
        assert reply.headers["retry-after"] == "1"


async def test_an_engine_that_fails_in_mid_stream_ends_it_with_an_error() -> None:
    app = create_app(served({"Weather in Lima?": Failure(EngineError("out of memory"), after="It is ")}))
    stream = await post(app, ask(stream=True))
    *chunks, last = events(stream.content)
    assert stream.status_code == 200
    assert chunks[1]["choices"][0]["delta"] == {"content": "It is "}
    assert last["error"]["message"] == "out of memory"


async def test_a_refiner_that_fails_is_503() -> None:
    source = refined(ScriptedEngine({"Weather in Lima?": EngineError("out of memory")}))
    reply = await post(create_app(source), ask(tools=[WEATHER], n=3))
    assert (reply.status_code, reply.json()["error"]["message"]) == (503, "out of memory")
