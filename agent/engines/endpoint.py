"""Any server with OpenAI's ``/v1/completions`` that takes token ids as the prompt, over HTTP.

vLLM's server does everything asked of it here. Others may not say which ids they wrote: then their text is
tokenised again, which may differ from what was sampled, and that is said once. What a server refuses or
garbles becomes an EndpointError in one line.

Not covered: chat completions (see `strop.agent.remote`), and retries, which are the caller's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import httpx

from strop.agent.address import authorization, http_address
from strop.agent.chat import Ids, Template
from strop.agent.engines.base import (
    Chunk,
    Completion,
    EngineInfo,
    FinishReason,
    Sampling,
    check_request,
    check_stream,
    samples_alike,
)
from strop.agent.engines.likelihood import MOST_LIKELY, watched_among
from strop.tools.errors import EndpointError, EngineError, UsageError

_CONSTRAINING = ("vllm", "strop")
"""Who serves the models (``owned_by``) of servers known to keep to structural tags."""
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
"""Seconds; generating is slow, connecting is not."""


class EndpointEngine:
    """See the module. Made by `connect`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        info: EngineInfo,
        *,
        template: Template | None = None,
        say: Callable[[str], None] = lambda _: None,
    ):
        """`client` has its base URL and headers; `template` tokenises where the server gives no ids, which
        `say` is told once."""
        self._client = client
        self._info = info
        self._template = template
        self._say = say
        self._said = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        model: str | None = None,
        context_length: int = 4096,
        api_key: str | None = None,
        template: Template | None = None,
        say: Callable[[str], None] = lambda _: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Ask the server what it serves: `model`, or its only one; `context_length` where it does not say.

        Raises EndpointError where it cannot be reached or does not serve `model`, UsageError for what is no
        address or no key.
        """
        root = str(http_address(url)).rstrip("/").removesuffix("/v1")
        headers = authorization(api_key)
        client = httpx.AsyncClient(base_url=root, headers=headers, timeout=_TIMEOUT, transport=transport)
        try:
            served = await _served_model(client, model)
        except BaseException:
            await client.aclose()
            raise
        length = served.get("max_model_len")
        structures = served.get("owned_by") in _CONSTRAINING
        info = EngineInfo(
            "endpoint",
            str(served["id"]),
            length if isinstance(length, int) else context_length,
            structures=structures,
            detail=root,
        )
        return cls(client, info, template=template, say=say)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def trouble(self) -> str | None:
        return "the connection to the endpoint is closed" if self._client.is_closed else None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        check_request(self._info, prompt_ids, sampling)
        if samples_alike(sampling):
            return sampling.n * await self.generate(prompt_ids, replace(sampling, n=1), adapter=adapter)
        if (apart := await self._watched_apart(prompt_ids, sampling, adapter)) is not None:
            rest = await self.generate(prompt_ids, replace(sampling, watch=()), adapter=adapter)
            return [replace(done, watched=apart) for done in rest]
        body = await self._post("/v1/completions", self._request(prompt_ids, sampling, adapter))
        with _reading(self._client):
            cached = _cached_tokens(body)
            choices = sorted(body["choices"], key=lambda choice: choice["index"])
            completions = [self._completion(choice, sampling, cached) for choice in choices]
        if len(completions) != sampling.n:
            raise EndpointError(
                f"{self._client.base_url} gave {len(completions)} samples where {sampling.n} were asked for"
            )
        return completions

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        """See `Engine.stream`. Cached tokens are not known while streaming; without ids from the server all
        come in the last chunk, when the whole text can be tokenised."""
        check_request(self._info, prompt_ids, sampling)
        check_stream(sampling)
        text, reason = "", None
        apart = await self._watched_apart(prompt_ids, sampling, adapter)
        if apart is not None:
            sampling = replace(sampling, watch=())
        watched, told = apart, False
        async with self._events(self._request(prompt_ids, sampling, adapter) | {"stream": True}) as events:
            async for event in events:
                with _reading(self._client):
                    choice = event["choices"][0]
                    reason = _finish_reason(choice["finish_reason"])
                    ids = choice.get("token_ids")
                    text += choice["text"] if ids is None else ""
                    if watched is None and sampling.watch and choice.get("logprobs"):
                        watched = _watched(choice["logprobs"], sampling)
                if ids is None and reason is not None:
                    ids = self._tokenised(text, reason, sampling)
                if ids is not None:
                    yield Chunk(tuple(ids), reason, watched=None if told else watched)
                    told = told or bool(ids)
                if reason is not None:
                    return
        raise EndpointError(f"{self._client.base_url} broke off in the middle of an answer")

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        ids = (*prompt_ids, *completion_ids)
        sampling = Sampling(max_tokens=1, logprobs=True)
        check_request(self._info, ids, sampling)
        body = await self._post("/v1/completions", self._request(ids, sampling, adapter) | {"echo": True})
        with _reading(self._client):
            logprobs = body["choices"][0]["logprobs"]["token_logprobs"]
            if not len(ids) <= len(logprobs) <= len(ids) + 1:
                raise ValueError(f"{len(logprobs)} log-probabilities for {len(ids)} tokens")
            return tuple(float(value) for value in logprobs[len(prompt_ids) : len(ids)])

    async def check_health(self) -> None:
        """Raises EndpointError where the server is not healthy."""
        with _reaching(self._client):
            _check_status(await self._client.get("/health"))

    async def load_adapter(self, name: str, path: Path) -> None:
        """vLLM's own route; `path` must exist on the server's machine, and loading be allowed."""
        row = {"lora_name": name, "lora_path": str(path.resolve())}
        await self._send("/v1/load_lora_adapter", row)

    async def served_names(self) -> frozenset[str]:
        """Models and adapters that requests may name. Raises EndpointError."""
        return frozenset(await _cards(self._client))

    async def unload_adapter(self, name: str) -> None:
        """vLLM's own route, as for `load_adapter`."""
        await self._send("/v1/unload_lora_adapter", {"lora_name": name})

    async def close(self) -> None:
        await self._client.aclose()

    def _request(self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None) -> dict[str, Any]:
        """The request; the last three keys are vLLM's own."""
        row: dict[str, Any] = {
            "model": adapter or self._info.model,
            "prompt": list(prompt_ids),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "n": sampling.n,
            "stop_token_ids": list(sampling.stop_token_ids),
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        if sampling.seed is not None:
            row["seed"] = sampling.seed
        if sampling.stop:
            row["stop"] = list(sampling.stop)
        if sampling.logprobs or sampling.watch:
            row["logprobs"] = MOST_LIKELY if sampling.watch else sampling.top_logprobs
        if sampling.watch or sampling.top_logprobs:
            row["return_tokens_as_token_ids"] = True
        if sampling.structure is not None:
            row["structured_outputs"] = {"structural_tag": sampling.structure}
        return row

    async def _watched_apart(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> tuple[float, ...] | None:
        """What is watched, by a request of its own where a structure would hide it."""
        if not sampling.watch or sampling.structure is None:
            return None
        asked = Sampling(max_tokens=1, logprobs=True, watch=sampling.watch)
        [done] = await self.generate(prompt_ids, asked, adapter=adapter)
        return done.watched

    def _completion(self, choice: Mapping[str, Any], sampling: Sampling, cached: int) -> Completion:
        reason = _finish_reason(choice["finish_reason"]) or FinishReason.ABORT
        ids = choice.get("token_ids")
        ids = self._tokenised(choice["text"], reason, sampling) if ids is None else tuple(ids)
        logprobs = None
        if sampling.logprobs:
            logprobs = tuple(float(value) for value in choice["logprobs"]["token_logprobs"])
            if len(logprobs) != len(ids):
                raise ValueError(f"{len(logprobs)} log-probabilities for {len(ids)} tokens")
        watched = _watched(choice["logprobs"], sampling) if sampling.watch else None
        return Completion(ids, reason, logprobs, cached, _alternatives(choice, sampling), watched)

    def _tokenised(self, text: str, reason: FinishReason, sampling: Sampling) -> Ids:
        if self._template is None:
            raise EndpointError(
                f"{self._client.base_url} does not return token ids, and no tokenizer was given to make them "
                "from its text"
            )
        if not self._said:
            self._said = True
            self._say(f"{self._client.base_url} does not return token ids: its text is tokenised again")
        ended_by_id = reason is FinishReason.STOP and not any(stop in text for stop in sampling.stop)
        return self._template.answer_ids(text) if ended_by_id else self._template.encode(text)

    async def _post(self, path: str, row: Mapping[str, Any]) -> Any:
        response = await self._send(path, row)
        try:
            return response.json()
        except ValueError as error:
            raise EndpointError(
                f"{response.url} answered what is not JSON: {response.text[:120]!r}"
            ) from error

    async def _send(self, path: str, row: Mapping[str, Any]) -> httpx.Response:
        with _reaching(self._client):
            response = await self._client.post(path, json=row)
        _check_status(response)
        return response

    @asynccontextmanager
    async def _events(self, row: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
        """The JSON objects of a server-sent event stream."""
        with _reaching(self._client):
            async with self._client.stream("POST", "/v1/completions", json=row) as response:
                if not response.is_success:
                    await response.aread()
                _check_status(response)
                yield _objects(response)


@contextmanager
def _reaching(client: httpx.AsyncClient) -> Iterator[None]:
    """Turns failures of the connection into EndpointErrors."""
    if client.is_closed:
        raise EngineError("the connection to the endpoint is closed")
    try:
        yield
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise _unreachable(f"{client.base_url} cannot be reached: {reason}") from error


@contextmanager
def _reading(client: httpx.AsyncClient) -> Iterator[None]:
    """Turns an answer of the wrong shape into an EndpointError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise EndpointError(f"{client.base_url} answered something unreadable ({reason})") from error


def _check_status(response: httpx.Response) -> None:
    if response.is_success:
        return
    body = " ".join(response.text.split())[:200]
    message = f"{response.url} answered {response.status_code}: {body}"
    if response.status_code in (401, 403):
        raise EndpointError(f"{message} (is the API key right?)")
    if response.status_code in (400, 422):
        raise UsageError(message)
    if response.status_code in (502, 503):
        raise _unreachable(message)
    error = EndpointError(message)
    error.busy = response.status_code == 429
    raise error


def _unreachable(message: str) -> EndpointError:
    error = EndpointError(message)
    error.unreachable = True
    return error


async def _objects(response: httpx.Response) -> AsyncIterator[Any]:
    async for line in response.aiter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        try:
            yield json.loads(data)
        except ValueError as error:
            raise EndpointError(f"{response.url} streamed what is not JSON: {data[:120]!r}") from error


async def _cards(client: httpx.AsyncClient) -> dict[str, Mapping[str, Any]]:
    """Models and adapters by their names."""
    with _reaching(client):
        response = await client.get("/v1/models")
    _check_status(response)
    with _reading(client):
        return {str(row["id"]): row for row in response.json()["data"]}


async def _served_model(client: httpx.AsyncClient, model: str | None) -> Mapping[str, Any]:
    rows = await _cards(client)
    if model in rows:
        return rows[model]
    if len(rows) == 1:
        return next(iter(rows.values()))
    raise EndpointError(
        f"{client.base_url} does not serve {model!r} (it serves: {', '.join(rows) or 'nothing'})"
    )


def _watched(logprobs: Mapping[str, Any], sampling: Sampling) -> tuple[float, ...]:
    return watched_among(_by_id(logprobs["top_logprobs"][0]), sampling.watch)


def _alternatives(
    choice: Mapping[str, Any], sampling: Sampling
) -> tuple[tuple[tuple[int, float], ...], ...] | None:
    if not sampling.logprobs or not sampling.top_logprobs:
        return None
    steps = map(_by_id, choice["logprobs"]["top_logprobs"])
    ranked = (sorted(step.items(), key=lambda item: -item[1]) for step in steps)
    return tuple(tuple(step[: sampling.top_logprobs]) for step in ranked)


def _by_id(step: Mapping[str, Any]) -> dict[int, float]:
    """A step of ``top_logprobs`` whose keys are ``token_id:N``, as ``return_tokens_as_token_ids`` asks."""
    return {int(key.removeprefix("token_id:")): float(value) for key, value in step.items()}


def _cached_tokens(body: Mapping[str, Any]) -> int:
    details = (body.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)


def _finish_reason(reason: str | None) -> FinishReason | None:
    return None if reason is None else FinishReason(reason)
