"""The endpoint engine against servers that behave like vLLM's, like others, and badly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from strop.agent.engines import open_engine
from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.agent.engines.endpoint import EndpointEngine
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.engines.scripted_model import END_ID
from strop.tools.errors import EndpointError, EngineError, ModelError, UsageError

TEMPLATE = ScriptedTemplate()
ASK = TEMPLATE.prompt_ids([{"role": "user", "content": "Is it raining?"}], ())
MODELS = {"data": [{"id": "m", "max_model_len": 500}]}

Handler = Callable[[dict[str, Any]], httpx.Response]


class CompletionsServer(httpx.AsyncBaseTransport):
    """``/v1/models`` and ``/v1/completions`` over a scripted engine, as vLLM answers them."""

    def __init__(self, *, ids: bool = True, handler: Handler | None = None, models: Any = MODELS):
        self.engine = ScriptedEngine({ASK: [("Yes.", 0.75), ("No.", 0.25)]})
        self.ids = ids
        self.handler = handler
        self.models = models
        self.requests: list[tuple[httpx.Request, dict[str, Any]]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        row = json.loads(await request.aread() or b"{}")
        self.requests.append((request, row))
        if request.url.path == "/v1/models":
            return httpx.Response(200, json=self.models)
        if self.handler is not None:
            return self.handler(row)
        if row.get("echo"):
            return httpx.Response(200, json=await self._echo(row["prompt"]))
        sampling = Sampling(
            row["max_tokens"], row["temperature"], row["top_p"], row["n"], row.get("seed"),
            tuple(row.get("stop", ())), tuple(row["stop_token_ids"]), logprobs="logprobs" in row,
        )  # fmt: skip
        completions = await self.engine.generate(row["prompt"], sampling)
        if row.get("stream"):
            return httpx.Response(200, content=b"".join(self._events(completions[0])))
        choices = [self._choice(index, done) for index, done in enumerate(completions)]
        usage = {"prompt_tokens_details": {"cached_tokens": 16}}
        return httpx.Response(200, json={"choices": choices[::-1], "usage": usage})

    async def _echo(self, ids: list[int]) -> dict[str, Any]:
        scores = await self.engine.score(ASK, ids[len(ASK) :])
        logprobs = [None, *[-1.0] * (len(ASK) - 1), *scores, -9.0]
        return {"choices": [{"logprobs": {"token_logprobs": logprobs}}]}

    def _choice(self, index: int, done: Completion) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": index,
            "text": TEMPLATE.decode(done.token_ids),
            "finish_reason": done.finish_reason.value,
            "logprobs": {"token_logprobs": done.logprobs},
        }
        return choice | {"token_ids": done.token_ids} if self.ids else choice

    def _events(self, done: Completion) -> Iterator[bytes]:
        for at, index in enumerate(done.token_ids):
            last = at == len(done.token_ids) - 1
            choice: dict[str, Any] = {"index": 0, "text": TEMPLATE.decode([index])}
            choice["finish_reason"] = done.finish_reason.value if last else None
            if self.ids:
                choice["token_ids"] = [index]
            yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        yield b"data: [DONE]\n\n"


async def connected(server: CompletionsServer, **options: Any) -> EndpointEngine:
    return await EndpointEngine.connect("http://server/v1/", transport=server, **options)


async def test_ids_log_probabilities_and_order_come_through() -> None:
    server = CompletionsServer()
    engine = await connected(server, api_key="secret")
    sampling = Sampling(
        50, temperature=1.0, n=8, seed=1, stop=("!",), stop_token_ids=(END_ID,), logprobs=True
    )
    direct = await ScriptedEngine({ASK: [("Yes.", 0.75), ("No.", 0.25)]}).generate(ASK, sampling)
    got = await engine.generate(ASK, sampling)
    assert [(c.token_ids, c.logprobs, c.finish_reason) for c in got] == [
        (c.token_ids, c.logprobs, c.finish_reason) for c in direct
    ]
    assert got[0].cached_tokens == 16
    assert engine.info.context_length == 500
    assert server.requests[-1][0].headers["authorization"] == "Bearer secret"
    assert await engine.score(ASK, got[0].token_ids) == got[0].logprobs


async def test_greedy_samples_are_asked_for_once() -> None:
    """vLLM's server refuses to draw several of what is all the same."""
    server = CompletionsServer()
    engine = await connected(server)
    got = await engine.generate(ASK, Sampling(50, n=3))
    assert got == 3 * got[:1]
    [(_, body)] = [one for one in server.requests if "prompt" in one[1]]
    assert body["n"] == 1


@pytest.mark.parametrize("ids", [True, False])
async def test_streams_join_to_what_generate_returns(ids: bool) -> None:
    engine = await connected(CompletionsServer(ids=ids), template=TEMPLATE)
    [whole] = await engine.generate(ASK, Sampling(50))
    chunks = [chunk async for chunk in engine.stream(ASK, Sampling(50))]
    assert sum((chunk.token_ids for chunk in chunks), ()) == whole.token_ids == TEMPLATE.answer_ids("Yes.")
    assert chunks[-1].finish_reason == FinishReason.STOP


async def test_text_without_ids_is_tokenised_again_and_said_once() -> None:
    said: list[str] = []
    engine = await connected(CompletionsServer(ids=False), template=TEMPLATE, say=said.append)
    for _ in range(2):
        [cut] = await engine.generate(ASK, Sampling(2))
        assert (cut.token_ids, cut.finish_reason) == (tuple(b"Ye"), FinishReason.LENGTH)
    [by_text] = await engine.generate(ASK, Sampling(50, stop=("s",)))
    assert by_text.token_ids == tuple(b"Yes")
    assert len(said) == 1
    assert "tokenised again" in said[0]
    with pytest.raises(EndpointError, match="no tokenizer was given"):
        await (await connected(CompletionsServer(ids=False))).generate(ASK, Sampling(50))


def answering(status: int, text: str) -> Handler:
    return lambda _: httpx.Response(status, text=text)


def failing(row: dict[str, Any]) -> httpx.Response:
    raise httpx.ConnectError(f"refused {row['model']}")


@pytest.mark.parametrize(
    ("handler", "error", "named"),
    [
        (answering(500, "boom\n at line 1"), EndpointError, "answered 500: boom at line 1"),
        (answering(401, "no"), EndpointError, "is the API key right"),
        (answering(400, "too long"), UsageError, "answered 400: too long"),
        (answering(200, "<html>"), EndpointError, "what is not JSON: '<html>'"),
        (answering(200, "[]"), EndpointError, "unreadable .TypeError|unreadable .AttributeError"),
        (
            answering(200, '{"choices": [{"index": 0}]}'),
            EndpointError,
            "unreadable .KeyError: 'finish_reason'",
        ),
        (answering(200, '{"choices": []}'), EndpointError, "gave 0 samples where 1 were asked for"),
        (failing, EndpointError, "cannot be reached: refused m"),
    ],
)
async def test_refusals_and_garbage_are_one_line(
    handler: Handler, error: type[Exception], named: str
) -> None:
    engine = await connected(CompletionsServer(handler=handler))
    with pytest.raises(error, match=named) as raised:
        await engine.generate(ASK, Sampling(50))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("data: {nope\n\n", "streamed what is not JSON"),
        ("data: {}\n\n", "unreadable"),
        ("data: [DONE]\n\n", "broke off in the middle"),
    ],
)
async def test_broken_streams_are_one_line(text: str, named: str) -> None:
    engine = await connected(CompletionsServer(handler=answering(200, text)))
    with pytest.raises(EndpointError, match=named):
        await anext(engine.stream(ASK, Sampling(50)))


async def test_connecting_picks_the_model_or_says_what_there_is() -> None:
    several = {"data": [{"id": "a"}, {"id": "b"}]}
    assert (await connected(CompletionsServer(models=several), model="b")).info.model == "b"
    assert (await connected(CompletionsServer(), model="another")).info.model == "m"
    with pytest.raises(EndpointError, match=r"does not serve 'c' \(it serves: a, b\)"):
        await connected(CompletionsServer(models=several), model="c")
    with pytest.raises(EndpointError, match="unreadable"):
        await connected(CompletionsServer(models={"models": []}))
    with pytest.raises(EndpointError, match="cannot be reached"):
        await open_engine("nothing", kind="http://127.0.0.1:9")


async def test_adapters_are_the_servers_and_closing_is_final(tmp_path: Path) -> None:
    server = CompletionsServer(handler=answering(404, "no such route"))
    engine = await connected(server)
    with pytest.raises(EndpointError, match="load_lora_adapter answered 404"):
        await engine.load_adapter("tuned", tmp_path)
    assert server.requests[-1][1] == {"lora_name": "tuned", "lora_path": str(tmp_path)}
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(ASK, Sampling(50))


async def test_engines_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown engine 'tensorrt'"):
        await open_engine(tmp_path, kind="tensorrt")
    with pytest.raises(ModelError, match="is no checkpoint"):
        await open_engine(tmp_path, kind="transformers")
    with pytest.raises(UsageError, match="start that server with it"):
        await open_engine(tmp_path, kind="http://127.0.0.1:9", adapter=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="takes no engine arguments, got dtype"):
        await open_engine(tmp_path, kind="transformers", engine_args={"dtype": "auto"})
