"""The official client against the running server."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import openai
import pytest

from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import Served, create_app
from strop.agent.server.run import running
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
    refined,
    served,
    served_over,
)


def client(url: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def create(served: Served, **fields: Any) -> Any:
    async with running(create_app(served)) as url, client(url) as openai_client:
        return await openai_client.chat.completions.create(**ask(**fields))


async def stream(served: Served, **fields: Any) -> list[Any]:
    async with running(create_app(served)) as url, client(url) as openai_client:
        chunks = await openai_client.chat.completions.create(**ask(stream=True, **fields))
        return [chunk async for chunk in chunks]


async def test_a_call_comes_back_as_a_tool_call() -> None:
    reply = await create(served_over(engine_that_says(ONE_CALL)), tools=[WEATHER])
    (choice,) = reply.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, choice.message.role) == (
        "tool_calls",
        None,
        "assistant",
    )
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function",
        LIMA.name,
        LIMA.arguments,
    )
    assert call.id.startswith("call_")
    assert reply.model == "test-model"
    assert reply.strop == choice.strop
    assert reply.strop == {
        "rounds": 0,
        "stop_reason": "off",
        "p_stop": None,
        "repairs": [],
        "unknown_tools": [],
        "problem": None,
    }


async def test_usage_counts_prompt_answer_and_cache() -> None:
    engine = engine_that_says("Yes.")
    async with running(create_app(served_over(engine))) as url, client(url) as openai_client:
        first, second = [await openai_client.chat.completions.create(**ask()) for _ in range(2)]
    assert first.usage.completion_tokens == len("Yes.") + 1
    assert first.usage.prompt_tokens == len(engine.requests[0].prompt_ids)
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert (first.usage.prompt_tokens_details.cached_tokens, first.id) != (
        second.usage.prompt_tokens_details.cached_tokens,
        second.id,
    )
    assert second.usage.prompt_tokens_details.cached_tokens > 0


async def test_several_calls_and_only_the_first_of_them() -> None:
    source = served_over(engine_that_says(TWO_CALLS))
    both = (await create(source, tools=[WEATHER])).choices[0]
    assert [json.loads(call.function.arguments) for call in both.message.tool_calls] == [
        LIMA.arguments,
        OSLO.arguments,
    ]
    assert len({call.id for call in both.message.tool_calls}) == 2
    one = (await create(source, tools=[WEATHER], parallel_tool_calls=False)).choices[0]
    assert [json.loads(call.function.arguments) for call in one.message.tool_calls] == [LIMA.arguments]
    assert one.strop["repairs"] == ["left out 1 more calls: parallel_tool_calls is false"]


@pytest.mark.parametrize("fields", [{}, {"tools": []}, {"tools": [WEATHER], "tool_choice": "none"}])
async def test_without_tools_text_is_content_as_it_is(fields: dict[str, Any]) -> None:
    engine = engine_that_says(ONE_CALL)
    choice = (await create(served_over(engine), **fields)).choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        ONE_CALL,
        None,
        "stop",
    )
    assert "get_weather" not in engine.requests[0].text


async def test_a_tool_that_was_not_offered_is_returned_and_named() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = (await create(served_over(engine_that_says(ONE_CALL)), tools=[other])).choices[0]
    assert choice.message.tool_calls[0].function.name == "get_weather"
    assert choice.strop["unknown_tools"] == ["get_weather"]


STRICT: dict[str, Any] = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
WRONG = FORMATS["fenced_json"].render([ToolCall("get_weather", {"city": 5})])


async def test_a_strict_tool_is_called_by_its_schema_or_not_at_all() -> None:
    source = served_over(engine_that_says(WRONG, WRONG, ONE_CALL))
    calls = (await create(source, tools=[WEATHER])).choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city": 5}']
    calls = (await create(source, tools=[STRICT])).choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city": "Lima"}']
    prose = (await create(served_over(engine_that_says("Lima? Sure.")), tools=[STRICT])).choices[0]
    assert prose.message.content == "Lima? Sure."


async def test_what_slips_past_the_constraint_of_a_strict_tool_is_content() -> None:
    unlabelled = WRONG.replace("```json", "```")
    choice = (await create(served_over(engine_that_says(unlabelled)), tools=[STRICT])).choices[0]
    assert (choice.message.content, choice.message.tool_calls) == (unlabelled, None)
    assert "must be of type string" in choice.strop["problem"]


async def test_a_required_call_is_made_and_a_named_one_is_that_one() -> None:
    clock = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
    timed = FORMATS["fenced_json"].render([ToolCall("get_time", {})])
    source = served_over(engine_that_says(*["Sure."] * 5, ONE_CALL, ONE_CALL, TWO_CALLS, timed))
    free = (await create(source, tools=[WEATHER, clock])).choices[0]
    assert free.message.tool_calls is None
    forced = (await create(source, tools=[WEATHER, clock], tool_choice="required")).choices[0]
    assert forced.message.tool_calls[0].function.name == "get_weather"
    choice = {"type": "function", "function": {"name": "get_time"}}
    named = (await create(source, tools=[WEATHER, clock], tool_choice=choice)).choices[0]
    assert [call.function.name for call in named.message.tool_calls] == ["get_time"]
    assert named.finish_reason == "tool_calls"


async def test_an_answer_in_json_keeps_to_the_schema_that_came_with_it() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    source = served_over(engine_that_says("Five.", '{"n": "5"}', '{"n": 5}', '["x"]'))
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    assert (await create(source, response_format=wanted)).choices[0].message.content == '{"n": 5}'
    any_object = (await create(source, response_format={"type": "json_object"})).choices[0]
    assert any_object.message.content == '{"n": "5"}'


async def test_alternatives_of_every_token_are_reported() -> None:
    source = served_over(engine_that_says("yes", "yes", "yes", "no"))
    choice = (await create(source, logprobs=True, top_logprobs=2)).choices[0]
    first = choice.logprobs.content[0]
    assert [top.token for top in first.top_logprobs] == ["y", "n"]
    assert math.exp(first.top_logprobs[1].logprob) == pytest.approx(0.25)


async def test_what_cannot_be_read_is_content_with_the_problem_named() -> None:
    broken = '```json\n{"name": "get_weather", "arguments": {"ci'
    choice = (await create(served_over(engine_that_says(broken)), tools=[WEATHER])).choices[0]
    assert (choice.message.content, choice.message.tool_calls) == (broken, None)
    assert choice.strop["problem"]


async def test_the_limit_is_length_and_what_the_context_leaves() -> None:
    source = served_over(engine_that_says("one two three"))
    choice = (await create(source, max_completion_tokens=3)).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one", "length")
    prompt = len(source.first.policy.template.prompt_ids(ask()["messages"], ()))
    narrow = served_over(engine_that_says("one two three", context_length=prompt + 3))
    choice = (await create(narrow, max_tokens=100_000)).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one", "length")


async def test_a_stop_text_ends_the_answer_and_is_not_part_of_it() -> None:
    source = served_over(engine_that_says("one two three"))
    choice = (await create(source, stop=" t")).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one", "stop")
    chunks = await stream(source, stop=["zzz", " t"])
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one"


async def test_choices_and_seeds() -> None:
    source = served_over(engine_that_says("yes", "no"))
    fields = {"n": 16, "temperature": 1.0, "seed": 2**40 + 7}
    first, second = [await create(source, **fields) for _ in range(2)]
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in second.choices]
    assert set(texts) == {"yes", "no"}
    assert [choice.index for choice in first.choices] == list(range(16))


async def test_logprobs_are_those_of_the_sampled_tokens() -> None:
    choice = (await create(served_over(engine_that_says("aé")), logprobs=True, top_logprobs=0)).choices[0]
    found = choice.logprobs.content
    assert [(token.token, token.logprob, token.bytes) for token in found] == [
        ("a", 0.0, [97]),
        ("�", 0.0, None),
        ("�", 0.0, None),
    ]


async def test_what_is_sampled_is_what_was_asked_for() -> None:
    engine = engine_that_says("yes")
    await create(served_over(engine))
    await create(served_over(engine), temperature=0.5, top_p=0.9, seed=-1, max_tokens=9, stop=["x"])
    default, asked = [request.sampling for request in engine.requests]
    assert default is not None
    assert asked is not None
    assert (default.temperature, default.max_tokens, default.seed) == (0.0, 1024, None)
    assert (asked.temperature, asked.top_p, asked.seed, asked.max_tokens, asked.stop) == (
        0.5,
        0.9,
        2**31 - 1,
        9,
        ("x",),
    )


async def test_a_conversation_with_calls_and_results_goes_on() -> None:
    source = served({"It is 19 degrees.": "Warm, then."})
    async with running(create_app(source)) as url, client(url) as openai_client:
        first = await create(served_over(engine_that_says(ONE_CALL)), tools=[WEATHER])
        message = first.choices[0].message
        messages = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Lima?"}]},
            message.model_dump(),
            {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It is 19 degrees."},
        ]
        reply = await openai_client.chat.completions.create(model="test-model", messages=messages)
    assert reply.choices[0].message.content == "Warm, then."
    engine = source.first.policy.engine
    assert isinstance(engine, ScriptedEngine)
    assert ONE_CALL in engine.requests[0].text
    assert "Be brief." in engine.requests[0].text


async def test_streamed_prose_arrives_in_pieces_with_usage_last() -> None:
    chunks = await stream(
        served_over(engine_that_says("It is ☀ in Lima.")), stream_options={"include_usage": True}
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "".join(texts) == "It is ☀ in Lima."
    assert len(texts) > 2
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len("It is ☀ in Lima.".encode()) + 1
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].strop["rounds"] == 0


async def test_streamed_calls_open_with_id_and_name_then_give_arguments() -> None:
    chunks = await stream(served_over(engine_that_says(f"Sure.\n{TWO_CALLS}")), tools=[WEATHER])
    deltas = [c.choices[0].delta for c in chunks]
    parts = [part for delta in deltas for part in delta.tool_calls or ()]
    for index, call in enumerate((LIMA, OSLO)):
        head, *rest = [part for part in parts if part.index == index]
        assert head.id
        assert (head.function.name, head.function.arguments) == ("get_weather", "")
        assert not any(part.id or part.function.name for part in rest)
        assert json.loads("".join(part.function.arguments for part in rest)) == call.arguments
    assert [part.index for part in parts] == sorted(part.index for part in parts)
    assert "".join(delta.content or "" for delta in deltas).startswith("Sure.")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_clients_own_stream_helper_accumulates_the_calls() -> None:
    async with (
        running(create_app(served_over(engine_that_says(TWO_CALLS)))) as url,
        client(url) as openai_client,
        openai_client.chat.completions.stream(**ask(tools=[WEATHER])) as events,
    ):
        async for _ in events:
            pass
        final = await events.get_final_completion()
    assert [json.loads(call.function.arguments) for call in final.choices[0].message.tool_calls] == [
        LIMA.arguments,
        OSLO.arguments,
    ]


async def test_refinement_is_the_servers_setting_unless_the_request_says() -> None:
    source = refined(engine_that_says(ONE_CALL))
    reply = await create(source, tools=[WEATHER])
    assert reply.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert (reply.strop["rounds"], reply.strop["stop_reason"]) == (2, "equal")
    assert reply.usage.prompt_tokens_details.cached_tokens >= 7
    for setting in ("off", 0):
        off = await create(source, tools=[WEATHER], extra_body={"strop": {"refine": setting}})
        assert off.strop["rounds"] == 0
    prose = await create(source)
    assert prose.strop["stop_reason"] == "off"


async def test_refined_streams_keep_alive_then_send_only_the_answer() -> None:
    source = refined(engine_that_says(ONE_CALL), delay=0.1, keep_alive=0.02)
    chunks = await stream(source, tools=[WEATHER], n=2, stream_options={"include_usage": True})
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "tool_calls",
        "tool_calls",
    ]
    assert {c.choices[0].index for c in chunks if c.choices} == {0, 1}
    assert chunks[-1].usage.completion_tokens == 2 * (len(ONE_CALL) + 1 + 5)


def ask_synchronously(url: str) -> tuple[str, str, list[str]]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as openai_client:
        reply = openai_client.chat.completions.create(**ask())
        chunks = list(openai_client.chat.completions.create(**ask(stream=True)))
        models = [model.id for model in openai_client.models.list()]
    return (
        reply.choices[0].message.content,
        "".join(c.choices[0].delta.content or "" for c in chunks),
        models,
    )


async def test_the_synchronous_client() -> None:
    async with running(create_app(served_over(engine_that_says("Yes.")))) as url:
        assert await asyncio.to_thread(ask_synchronously, url) == ("Yes.", "Yes.", ["test-model"])


async def test_many_clients_get_their_own_answers() -> None:
    source = served({f"Question {index}": f"Answer {index}" for index in range(60)})

    async def one(openai_client: openai.AsyncOpenAI, index: int) -> str:
        messages = [{"role": "user", "content": f"Question {index}"}]
        if index % 2:
            reply = await openai_client.chat.completions.create(model="test-model", messages=messages)
            return str(reply.choices[0].message.content)
        chunks = await openai_client.chat.completions.create(
            model="test-model", messages=messages, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async with running(create_app(source)) as url, client(url) as openai_client:
        answers = await asyncio.gather(*(one(openai_client, index) for index in range(60)))
    assert answers == [f"Answer {index}" for index in range(60)]
