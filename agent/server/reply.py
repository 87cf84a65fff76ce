"""What is sent: one answer as a ``chat.completion``, or as the chunks of a stream.

Both are made from the same `Choice`, so that a stream's deltas joined are the reply.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from strop.agent.answer import NOTHING, Answer, Draft, StopReason, Usage
from strop.agent.chat import Template
from strop.agent.engines.base import FinishReason
from strop.agent.server.errors import ApiError
from strop.agent.server.protocol import Question
from strop.agent.server.text import StopFilter, cut
from strop.tools.errors import EngineError
from strop.tools.formats import Reading, StreamReader, read_calls, settle_names
from strop.tools.schema import validate_call
from strop.tools.spec import ToolCall


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer, ready to be sent."""

    content: str | None
    """None exactly where there are calls and no prose."""
    calls: tuple[ToolCall, ...]
    call_ids: tuple[str, ...]
    """As many as calls; random, so that no conversation has one twice."""
    finish_reason: str
    """``length`` wherever the limit cut the answer, else ``tool_calls`` or ``stop``."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired or left out."""
    unknown_tools: tuple[str, ...] = ()
    """Names called that were not on offer; the calls are in the reply all the same."""
    rounds: int = 0
    stop_reason: StopReason = StopReason.OFF
    p_stop: float | None = None
    """See `Answer.p_stop`."""
    problem: str | None = None
    """Why a text that looks like a call was not read as one, or is none that a strict tool takes; it is the
    content then."""
    logprobs: tuple[dict[str, Any], ...] | None = None
    """OpenAI's objects, one a token of the text; None unless asked for."""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """OpenAI's form."""
        return [
            {
                "id": identity,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for identity, call in zip(self.call_ids, self.calls, strict=True)
        ]

    @property
    def strop(self) -> dict[str, Any]:
        """What Strop adds to a choice."""
        return {
            "rounds": self.rounds,
            "stop_reason": self.stop_reason.value,
            "p_stop": self.p_stop,
            "repairs": list(self.repairs),
            "unknown_tools": list(self.unknown_tools),
            "problem": self.problem,
        }


def _arguments(call: ToolCall) -> str:
    return to_json(call.arguments).decode()


def to_json(value: Any) -> bytes:
    """JSON text as UTF-8; halves of surrogate pairs, which a model may well write, stay escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def read_text(text: str, question: Question, call_format: str) -> Reading:
    """How `text` is read: as prose where no tool may be called."""
    if not question.task.tools:
        return Reading((), text)
    return settled(read_calls(text, preferred=call_format), text, question)


def settled(reading: Reading, text: str, question: Question) -> Reading:
    """`reading` of `text` with the names on offer, or as content where a strict tool is called wrongly.

    Decoding is constrained for strict tools (`strop.agent.server.forcing`); this is for what slips past, in
    forms that have no mark to constrain from, and for engines that cannot.
    """
    tools = question.task.tools
    reading = settle_names(reading, tools)
    strict = {tool.name for tool in tools if tool.strict}
    wrong = [why for call in reading.calls if call.name in strict for why in validate_call(call, tools)]
    if not wrong:
        return reading
    return Reading((), text.strip() or None, problem=f"a strict tool is called wrongly: {wrong[0]}")


def choice_of(
    reading: Reading,
    finish: FinishReason,
    question: Question,
    *,
    answer: Answer | None = None,
    logprobs: tuple[dict[str, Any], ...] | None = None,
) -> Choice:
    """An answer that was read, as it is sent. Raises ApiError 503 where the engine gave it up."""
    if finish is FinishReason.ABORT:
        raise ApiError(503, "the engine gave up this request", code="engine_error")
    calls, repairs = reading.calls, reading.repairs
    if question.one_call and len(calls) > 1:
        repairs += (f"left out {len(calls) - 1} more calls: parallel_tool_calls is false",)
        calls = calls[:1]
    offered = {tool.name for tool in question.task.tools}
    read_as = "tool_calls" if calls else "stop"
    return Choice(
        content=reading.content or (None if calls else ""),
        calls=calls,
        call_ids=tuple(f"call_{secrets.token_hex(12)}" for _ in calls),
        finish_reason="length" if finish is FinishReason.LENGTH else read_as,
        repairs=repairs,
        unknown_tools=tuple(call.name for call in calls if call.name not in offered),
        problem=reading.problem,
        rounds=answer.rounds if answer else 0,
        stop_reason=answer.stop_reason if answer else StopReason.OFF,
        p_stop=answer.p_stop if answer else None,
        logprobs=logprobs,
    )


class TextReader:
    """Reads text that arrives in pieces as `read_text` reads the whole, up to a stop text."""

    def __init__(self, question: Question, call_format: str):
        self._question = question
        self._stop = StopFilter(question.sampling.stop)
        self._calls = StreamReader(call_format) if question.task.tools else None
        self._pieces: list[str] = []
        """Everything before the stop text."""

    def feed(self, text: str) -> str:
        """Content to send now."""
        return self._pass(self._stop.feed(text))

    def finish(self, text: str) -> Reading:
        """What all of the text says, `text` being its end; content that was not sent yet included."""
        self._pass(self._stop.feed(text) + self._stop.finish())
        whole = "".join(self._pieces)
        if self._calls is None:
            return Reading((), whole)
        return settled(self._calls.finish()[1], whole, self._question)

    def _pass(self, text: str) -> str:
        self._pieces.append(text)
        return self._calls.feed(text) if self._calls else text


def reading_of(draft: Draft, question: Question, call_format: str) -> Reading:
    """What a draft says, without the stop text that ended it."""
    text = cut(draft.text, question.sampling.stop)
    if question.task.tools and text == draft.text:
        read = Reading(draft.calls, draft.content, draft.repairs, draft.problem)
        return settled(read, text, question)
    return read_text(text, question, call_format)


def logprobs_of(draft: Draft, template: Template) -> tuple[dict[str, Any], ...]:
    """OpenAI's object for every sampled token but those that end the turn.

    `bytes` is None for a token that is no whole characters. Raises EngineError where the draft has no
    log-probabilities, though they were asked for.
    """
    if draft.logprobs is None:
        raise EngineError("the engine returned no log-probabilities")
    # A refiner may have cut the end of a draft; what is left of it lines up from the beginning.
    steps = zip(draft.token_ids, draft.logprobs, draft.top_logprobs or repeat(()), strict=False)
    return tuple(
        _token_json(token, logprob, template)
        | {"top_logprobs": [_token_json(one, value, template) for one, value in likeliest]}
        for token, logprob, likeliest in steps
        if token not in template.end_ids
    )


def _token_json(token: int, logprob: float, template: Template) -> dict[str, Any]:
    text = template.decode((token,), skip_special=False)
    whole = None if "\N{REPLACEMENT CHARACTER}" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": whole}


def usage_json(usage: Usage, checks: Usage = NOTHING) -> dict[str, Any]:
    """OpenAI's usage object; drafts that were thrown away are counted, `checks` says what checking cost."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "check_tokens": checks.prompt_tokens,
            "cached_check_tokens": checks.cached_tokens,
        },
        "completion_tokens_details": {"check_tokens": checks.completion_tokens},
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every object of one reply repeats."""

    id: str
    model: str
    created: int
    """Unix seconds."""

    def completion(self, choices: Sequence[Choice], usage: Usage, checks: Usage) -> dict[str, Any]:
        """The reply that is not streamed; its own `strop` is the first choice's."""
        return {
            **self._head("chat.completion"),
            "choices": [_choice_json(index, choice) for index, choice in enumerate(choices)],
            "usage": usage_json(usage, checks),
            "strop": choices[0].strop,
        }

    def delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """A chunk that adds to choice `index`."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def opening(self, index: int) -> dict[str, Any]:
        """A choice's first chunk."""
        return self.delta(index, {"role": "assistant"})

    def closing(self, index: int, choice: Choice, sent: str) -> Iterator[dict[str, Any]]:
        """The chunks that complete `choice`, of whose content the text `sent` is already out."""
        if choice.content is not None and (len(choice.content) > len(sent) or not choice.content):
            yield self.delta(index, {"content": choice.content[len(sent) :]})
        for position, call in enumerate(choice.tool_calls):
            arguments = call["function"].pop("arguments")
            head = {**call, "function": {**call["function"], "arguments": ""}}
            yield self.delta(index, {"tool_calls": [{"index": position, **head}]})
            rest = {"index": position, "function": {"arguments": arguments}}
            yield self.delta(index, {"tool_calls": [rest]})
        last = self.delta(index, {})
        last["choices"][0] |= {"finish_reason": choice.finish_reason, "strop": choice.strop}
        last["choices"][0]["logprobs"] = _logprobs_json(choice)
        yield last | {"strop": choice.strop}

    def usage(self, usage: Usage, checks: Usage) -> dict[str, Any]:
        """The chunk that ``stream_options.include_usage`` asks for."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage_json(usage, checks)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def _choice_json(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.content}
    if choice.calls:
        message["tool_calls"] = choice.tool_calls
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs_json(choice),
        "finish_reason": choice.finish_reason,
        "strop": choice.strop,
    }


def _logprobs_json(choice: Choice) -> dict[str, Any] | None:
    return None if choice.logprobs is None else {"content": list(choice.logprobs), "refusal": None}
