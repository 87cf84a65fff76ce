"""``POST /v1/completions``: prompts continued as they are, without template, calls or refinement."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import repeat
from typing import Any

from strop.agent.answer import Usage
from strop.agent.chat import Ids
from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.agent.policy import usage_of
from strop.agent.server.answering import DONE, event_of, first_failure
from strop.agent.server.errors import GAVE_UP, refused
from strop.agent.server.prompts import CompletionRequest
from strop.agent.server.reply import usage_json
from strop.agent.server.roster import ServedModel
from strop.agent.server.text import Detokenizer, StopFilter, cut
from strop.tools.errors import EngineError, StropError, TooLongError


class Completing:
    """One request on its way through the engine."""

    def __init__(self, model: ServedModel, request: CompletionRequest, default: Sampling):
        """Raises ApiError 400 where a prompt leaves no room for an answer."""
        self._policy = model.policy
        self._template = model.policy.template
        self._request = request
        self._prompts: list[Ids] = [self._ids(prompt) for prompt in request.prompts]
        wanted = request.sampling(default)
        self._samplings = [self._fitted(prompt, wanted) for prompt in self._prompts]
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model.model,
        }

    async def settle(self) -> tuple[dict[str, Any], Usage]:
        """(the reply, what was spent). Raises EngineError."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._continued(index)) for index in range(len(self._prompts))]
        except* StropError as failures:
            raise first_failure(failures) from None
        choices: list[dict[str, Any]] = []
        usage = Usage()
        for task in tasks:
            found, spent = task.result()
            choices += [{**choice, "index": len(choices) + at} for at, choice in enumerate(found)]
            usage += spent
        return {**self._head, "choices": choices, "usage": usage_json(usage)}, usage

    async def events(self, on_spent: Callable[[Usage], None]) -> AsyncGenerator[bytes]:
        """The reply as server-sent events; live where there is one answer and nothing else is asked for."""
        request = self._request
        live = len(self._prompts) == 1 and self._samplings[0].n == 1
        live = live and request.logprobs is None and not request.echo
        async with aclosing(self._live() if live else self._settled()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Usage):
                    on_spent(piece)
                    if request.stream_options and request.stream_options.include_usage:
                        yield event_of({**self._head, "choices": [], "usage": usage_json(piece)})
                else:
                    yield event_of({**self._head, "choices": [piece]})
        yield DONE

    async def _settled(self) -> AsyncGenerator[dict[str, Any] | Usage]:
        reply, usage = await self.settle()
        for choice in reply["choices"]:
            yield choice
        yield usage

    async def _live(self) -> AsyncGenerator[dict[str, Any] | Usage]:
        [prompt], [sampling] = self._prompts, self._samplings
        detokenizer = Detokenizer(self._template, skip_special=self._skips)
        stop = StopFilter(() if self._request.include_stop_str_in_output else sampling.stop)
        ids: list[int] = []
        cached = 0
        async with aclosing(self._policy.stream(prompt, sampling)) as chunks:
            async for chunk in chunks:
                ids += chunk.token_ids
                cached = chunk.cached_tokens
                if chunk.finish_reason is FinishReason.ABORT:
                    raise EngineError(GAVE_UP)
                text = stop.feed(detokenizer.feed(chunk.token_ids))
                if chunk.finish_reason is not None:
                    text += stop.feed(detokenizer.finish()) + stop.finish()
                yield self._choice(text, chunk.token_ids, chunk.finish_reason)
        done = Completion(tuple(ids), FinishReason.STOP, cached_tokens=cached)
        yield usage_of(prompt, [done])

    async def _continued(self, index: int) -> tuple[list[dict[str, Any]], Usage]:
        prompt, sampling = self._prompts[index], self._samplings[index]
        done = await self._policy.complete(prompt, sampling)
        if any(one.finish_reason is FinishReason.ABORT for one in done):
            raise EngineError(GAVE_UP)
        before = await self._prompt_scores(prompt) if self._request.echo and sampling.logprobs else []
        return [self._whole(prompt, sampling, one, before) for one in done], usage_of(prompt, done)

    async def _prompt_scores(self, prompt: Ids) -> list[float | None]:
        """Log-probability of every prompt id but the first, which has none."""
        scores = await self._policy.engine.score(prompt[:1], prompt[1:], adapter=self._policy.adapter)
        return [None, *scores]

    def _whole(
        self, prompt: Ids, sampling: Sampling, done: Completion, before: list[float | None]
    ) -> dict[str, Any]:
        text = self._text(self._policy.without_end(done.token_ids))
        if not self._request.include_stop_str_in_output:
            text = cut(text, sampling.stop)
        ids = done.token_ids
        if self._request.echo:
            text, ids = self._text(prompt) + text, prompt + ids
        choice = self._choice(text, done.token_ids, done.finish_reason)
        if sampling.logprobs:
            choice["logprobs"] = self._logprobs(ids, [*before, *(done.logprobs or ())], done)
        return choice

    def _choice(self, text: str, ids: Sequence[int], reason: FinishReason | None) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0,
            "text": text,
            "logprobs": None,
            "finish_reason": reason and reason.value,
        }
        return choice | ({"token_ids": list(ids)} if self._request.return_token_ids else {})

    def _logprobs(self, ids: Ids, values: list[float | None], done: Completion) -> dict[str, Any]:
        tokens = [self._template.decode((index,), skip_special=False) for index in ids]
        # The drawn id belongs to what is reported even where it ranks below what was asked for.
        steps = zip(done.token_ids, done.logprobs or (), done.top_logprobs or repeat(()), strict=False)
        tops: list[dict[str, float] | None] = [
            {self._token(index): value for index, value in (*likeliest, (drawn, logprob))}
            for drawn, logprob, likeliest in steps
        ]
        offsets, at = [], 0
        for token in tokens:
            offsets.append(at)
            at += len(token)
        return {
            "tokens": list(map(self._token, ids)),
            "token_logprobs": values,
            "top_logprobs": [None] * (len(ids) - len(tops)) + tops,
            "text_offset": offsets,
        }

    def _fitted(self, prompt: Ids, wanted: Sampling) -> Sampling:
        try:
            return self._policy.fitted(prompt, wanted)
        except TooLongError as error:
            info = self._policy.engine.info
            message = (
                f"the prompt is {len(prompt)} tokens long and {info.model} takes {info.context_length}, "
                "the answer included: shorten it"
            )
            raise refused(message, "prompt", "context_length_exceeded") from error

    def _token(self, index: int) -> str:
        if self._request.return_tokens_as_token_ids:
            return f"token_id:{index}"
        return self._template.decode((index,), skip_special=False)

    def _ids(self, prompt: str | list[int]) -> Ids:
        return self._template.encode(prompt) if isinstance(prompt, str) else tuple(prompt)

    @property
    def _skips(self) -> bool:
        return self._request.skip_special_tokens is not False

    def _text(self, ids: Ids) -> str:
        return self._template.decode(ids, skip_special=self._skips)
