"""Clients as people have them, unmodified, against the real server with the real model."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.paths.served import Server, strop_serve

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(600),
    # Some of the clients keep their connections open for ever.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MODEL, KEY = "qwen2.5-coder-0.5b", "a-secret"
QUESTION = "What is the weather in Oslo?"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": QUESTION}],
    "tools": [WEATHER],
}


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """What clients leave open is closed before tests that want nothing left open."""
    yield
    import litellm

    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with strop_serve(MODEL, "--refine", "off", key=KEY) as running:
        yield running


def is_right(calls: Any) -> bool:
    [call] = calls
    return bool(
        call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Oslo"}
    )


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as made:
        yield made


def test_openai(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    reply = client.chat.completions.create(**ASKED)
    assert is_right(reply.choices[0].message.tool_calls)
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.usage.completion_tokens > 5
    conversation = [
        *ASKED["messages"],
        reply.choices[0].message,
        {
            "role": "tool",
            "tool_call_id": reply.choices[0].message.tool_calls[0].id,
            "content": "19 °C, sunny",
        },
    ]
    told = client.chat.completions.create(**{**ASKED, "messages": conversation})
    assert told.choices[0].message.content or told.choices[0].message.tool_calls
    text = client.completions.create(model=MODEL, prompt="1 2 3 4 5", max_tokens=4, temperature=0)
    assert text.choices[0].text


def test_openai_forces_and_parses(client: Any) -> None:
    class Answer(BaseModel):
        city: str
        celsius: int

    parsed = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "It is 19 degrees Celsius in Oslo. Answer in JSON."}],
        response_format=Answer,
    )
    assert parsed.choices[0].message.parsed == Answer(city="Oslo", celsius=19)
    forced = client.chat.completions.create(
        **{**ASKED, "messages": [{"role": "user", "content": "Tell me a joke."}]}, tool_choice="required"
    )
    calls = forced.choices[0].message.tool_calls
    assert calls  # one at least, by OpenAI's definition; nothing says what a joke calls for
    assert all(isinstance(json.loads(call.function.arguments)["city"], str) for call in calls)


async def test_openai_async_and_streaming(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        async with client.chat.completions.stream(**ASKED) as events:
            async for _ in events:
                pass
            final = await events.get_final_completion()
        assert is_right(final.choices[0].message.tool_calls)
        refined = await client.chat.completions.create(
            **{**ASKED, "model": f"strop:{MODEL}"}, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in refined]
        assert chunks[-1].usage.completion_tokens_details.check_tokens >= 1
        assert chunks[-2].choices[0].strop["rounds"] >= 1


def test_a_wrong_key_is_the_clients_own_error(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong") as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.chat.completions.create(**ASKED)


def test_langchain(server: Server) -> None:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    def get_weather(city: str) -> str:
        """Current weather in a city."""
        return f"sunny in {city}"

    chat = ChatOpenAI(
        model=MODEL, base_url=f"{server.url}/v1", api_key=KEY, extra_body={"strop": {"refine": 1}}
    )
    bound, right = chat.bind_tools([tool(get_weather)]), [("get_weather", {"city": "Oslo"})]
    message = bound.invoke(QUESTION)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [
        ("get_weather", {"city": "Oslo"})
    ]
    assert message.usage_metadata["output_tokens"] > 5
    whole = None
    for chunk in bound.stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == right
    assert chat.bind_tools([tool(get_weather)], tool_choice="get_weather").invoke("Hello").tool_calls


async def test_pydantic_ai(server: Server) -> None:
    from pydantic_ai import Agent, UsageLimitExceeded, UsageLimits
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Place(BaseModel):
        city: str
        country: str

    asked: list[str] = []

    def get_weather(city: str) -> str:
        """Current weather in a city."""
        asked.append(city)
        return "19 °C, sunny"

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key=KEY))
    agent = Agent(model, tools=[get_weather])
    with suppress(UsageLimitExceeded):  # told the weather, a model this small asks for it again
        await agent.run(QUESTION, usage_limits=UsageLimits(request_limit=2))
    assert asked[0] == "Oslo"
    place = await Agent(model, output_type=Place).run(
        "Oslo is the capital of Norway."
    )  # tool_choice: required
    assert isinstance(place.output, Place)
    assert place.output.city == "Oslo"


async def test_openai_agents_sdk(server: Server) -> None:
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

    set_tracing_disabled(True)

    def get_weather(city: str) -> str:
        """Current weather in a city."""
        return f"sunny in {city}"

    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        agent = Agent(
            name="weather",
            model=OpenAIChatCompletionsModel(model=MODEL, openai_client=client),
            tools=[function_tool(get_weather)],  # with a strict schema, as the SDK makes them
            tool_use_behavior="stop_on_first_tool",
        )
        assert (await Runner.run(agent, QUESTION)).final_output == "sunny in Oslo"
        streamed = Runner.run_streamed(agent, QUESTION)
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output == "sunny in Oslo"


def test_litellm(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else importing it waits for the internet
    import litellm

    reply = litellm.completion(
        model=f"openai/{MODEL}",
        api_base=f"{server.url}/v1",
        api_key=KEY,
        messages=ASKED["messages"],
        tools=[WEATHER],
    )
    assert is_right(reply.choices[0].message.tool_calls)


@pytest.mark.parametrize("name", ["01_serve_and_call.py", "04_langchain.py"])
def test_the_examples_of_clients(server: Server, name: str) -> None:
    words = [sys.executable, str(Path(__file__).parents[2] / "examples" / name), f"{server.url}/v1"]
    environment = {**os.environ, "STROP_API_KEY": KEY}
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert "get_weather(" in done.stdout
    assert "Oslo" in done.stdout
    nobody = subprocess.run(
        [*words[:2], "http://127.0.0.1:9/v1"], capture_output=True, text=True, check=False
    )
    assert (nobody.returncode, "Traceback" in nobody.stderr) == (1, False)


def test_what_a_probe_and_a_scraper_see(server: Server) -> None:
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/ready").status_code == 200
        page = http.get("/metrics").text
    assert "strop_tokens_total" in page
    assert "vllm:prefix_cache_hits_total" in page
