"""A policy: an engine, a chat template and a call format; tasks in, answers out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from strop.agent.answer import Answer, Draft, Usage
from strop.agent.chat import Ids, Template
from strop.agent.engines.base import Chunk, Completion, Engine, Sampling, closable
from strop.tools.errors import TooLongError, UsageError
from strop.tools.formats import read_calls
from strop.tools.formats.thoughts import BEGIN, END
from strop.tools.spec import ToolSpec
from strop.tools.task import Task


class Policy:
    """Answers a task with one draft. The plainest `Answerer`, and what refiners and searches build on."""

    def __init__(
        self,
        engine: Engine,
        template: Template,
        *,
        name: str | None = None,
        adapter: str | None = None,
        weights: str = "",
    ):
        """`name` is what reports call it (the engine's model otherwise); `adapter` one the engine loaded;
        `weights` tells it from other policies of its name (`strop.agent.checkpoint.fingerprint`)."""
        self.engine = engine
        """Tokens in, tokens out."""
        self.template = template
        """Conversation to ids, ids to text."""
        self.adapter = adapter
        """Name of the adapter every request uses, if any."""
        self.weights = weights
        """What its answers depend on besides its name; empty where that is not known."""
        self._name = name or engine.info.model

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        """One draft, taken as it is. Raises UsageError for ``sampling.n`` other than 1: use `sample`."""
        if sampling.n != 1:
            raise UsageError(f"an answer is one sample, got n={sampling.n}")
        prompt_ids = self.prompt_ids(task)
        completions = await self.complete(prompt_ids, sampling)
        draft = self.draft_of(prompt_ids, completions[0], task.tools)
        return Answer(draft, usage_of(prompt_ids, completions), (draft,))

    async def sample(self, task: Task, sampling: Sampling) -> list[Draft]:
        """``sampling.n`` drafts of one task."""
        prompt_ids = self.prompt_ids(task)
        completions = await self.complete(prompt_ids, sampling)
        return [self.draft_of(prompt_ids, done, task.tools) for done in completions]

    async def complete(self, prompt_ids: Sequence[int], sampling: Sampling) -> list[Completion]:
        """Completions of a prompt given as ids, with `fitted` sampling and this policy's adapter."""
        return await self.engine.generate(prompt_ids, self.fitted(prompt_ids, sampling), adapter=self.adapter)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Chunk]:
        """As `complete`, one sample as it grows; closing the generator ends the request at once."""
        sampling = self.fitted(prompt_ids, sampling)
        return closable(self.engine.stream(prompt_ids, sampling, adapter=self.adapter))

    def prompt_ids(self, task: Task) -> Ids:
        """The task's conversation and tools, up to where the model begins to write."""
        return self.template.prompt_ids(task.messages, task.tools)

    def fitted(self, prompt_ids: Sequence[int], sampling: Sampling) -> Sampling:
        """`sampling` that also stops at the end of a turn, and whose `max_tokens` fits the context.

        Raises TooLongError where the prompt alone fills it.
        """
        info = self.engine.info
        room = info.context_length - len(prompt_ids)
        if room < 1:
            raise TooLongError(
                f"the prompt is {len(prompt_ids)} tokens long and {info.model} takes {info.context_length}, "
                "the answer included: shorten the conversation or offer fewer tools"
            )
        stops = dict.fromkeys((*sampling.stop_token_ids, *self.template.end_ids))
        return replace(sampling, max_tokens=min(sampling.max_tokens, room), stop_token_ids=tuple(stops))

    def is_thinking(self, prompt_ids: Sequence[int]) -> bool:
        """Whether the prompt has opened a thinking block for the answer, as some templates do."""
        return _is_thinking(self.template, prompt_ids)

    def without_end(self, ids: Ids) -> Ids:
        """`ids` without those that end the turn."""
        return _without_end(self.template, ids)

    def draft_of(self, prompt_ids: Sequence[int], completion: Completion, tools: Sequence[ToolSpec]) -> Draft:
        """Read a completion: its text without the ids that end the turn, and the calls in it."""
        return read_draft(self.template, prompt_ids, completion, tools)


def read_draft(
    template: Template, prompt_ids: Sequence[int], completion: Completion, tools: Sequence[ToolSpec]
) -> Draft:
    """What `Policy.draft_of` says; for completions whose engine is gone."""
    ids = completion.token_ids
    text = template.decode(_without_end(template, ids), skip_special=False)
    opened = _is_thinking(template, prompt_ids)
    reading = read_calls(text, preferred=template.call_format, tools=tools, thinking=opened)
    # Half an answer is none: what was certain of it is for streams to tell, not for anybody to act on.
    calls, content = ((), text.strip() or None) if reading.problem else (reading.calls, reading.content)
    return Draft(
        prompt_ids=tuple(prompt_ids),
        token_ids=ids,
        text=text,
        calls=calls,
        content=content,
        repairs=reading.repairs,
        problem=reading.problem,
        reasoning=reading.reasoning,
        opened=opened,
        logprobs=completion.logprobs,
        top_logprobs=completion.top_logprobs,
        finish_reason=completion.finish_reason,
    )


def _is_thinking(template: Template, prompt_ids: Sequence[int]) -> bool:
    tail = template.decode(prompt_ids[-8:], skip_special=False)
    return tail.rstrip().endswith(BEGIN)


def written_after(template: Template, prompt_ids: Sequence[int], text: str) -> str:
    """`text` as an answer to that prompt: a thinking block that it has opened is ended first, empty."""
    return f"\n{END}\n\n{text}" if _is_thinking(template, prompt_ids) else text


def _without_end(template: Template, ids: Ids) -> Ids:
    end = len(ids)
    while end and ids[end - 1] in template.end_ids:
        end -= 1
    return ids[:end]


def usage_of(prompt_ids: Sequence[int], completions: Sequence[Completion]) -> Usage:
    """Tokens of one request: the prompt once, every sample."""
    return Usage(
        prompt_tokens=len(prompt_ids),
        completion_tokens=sum(len(completion.token_ids) for completion in completions),
        cached_tokens=max((completion.cached_tokens for completion in completions), default=0),
    )
