"""What is sent: one answer as a ``chat.completion``, or as the chunks of a stream.

Both are made from the same `Choice`, so that a stream's deltas joined are the reply.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

from strop.agent.answer import NOTHING, Answer, Draft, StopReason, Usage
from strop.agent.chat import Template
from strop.agent.engines.base import FinishReason
from strop.agent.server.errors import GAVE_UP, ApiError
from strop.agent.server.protocol import Question
from strop.agent.server.text import StopFilter, cut
from strop.tools.errors import EngineError
from strop.tools.formats import (
    ArgumentText,
    CallBegun,
    Content,
    Piece,
    Reading,
    Reasoning,
    StreamReader,
    Thoughts,
    to_text,
)
from strop.tools.schema import validate_call


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as it is sent."""

    id: str
    """Random, so that no conversation has one twice."""
    name: str
    arguments: str
    """JSON text; of a call that broke off, the beginning of one."""

    def to_json(self) -> dict[str, Any]:
        """OpenAI's form."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


def new_call_id() -> str:
    """See `WrittenCall.id`."""
    return f"call_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer, ready to be sent."""

    content: str | None
    """None exactly where there are calls and no prose."""
    calls: tuple[WrittenCall, ...]
    finish_reason: str
    """``length`` wherever the limit cut the answer, else ``tool_calls`` or ``stop``."""
    reasoning: str | None = None
    """The thinking block."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired or left out."""
    unknown_tools: tuple[str, ...] = ()
    """Names called that were not on offer; the calls are in the reply all the same."""
    rounds: int = 0
    stop_reason: StopReason = StopReason.OFF
    p_stop: float | None = None
    """See `Answer.p_stop`."""
    problem: str | None = None
    """Why a text that looks like a call was not read as one, or is none that a strict tool takes, or where
    it broke off; see `strop.tools.formats.Reading`."""
    logprobs: tuple[dict[str, Any], ...] | None = None
    """OpenAI's objects, one a token of the text; None unless asked for."""

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


def to_json(value: Any) -> bytes:
    """JSON text as UTF-8; halves of surrogate pairs, which a model may well write, stay escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def read_text(text: str, question: Question, form: Form) -> Reading:
    """How `text` is read: as prose where no tool may be called."""
    reader = TextReader(question, form)
    reader.feed(text)
    return reader.finish("")


def choice_of(
    reading: Reading,
    finish: FinishReason,
    question: Question,
    *,
    ids: Sequence[str] = (),
    answer: Answer | None = None,
    logprobs: tuple[dict[str, Any], ...] | None = None,
) -> Choice:
    """An answer that was read, as it is sent; `ids` are those of calls that were already told.

    Raises ApiError 503 where the engine gave it up.
    """
    if finish is FinishReason.ABORT:
        raise ApiError(503, GAVE_UP, code="engine_error")
    texts = [(call.name, to_text(call.arguments)) for call in reading.calls]
    if reading.broken:
        texts.append((reading.broken.name, reading.broken.arguments))
    repairs = reading.repairs
    if question.one_call and len(texts) > 1:
        repairs += (f"left out {len(texts) - 1} more calls: parallel_tool_calls is false",)
        texts = texts[:1]
    fresh = (new_call_id() for _ in range(len(texts) - len(ids)))
    calls = tuple(WrittenCall(one, *text) for one, text in zip([*ids, *fresh], texts, strict=True))
    offered = {tool.name for tool in question.task.tools}
    read_as = "tool_calls" if calls else "stop"
    return Choice(
        content=reading.content or (None if calls else ""),
        calls=calls,
        finish_reason="length" if finish is FinishReason.LENGTH else read_as,
        reasoning=reading.reasoning,
        repairs=repairs,
        unknown_tools=tuple(call.name for call in calls if call.name not in offered),
        problem=reading.problem,
        rounds=answer.rounds if answer else 0,
        stop_reason=answer.stop_reason if answer else StopReason.OFF,
        p_stop=answer.p_stop if answer else None,
        logprobs=logprobs,
    )


@dataclass(frozen=True, slots=True)
class Form:
    """How a model's text is to be read."""

    call_format: str
    """Key of `strop.tools.formats.FORMATS`."""
    thinking: bool = False
    """Whether the prompt has opened a thinking block."""


class TextReader:
    """Reads text that arrives in pieces, up to a stop text."""

    def __init__(self, question: Question, form: Form):
        self._question = question
        self._stop = StopFilter(question.sampling.stop)
        tools = question.task.tools
        self._calls = StreamReader(form.call_format, tools, thinking=form.thinking) if tools else None
        self._thoughts = Thoughts(form.thinking)
        self._strict = frozenset(tool.name for tool in tools if tool.strict)
        self._prose, self._reasoning = "", ""
        """What was passed on where nothing is read as a call."""

    def feed(self, text: str) -> list[Piece]:
        """What can be sent now."""
        return self._pass(self._stop.feed(text))

    def finish(self, text: str) -> Reading:
        """What all of the text says, `text` being its end; what was not sent yet included.

        Calls of strict tools that their schemas refuse make the answer content. Decoding is constrained for
        them (`strop.agent.server.forcing`); this is for what slips past, in forms that have no mark to
        constrain from, and for engines that cannot.
        """
        self._pass(self._stop.feed(text) + self._stop.finish())
        if self._calls is None:
            self._set_apart(*self._thoughts.finish())
            return Reading((), self._prose, reasoning=self._reasoning or None)
        reading, tools = self._calls.finish()[1], self._question.task.tools
        calls = (call for call in reading.calls if call.name in self._strict)
        wrong = next((why for call in calls for why in validate_call(call, tools)), None)
        if wrong is None and (reading.broken is None or reading.broken.name not in self._strict):
            return reading
        wrong = wrong or f"{reading.broken and reading.broken.name}: the arguments break off"
        content = self._calls.answer.strip() or None
        problem = f"a strict tool is called wrongly: {wrong}"
        return Reading((), content, problem=problem, reasoning=reading.reasoning)

    def _pass(self, text: str) -> list[Piece]:
        if self._calls is None:
            return self._set_apart(*self._thoughts.feed(text))
        pieces = self._calls.feed(text)
        if not self._strict and not self._question.one_call:
            return pieces
        # A strict tool's calls wait until they are known to be right, calls after the first for ever.
        return [piece for piece in pieces if isinstance(piece, Content | Reasoning) or self._may_send(piece)]

    def _may_send(self, call: CallBegun | ArgumentText) -> bool:
        return not self._strict and call.index == 0

    def _set_apart(self, thought: str, prose: str) -> list[Piece]:
        self._reasoning += thought
        self._prose += prose
        return [*([Reasoning(thought)] if thought else []), *([Content(prose)] if prose else [])]


def reading_of(draft: Draft, question: Question, form: Form) -> Reading:
    """What a draft says, without the stop text that ended it."""
    text = cut(draft.text, question.sampling.stop)
    strict = any(tool.strict for tool in question.task.tools)
    if question.task.tools and text == draft.text and not draft.problem and not strict:
        return Reading(draft.calls, draft.content, draft.repairs, reasoning=draft.reasoning)
    return read_text(text, question, form)


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


@dataclass(slots=True)
class Sent:
    """What of a choice was streamed."""

    content: str = ""
    reasoning: str = ""
    calls: list[WrittenCall] = field(default_factory=list)
    """With the arguments that are out."""


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

    def piece(self, index: int, piece: Piece, sent: Sent) -> dict[str, Any]:
        """The chunk that tells `piece` of choice `index`, which is noted in `sent`."""
        match piece:
            case Reasoning(text):
                sent.reasoning += text
                return self.delta(index, {"reasoning_content": text})
            case Content(text):
                sent.content += text
                return self.delta(index, {"content": text})
            case CallBegun(position, name):
                sent.calls.append(WrittenCall(new_call_id(), name, ""))
                head = {"index": position, **sent.calls[-1].to_json()}
                return self.delta(index, {"tool_calls": [head]})
            case ArgumentText(position, text):
                call = sent.calls[position]
                sent.calls[position] = replace(call, arguments=call.arguments + text)
                rest = {"index": position, "function": {"arguments": text}}
                return self.delta(index, {"tool_calls": [rest]})

    def closing(self, index: int, choice: Choice, sent: Sent) -> Iterator[dict[str, Any]]:
        """The chunks that complete `choice`, of which `sent` is already out."""
        if rest := (choice.reasoning or "")[len(sent.reasoning) :]:
            yield self.delta(index, {"reasoning_content": rest})
        if choice.content is not None and (len(choice.content) > len(sent.content) or not choice.content):
            yield self.delta(index, {"content": choice.content[len(sent.content) :]})
        for position, call in enumerate(choice.calls):
            known = sent.calls[position] if position < len(sent.calls) else None
            if known is None:
                head = {"index": position, **replace(call, arguments="").to_json()}
                yield self.delta(index, {"tool_calls": [head]})
            if rest := call.arguments[len(known.arguments) if known else 0 :]:
                argument = {"index": position, "function": {"arguments": rest}}
                yield self.delta(index, {"tool_calls": [argument]})
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
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if choice.calls:
        message["tool_calls"] = [call.to_json() for call in choice.calls]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs_json(choice),
        "finish_reason": choice.finish_reason,
        "strop": choice.strop,
    }


def _logprobs_json(choice: Choice) -> dict[str, Any] | None:
    return None if choice.logprobs is None else {"content": list(choice.logprobs), "refusal": None}
