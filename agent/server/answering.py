"""From a question to what is sent: at once, or as a stream of events.

A stream is *live*, its text sent as the engine writes it, where there is one choice, no refinement and no
log-probabilities. Any other stream is *settled*: comments keep the connection open, then everything is sent.
Either way its deltas, joined, are the reply that is not streamed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from strop.agent.answer import NOTHING, Answer, Draft, Usage
from strop.agent.chat import Ids
from strop.agent.engines.base import Completion, FinishReason
from strop.agent.policy import usage_of
from strop.agent.server.forcing import structured
from strop.agent.server.protocol import Question
from strop.agent.server.reply import (
    Choice,
    Envelope,
    Form,
    Sent,
    TextReader,
    choice_of,
    logprobs_of,
    reading_of,
    to_json,
)
from strop.agent.server.roster import ServedModel
from strop.agent.server.text import Detokenizer
from strop.tools.errors import StropError

KEEP_ALIVE = b": strop refining\n\n"
"""A comment of a server-sent event stream: read by nobody, it keeps proxies from closing the connection."""
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a question was answered with."""

    choices: tuple[Choice, ...]
    usage: Usage
    check_usage: Usage = NOTHING
    """Of `usage`, what the check turns cost."""


class Answering:
    """One question on its way through what is served. Cancelling any of it cancels the engine's work."""

    def __init__(self, model: ServedModel, question: Question, envelope: Envelope, keep_alive: float):
        """Renders the prompt. `keep_alive` is in seconds.

        Raises UsageError where it cannot be rendered, TooLongError where it does not fit.
        """
        self._model = model
        self._keep_alive = keep_alive
        self._question = question
        self._envelope = envelope
        policy = model.policy
        self._prompt: Ids = policy.prompt_ids(question.task)
        self._form = Form(policy.template.call_format, policy.is_thinking(self._prompt))
        sampling = structured(question.sampling, thinking=self._form.thinking)
        self._sampling = policy.fitted(self._prompt, sampling)

    async def settle(self) -> Settled:
        """All choices, whole. Raises EngineError, ApiError."""
        policy = self._model.policy
        if self._question.refine.rounds:
            answers = await self._refined()
            usage = sum((answer.usage for answer in answers), Usage())
            checks = sum((answer.check_usage for answer in answers), Usage())
            choices = (self._choice(answer.final, answer) for answer in answers)
            return Settled(tuple(choices), usage, checks)
        done = await policy.complete(self._prompt, self._sampling)
        drafts = (policy.draft_of(self._prompt, completion, self._question.task.tools) for completion in done)
        return Settled(tuple(map(self._choice, drafts)), usage_of(self._prompt, done))

    async def events(self, on_settled: Callable[[Settled], None]) -> AsyncGenerator[bytes]:
        """The reply as server-sent events. Raises what `settle` raises, before or between events."""
        live = not self._question.refine.rounds and self._sampling.n == 1 and not self._sampling.logprobs
        async with aclosing(self._live() if live else self._kept_alive()) as pieces:
            async for piece in pieces:
                if isinstance(piece, bytes):
                    yield piece
                    continue
                on_settled(piece)
                if self._question.include_usage:
                    yield event_of(self._envelope.usage(piece.usage, piece.check_usage))
        yield DONE

    async def _refined(self) -> list[Answer]:
        """One answer a choice, all at once; seeds differ, so that choices may."""
        answerer = self._model.refiners(self._question.refine)
        first = self._question.sampling.seed
        seeds = [None if first is None else first + index for index in range(self._sampling.n)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        answerer.answer(self._question.task, replace(self._sampling, n=1, seed=seed))
                    )
                    for seed in seeds
                ]
        except* StropError as failures:
            raise first_failure(failures) from None
        return [task.result() for task in tasks]

    def _choice(self, draft: Draft, answer: Answer | None = None) -> Choice:
        template = self._model.policy.template
        return choice_of(
            reading_of(draft, self._question, self._form),
            draft.finish_reason,
            self._question,
            answer=answer,
            logprobs=logprobs_of(draft, template) if self._sampling.logprobs else None,
        )

    async def _kept_alive(self) -> AsyncGenerator[bytes | Settled]:
        work = asyncio.ensure_future(self.settle())
        try:
            while not (await asyncio.wait({work}, timeout=self._keep_alive))[0]:
                yield KEEP_ALIVE
            settled = work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        for index, choice in enumerate(settled.choices):
            yield event_of(self._envelope.opening(index))
            for event in self._closing(choice, index=index):
                yield event
        yield settled

    async def _live(self) -> AsyncGenerator[bytes | Settled]:
        template = self._model.policy.template
        detokenizer, reader = Detokenizer(template), TextReader(self._question, self._form)
        ids: list[int] = []
        sent, last = Sent(), None
        async with aclosing(self._model.policy.stream(self._prompt, self._sampling)) as chunks:
            async for chunk in chunks:
                if last is None:
                    yield event_of(self._envelope.opening(0))
                last = chunk
                ids += chunk.token_ids
                for piece in reader.feed(detokenizer.feed(chunk.token_ids)):
                    yield event_of(self._envelope.piece(0, piece, sent))
        finish = (last and last.finish_reason) or FinishReason.ABORT
        told = [call.id for call in sent.calls]
        choice = choice_of(reader.finish(detokenizer.finish()), finish, self._question, ids=told)
        for event in self._closing(choice, sent):
            yield event
        done = Completion(tuple(ids), finish, cached_tokens=last.cached_tokens if last else 0)
        yield Settled((choice,), usage_of(self._prompt, [done]))

    def _closing(self, choice: Choice, sent: Sent | None = None, *, index: int = 0) -> Iterator[bytes]:
        return map(event_of, self._envelope.closing(index, choice, sent or Sent()))


def event_of(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"


def first_failure(failures: BaseExceptionGroup[StropError]) -> StropError:
    """The first failure of a group, which may hold groups."""
    first = failures.exceptions[0]
    return first_failure(first) if isinstance(first, BaseExceptionGroup) else first
