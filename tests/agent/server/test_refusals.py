"""Whatever is sent, the answer is OpenAI's error with the right status, and never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.server.app import create_app
from strop.agent.server.run import running
from tests.agent.server.serving import ONE_CALL, WEATHER, ask, engine_that_says, served_over

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "?"}


def app_that_says(text: str = ONE_CALL, **options: Any) -> FastAPI:
    return create_app(served_over(engine_that_says(text), **options))


async def send(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.request(method, path, **options)


def error_of(reply: httpx.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)


def call(arguments: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def strict(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{**USER, "role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [USER, {"role": "user", "content": 1}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "19"}]}, "messages[0]"),
        ({"messages": [{**USER, "tool_calls": call("{}")["tool_calls"]}]}, "messages[0]"),
        ({"messages": [{**USER, "audio": {}}]}, "messages[0].audio"),
        ({"messages": [call('{"a":' * 99 + "1" + "}" * 99)]}, "messages[0].tool_calls[0].function.arguments"),
        ({"messages": [call('{"a": "\\ud800"}')]}, "messages[0].tool_calls[0].function.arguments"),
        ({"n": 0}, "n"),
        ({"n": 10**30}, "n"),
        ({"n": "1"}, "n"),
        ({"n": True}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1]"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"required": 1}}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": named("get_time")}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"tools": [strict({"type": "object", "properties": {"a": {"oneOf": []}}})]},
            "tools[0].function.parameters",
        ),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"functions": []}, "functions"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"surprise": 1}, "surprise"),
        ({"strop": {"refine": -1}}, "strop.refine"),
        ({"strop": {"refine": "on"}}, "strop.refine"),
        ({"strop": {"refine": 17}}, "strop.refine"),
        ({"strop": {"refine": True}}, "strop.refine"),
        ({"strop": {"other": 1}}, "strop.other"),
    ],
)
async def test_a_wrong_field_is_named(fields: dict[str, Any], param: str | None) -> None:
    error = error_of(await send(app_that_says(), "POST", CHAT, json=ask(**fields)), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_fields_that_change_nothing_are_accepted() -> None:
    fields = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": True,
        "service_tier": "auto",
        "frequency_penalty": 0.0,
        "presence_penalty": 0,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "functions": None,
        "top_logprobs": 0,
        "logprobs": None,
        "stop": None,
        "tool_choice": "auto",
    }
    assert (await send(app_that_says(), "POST", CHAT, json=ask(**fields))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[]", b"1", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b'{"n": NaN}'],
)
async def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    error_of(await send(app_that_says(), "POST", CHAT, content=body), 400)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e999", "9" * 5000])
async def test_numbers_out_of_any_range_are_refused(number: str) -> None:
    body = json.dumps(ask(tools=[WEATHER], seed=0)).replace('"seed": 0', f'"seed": {number}')
    error_of(await send(app_that_says(), "POST", CHAT, content=body.encode()), 400)


async def test_a_prompt_that_does_not_fit_says_so() -> None:
    app = create_app(served_over(engine_that_says("x", context_length=50)))
    error = error_of(await send(app, "POST", CHAT, json=ask(messages=[{**USER, "content": "x" * 99}])), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


async def test_the_api_key_guards_the_api_and_not_the_health() -> None:
    app = app_that_says(api_keys=("other", "s3cret-ü"))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": b"Basic \xff\xfe"}):
        for method, path in (("GET", "/v1/models"), ("POST", CHAT)):
            reply = await send(app, method, path, headers=headers)
            assert error_of(reply, 401)["code"] == "invalid_api_key"
            assert reply.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": "Bearer s3cret-ü".encode()}
    assert (await send(app, "GET", "/v1/models", headers=right)).status_code == 200
    for path in ("/health", "/version", "/metrics"):
        assert (await send(app, "GET", path)).status_code == 200


async def test_unknown_models_routes_and_methods() -> None:
    app = app_that_says()
    error = error_of(await send(app, "POST", CHAT, json=ask(model="gpt-4o")), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "test-model" in error["message"]
    error_of(await send(app, "GET", "/v1/models/gpt-4o"), 404)
    error_of(await send(app, "GET", "/v2"), 404)
    reply = await send(app, "GET", CHAT)
    error_of(reply, 405)
    assert reply.headers["allow"] == "POST"


async def unannounced(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


async def test_a_body_over_the_limit_is_413_announced_or_not() -> None:
    app = app_that_says(max_body_bytes=10_000)
    reply = await send(app, "POST", CHAT, content=b" " * 20_000)
    assert error_of(reply, 413)["code"] == "request_too_large"
    error_of(await send(app, "POST", CHAT, content=unannounced(1_000_000)), 413)
    error_of(await send(app, "POST", CHAT, headers={"content-length": "9" * 5000}), 413)


async def test_the_running_server_refuses_as_the_app_does() -> None:
    app = app_that_says(max_body_bytes=1_000_000)
    async with running(app) as url, httpx.AsyncClient(base_url=url) as http:
        error_of(await http.post(CHAT, content=b"[" * 100_000), 400)
        error_of(await http.post(CHAT, content=b"\xff" * 100), 400)
        error_of(await http.post(CHAT, content=b" " * 1_000_001), 413)
        error_of(await http.post(CHAT, content=unannounced(1_200_000)), 413)
        assert (await http.post(CHAT, json=ask())).status_code == 200


async def test_the_official_client_raises_its_own_errors() -> None:
    async with (
        running(app_that_says(api_keys=("k",))) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as wrong,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as right,
    ):
        with pytest.raises(openai.AuthenticationError):
            await wrong.models.list()
        with pytest.raises(openai.NotFoundError):
            await right.chat.completions.create(**ask(model="other"))
        with pytest.raises(openai.BadRequestError, match="temperature") as caught:
            await right.chat.completions.create(**ask(temperature=3))
        assert caught.value.param == "temperature"


async def test_a_bug_is_500_in_the_same_shape() -> None:
    app = app_that_says()

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret")

    error = error_of(await send(app, "GET", "/bug"), 500)
    assert error["type"] == "server_error"
    assert "secret" not in error["message"]
    page = (await send(app, "GET", "/metrics")).text
    assert 'strop_requests_total{route="/bug",status="500"} 1.0' in page


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["user", "assistant", "tool", "system", "function", "text", "auto", "get_weather"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "function", "name", "tool_calls", "arguments", "text"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool"])},
    optional={
        "content": st.text(max_size=9) | ANYTHING,
        "tool_call_id": st.just("1"),
        "tool_calls": st.just(call("{}")["tool_calls"]) | ANYTHING,
        "name": ANYTHING,
    },
)
FUNCTION = st.fixed_dictionaries(
    {"name": st.just("get_weather") | st.text(max_size=5)},
    optional={
        "description": st.text(max_size=5) | ANYTHING,
        "parameters": st.dictionaries(st.sampled_from(["type", "properties", "required", "$ref"]), ANYTHING)
        | ANYTHING,
        "strict": st.booleans() | ANYTHING,
    },
)
TOOL = st.fixed_dictionaries({"type": st.just("function"), "function": FUNCTION})
FIELDS = [
    "tool_choice",
    "parallel_tool_calls",
    "n",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "max_tokens",
    "logprobs",
    "stream",
    "stream_options",
    "strop",
    "response_format",
    "logit_bias",
    "user",
    "metadata",
    "model",
    "anything_else",
]
BODY = st.builds(
    lambda body, more: {**body, **more},
    st.fixed_dictionaries(
        {"messages": st.lists(MESSAGE, max_size=3) | ANYTHING},
        optional={"tools": st.lists(TOOL, max_size=2) | ANYTHING},
    ),
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2),
)


@given(BODY)
def test_no_body_makes_a_500(body: dict[str, Any]) -> None:
    reply = asyncio.run(send(app_that_says(), "POST", CHAT, json=body))
    assert reply.status_code in (200, 400, 404), reply.text
    if reply.status_code != 200:
        error_of(reply, reply.status_code)


async def test_a_client_that_leaves_while_it_sends_is_no_error_of_ours() -> None:
    app = app_that_says()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [],
        "query_string": b"",
    }
    sent: list[dict[str, Any]] = []
    arrivals: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"mess', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return arrivals.pop(0)

    async def send_on(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send_on)
    assert sent[0]["status"] == 499
