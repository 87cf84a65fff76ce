"""The remote answerer, against a real HTTP server on this machine that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.answer import StopReason, Usage
from strop.agent.engines.base import FinishReason, Sampling
from strop.agent.remote import RemoteChat, chat_url
from strop.agent.wire import NOT_NATIVE, SafeNames, is_safe
from strop.tools.errors import EndpointError, RefusedError, TooLongError, UsageError
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Task
from tests.agent.endpoints import RAIN, TASK, TOOL, Endpoint, Says, ask, completion, native, serving


async def test_native_calls_are_taken_as_they_are() -> None:
    with serving(RAIN) as endpoint:
        answer = await ask(endpoint, api_key="secret")
    assert answer.calls == (ToolCall("weather.get", {"city": "Köln"}),)
    assert (answer.content, answer.final.repairs, answer.final.problem) == (None, (), None)
    assert answer.usage == Usage(7, 3, 2)
    assert endpoint.paths == ["/v1/chat/completions"]
    assert endpoint.headers[0]["authorization"] == "Bearer secret"
    assert endpoint.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "Rain in Köln?"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "tools": [TOOL.to_openai()],
    }


async def test_calls_written_as_text_are_read_and_said_to_be() -> None:
    text = '```json\n{"name": "weather.get", "arguments": {"city": "Köln"}}\n```'
    with serving(completion({"content": text})) as endpoint:
        answer = await ask(endpoint)
    assert answer.calls == (ToolCall("weather.get", {"city": "Köln"}),)
    assert answer.final.repairs[0] == NOT_NATIVE
    assert answer.final.text == text


async def test_names_in_a_text_are_the_tools_own() -> None:
    text = '```json\n{"name": "weather_get", "arguments": {"city": "Köln"}}\n```'
    for safe in (False, True):
        with serving(completion({"content": text})) as endpoint:
            answer = await ask(endpoint, safe_names=safe)
        assert answer.calls == (ToolCall("weather.get", {"city": "Köln"}),)


async def test_prose_stays_prose_and_a_cut_answer_says_so() -> None:
    with serving(completion({"content": "I cannot"}, "length")) as endpoint:
        answer = await ask(endpoint)
    assert (answer.calls, answer.content, answer.final.repairs) == ((), "I cannot", ())
    assert answer.final.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("arguments", ['{"city": "Kö', "[1]", "[" * 5000, "9" * 5000])
async def test_arguments_that_are_no_object_make_the_answer_unreadable(arguments: str) -> None:
    with serving(native("weather.get", arguments)) as endpoint:
        answer = await ask(endpoint)
    assert answer.calls == ()
    assert answer.final.problem is not None


async def test_odd_but_readable_arguments_are_repaired_aloud() -> None:
    with serving(native("weather.get", {"city": "Köln"})) as endpoint:
        given_object = await ask(endpoint)
    with serving(native("weather.get", "")) as endpoint:
        empty = await ask(endpoint)
    assert given_object.calls[0].arguments == {"city": "Köln"}
    assert empty.calls[0].arguments == {}
    assert given_object.final.repairs
    assert empty.final.repairs


async def test_it_tries_again_after_failures_that_pass() -> None:
    busy, broken = Says("slow down", 429, {"Retry-After": "0.02"}), Says("oops", 503)
    with serving(busy, broken, RAIN) as endpoint:
        answer = await ask(endpoint)
    assert answer.calls
    assert len(endpoint.bodies) == 3


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (Says('{"error": {"message": "CUDA is out of memory"}}', 500), "HTTP 500: CUDA is out of memory"),
        (Says("", 502), r"HTTP 502: \(empty body\)"),
        (Says("<html><body>Bad gateway</body></html>", 504), "HTTP 504: <html>"),
        (Says(RAIN.body, cut=5), "RemoteProtocolError"),
        (Says('{"error": {"message": "upstream is down", "code": 502}}'), "upstream is down"),
    ],
)
async def test_failures_that_stay_are_reported_with_url_status_and_excerpt(says: Says, words: str) -> None:
    with serving(says) as endpoint, pytest.raises(EndpointError, match=words) as caught:
        await ask(endpoint, attempts=2)
    assert f"{endpoint.url}/chat/completions" in str(caught.value)
    assert "tried 2 times" in str(caught.value)
    assert len(endpoint.bodies) == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "asked"),
    [({}, range(4, 40)), ({"Retry-After": "0"}, range(4, 40)), ({"Retry-After": "0.2"}, range(2, 3))],
)
async def test_a_busy_endpoint_is_waited_for_and_not_for_ever(headers: dict[str, str], asked: range) -> None:
    with (
        serving(Says("wait", 429, headers)) as endpoint,
        pytest.raises(EndpointError, match="HTTP 429: wait"),
    ):
        await ask(endpoint, attempts=1, patience=0.3)
    assert len(endpoint.bodies) in asked
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=0.5), usegmt=True)
    with serving(Says("", 529, {"Retry-After": soon}), Says("", 503), RAIN) as endpoint:
        assert (await ask(endpoint, attempts=1)).calls


async def test_requests_on_their_way_when_the_first_is_refused_are_asked_anew_too() -> None:
    text = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    refusal = Says(json.dumps({"error": {"message": text}}), 400, after=3)
    with serving(refusal, refusal, refusal, RAIN) as endpoint:
        async with RemoteChat(endpoint.url, "m") as remote:
            answers = await asyncio.gather(*(remote.answer(TASK, Sampling()) for _ in range(3)))
    assert all(answer.calls for answer in answers)
    assert ["max_tokens" in body for body in endpoint.bodies] == [True] * 3 + [False] * 3


async def test_an_endpoint_that_limits_and_samples_its_own_way_is_asked_so() -> None:
    refused = [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
        "Unsupported value: 'temperature' does not support 0 with this model.",
    ]
    says = [Says(json.dumps({"error": {"message": text}}), 400) for text in refused]
    told: list[str] = []
    with serving(*says, RAIN) as endpoint:
        async with RemoteChat(endpoint.url, "m", say=told.append) as remote:
            for _ in range(2):
                assert (await remote.answer(TASK, Sampling(max_tokens=9))).calls
    assert [body.get("temperature") for body in endpoint.bodies] == [0, 0, None, None]
    assert [body.get("max_completion_tokens") for body in endpoint.bodies] == [None, 9, 9, 9]
    assert "takes no temperature" in told[0]
    assert len(told) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Invalid schema for function 'get_temperature': keyword 'foo' is not supported."},
        {"message": "The temperature of the function's schema is not supported.", "param": "tools"},
    ],
)
async def test_a_refusal_of_something_else_does_not_turn_sampling_off(error: dict[str, str]) -> None:
    with serving(Says(json.dumps({"error": error}), 400), RAIN) as endpoint:
        async with RemoteChat(endpoint.url, "m") as remote:
            with pytest.raises(RefusedError):
                await remote.answer(TASK, Sampling(temperature=0.7))
            await remote.answer(TASK, Sampling(temperature=0.7))
    assert [body["temperature"] for body in endpoint.bodies] == [0.7, 0.7]


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (Says("content filter", 400), RefusedError),
        (Says("Failed to parse input", 500), RefusedError),
        (Says('{"choices": []}'), RefusedError),
        (Says('{"error": {"message": "blocked", "code": "policy"}}'), RefusedError),
        (
            Says('{"choices": [{"message": {"tool_calls": [{"type": "custom", "custom": {}}]}}]}'),
            RefusedError,
        ),
        (Says("who are you", 401), EndpointError),
        (Says("bad gateway", 502), EndpointError),
    ],
)
async def test_refusals_of_one_request_are_told_from_those_of_all(says: Says, kind: type[Exception]) -> None:
    with serving(says) as endpoint, pytest.raises(EndpointError) as caught:
        await ask(endpoint, attempts=1)
    assert type(caught.value) is kind


async def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "It "}, {"type": "audio"}, {"type": "text", "text": "rains."}]
    with serving(completion({"content": parts})) as endpoint:
        assert (await ask(endpoint)).content == "It rains."


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (Says('{"error": {"message": "bad key"}}', 401), "HTTP 401: bad key; does it want an API key"),
        (Says("no such route", 404), "HTTP 404: no such route; is the URL right"),
        (Says("wait", 429, {"Retry-After": "3600"}), "HTTP 429: wait"),
        (Says("<html>hello</html>"), "no chat completion .*not JSON.*<html>hello"),
        (Says('{"choices": [{"mess'), "not JSON"),
        (Says(b"\xff\xfe\x00garbage"), "not JSON"),
        (Says("[" * 100_000), "not JSON"),
        (Says('{"choices": []}'), "choices"),
        (Says('{"choices": [{"message": {"content": 3}}]}'), r"choices\.0\.message\.content"),
        (Says('{"error": {"message": "quota"}}'), "quota"),
        (Says("[]"), "no chat completion"),
    ],
)
async def test_what_cannot_get_better_is_reported_at_once(says: Says, words: str) -> None:
    with serving(says) as endpoint, pytest.raises(EndpointError, match=words):
        await ask(endpoint)
    assert len(endpoint.bodies) == 1


async def test_nobody_listening() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=r"ConnectError.*is the server up"):
        await ask(Endpoint([], port=port), attempts=2)


async def test_an_endpoint_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint([], port=silent.getsockname()[1])
        with pytest.raises(RefusedError, match=r"no answer within 0\.05 s"):
            await ask(endpoint, timeout=0.05)


async def test_a_prompt_too_long_is_told_apart() -> None:
    refusal = {"error": {"message": "too many tokens", "code": "context_length_exceeded"}}
    with serving(Says(json.dumps(refusal), 400)) as endpoint, pytest.raises(TooLongError, match="too many"):
        await ask(endpoint)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This model's maximum context length is 100 tokens. However, you requested 200"},
        {"message": "The input (200 tokens) is longer than the model's context length (100 tokens)."},
        {"message": "the request exceeds the available context size, try increasing it"},
        {"message": "request (200 tokens) is too large", "type": "exceed_context_size_error"},
        {"message": "prompt is too long: 200 tokens > 100 maximum"},
        {"message": "The input token count (200) exceeds the maximum number of tokens allowed (100)."},
    ],
)
async def test_other_servers_words_for_it(error: dict[str, str]) -> None:
    with serving(Says(json.dumps({"error": error}), 400)) as endpoint, pytest.raises(TooLongError):
        await ask(endpoint)


async def test_names_an_endpoint_refuses_are_sent_safely_and_mapped_back() -> None:
    refusal = Says('{"error": {"message": "Invalid \'tools[0].function.name\': pattern"}}', 400)
    with serving(refusal, native("weather_get", '{"city": "Köln"}')) as endpoint:
        async with RemoteChat(endpoint.url, "m") as remote:
            first = await remote.answer(TASK, Sampling())
            await remote.answer(TASK, Sampling())
    assert first.calls[0].name == "weather.get"
    sent = [body["tools"][0]["function"]["name"] for body in endpoint.bodies]
    assert sent == ["weather.get", "weather_get", "weather_get"]


async def test_refinement_is_asked_for_and_its_account_kept() -> None:
    account = {"rounds": 2, "stop_reason": "equal", "repairs": ["a comma"], "problem": None, "new": 1}
    with serving(completion({"content": "no"}, strop=account)) as endpoint:
        answer = await ask(endpoint, refine="2")
    assert endpoint.bodies[0]["strop"] == {"refine": 2}
    assert (answer.rounds, answer.stop_reason) == (2, StopReason.EQUAL)
    assert answer.final.repairs == ("a comma",)


@pytest.mark.parametrize(
    ("refine", "says"),
    [("adaptive", RAIN), ("off", completion({"content": "no"}, strop={"rounds": 1, "stop_reason": "equal"}))],
)
async def test_refinement_other_than_asked_is_refused(refine: str, says: Says) -> None:
    with serving(says) as endpoint, pytest.raises(UsageError, match="refine"):
        await ask(endpoint, refine=refine)


async def test_what_http_cannot_ask_is_refused_and_the_rest_is_sent() -> None:
    with serving(RAIN) as endpoint:
        for impossible in (Sampling(n=2), Sampling(logprobs=True), Sampling(stop_token_ids=(1,))):
            with pytest.raises(UsageError):
                await ask(endpoint, impossible)
        await ask(endpoint, Sampling(temperature=0.5, top_p=0.9, seed=0, stop=("END",)))
    (body,) = endpoint.bodies
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0.5, 0.9, 0, ["END"])


async def test_half_a_surrogate_pair_goes_out_and_comes_back() -> None:
    half = chr(0xD83D)
    task = Task("t", ({"role": "user", "content": half},), (TOOL,))
    with serving(completion({"content": half})) as endpoint:
        async with RemoteChat(endpoint.url, "m") as remote:
            answer = await remote.answer(task, Sampling())
    assert endpoint.bodies[0]["messages"][0]["content"] == half
    assert answer.content == "?"


@pytest.mark.parametrize(
    ("given_url", "posted"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h:1/", "http://h:1/v1/chat/completions"),
        ("https://h/v1/", "https://h/v1/chat/completions"),
        ("http://h/api/v3", "http://h/api/v3/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
    ],
)
def test_where_it_posts(given_url: str, posted: str) -> None:
    assert chat_url(given_url) == posted


@pytest.mark.parametrize("wrong", ["localhost:8000", "ftp://h/v1", "", "http://", "http://[::1"])
def test_addresses_that_are_none(wrong: str) -> None:
    with pytest.raises(UsageError, match="endpoint"):
        chat_url(wrong)


@pytest.mark.parametrize("key", ["a b", "schlüssel", "a\nb"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(UsageError, match="API key"):
        RemoteChat("http://h", "m", api_key=key)


tool_names = st.lists(
    st.one_of(st.text(max_size=80), st.from_regex(r"[a_.]{1,3}", fullmatch=True)), unique=True
)


@given(tool_names)
def test_safe_names_are_safe_different_and_reversible(names: list[str]) -> None:
    safe = SafeNames([ToolSpec(name, "", {}) for name in names])
    sent = [safe.send(name) for name in names]
    assert all(is_safe(name) for name in sent)
    assert len(set(sent)) == len(names)
    assert [safe.receive(name) for name in sent] == names
    assert [safe.send(name) for name in names if is_safe(name)] == [name for name in names if is_safe(name)]


async def test_safe_names_reach_calls_already_made() -> None:
    made = {"id": "c", "type": "function", "function": {"name": "weather.get", "arguments": "{}"}}
    told = {"role": "tool", "tool_call_id": "c", "content": "dry"}
    task = Task(
        "t", (*TASK.messages, {"role": "assistant", "content": None, "tool_calls": [made]}, told), (TOOL,)
    )
    with serving(completion({"content": "No."})) as endpoint:
        async with RemoteChat(endpoint.url, "m", safe_names=True) as remote:
            await remote.answer(task, Sampling())
    assert endpoint.bodies[0]["messages"][1]["tool_calls"][0]["function"]["name"] == "weather_get"
    assert task.messages[1]["tool_calls"][0]["function"]["name"] == "weather.get"


async def test_in_prompt_mode_tools_calls_and_results_are_written_out() -> None:
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "weather.get", "arguments": '{"city": "Oslo"}'},
    }
    messages = (
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "name": "weather.get", "content": "rain"},
    )
    text = '```json\n{"name": "weather.get", "arguments": {"city": "Bergen"}}\n```'
    with serving(completion({"content": text})) as endpoint:
        async with RemoteChat(endpoint.url, "m", prompt_mode=True) as remote:
            answer = await remote.answer(replace(TASK, messages=messages), Sampling())
    (body,) = endpoint.bodies
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert "weather.get" in body["messages"][0]["content"]
    assert '"Oslo"' in body["messages"][2]["content"]
    assert body["messages"][3]["content"] == "Result of weather.get: rain"
    assert answer.calls == (ToolCall("weather.get", {"city": "Bergen"}),)
