"""``/v1/completions``: what is said of tokens, and what is refused."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from strop.agent.engines.base import Chunk, Completion, FinishReason
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import create_app
from tests.agent.server.serving import engine_that_says, served_over


async def post(engine: ScriptedEngine, **body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(served_over(engine)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.post("/v1/completions", json={"prompt": "Well?", **body})


@pytest.mark.parametrize(("asked", "likeliest"), [(0, set()), (1, {"y"}), (2, {"y", "n"})])
async def test_the_drawn_token_is_among_the_alternatives_however_unlikely(
    asked: int, likeliest: set[str]
) -> None:
    engine = engine_that_says("yes", "yes", "yes", "no")
    reply = (await post(engine, logprobs=asked, n=16, temperature=1, seed=0)).json()
    firsts = {choice["text"]: choice["logprobs"] for choice in reply["choices"]}
    assert set(firsts) == {"yes", "no"}
    for text, logprobs in firsts.items():
        assert set(logprobs["top_logprobs"][0]) == likeliest | {text[0]}
        for token, value, top in zip(
            logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
        ):
            assert top[token] == value
    assert math.exp(firsts["no"]["token_logprobs"][0]) == pytest.approx(0.25)


class GivesUp(ScriptedEngine):
    """As engines do with requests that are aborted."""

    async def generate(self, *args: Any, **options: Any) -> list[Completion]:
        return [
            replace(one, finish_reason=FinishReason.ABORT) for one in await super().generate(*args, **options)
        ]

    async def stream(self, *args: Any, **options: Any) -> AsyncIterator[Chunk]:
        async for chunk in super().stream(*args, **options):
            over = chunk.finish_reason is not None
            yield replace(chunk, finish_reason=FinishReason.ABORT if over else None)


async def test_a_request_that_the_engine_gives_up_is_an_error() -> None:
    engine = GivesUp(lambda _: "some words")
    reply = await post(engine)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_error")
    assert "gave up" in reply.json()["error"]["message"]
    streamed = (await post(engine, stream=True)).text
    assert "gave up" in streamed
    assert '"abort"' not in streamed


async def test_a_prompt_that_does_not_fit_is_named() -> None:
    for prompt in ("x" * 99, ["x", "x" * 99]):
        reply = await post(engine_that_says("x", context_length=50), prompt=prompt)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (
            400,
            "context_length_exceeded",
            "prompt",
        )
        assert "99 tokens" in error["message"]
        assert "tools" not in error["message"]
