"""An OpenAI-compatible ``chat.completion``, validated, and the answer in it.

Read are the first choice's calls and prose, the usage, and Strop's own ``strop`` object where a Strop server
sends one. All else is somebody's extension and is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from strop.agent.answer import Answer, Draft, StopReason, Usage
from strop.agent.engines.base import FinishReason
from strop.tools.errors import DataError
from strop.tools.formats import read_calls
from strop.tools.spec import ToolCall, ToolSpec

NOT_NATIVE = "calls were written as text, not as tool_calls"
"""Repair recorded where the endpoint left the reading to us."""

_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST = 64


class WireFunction(BaseModel):
    name: str
    arguments: str | dict[str, Any] | None = None
    """JSON text by the standard; some servers send the object itself."""


class WireCall(BaseModel):
    function: WireFunction


def _joined(content: Any) -> Any:
    """The text of content that comes in parts, as some servers send it; anything else as it is."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


class WireMessage(BaseModel):
    content: Annotated[str | None, BeforeValidator(_joined)] = None
    tool_calls: list[WireCall] | None = None


class WireExtra(BaseModel):
    """What a Strop server says of a choice."""

    rounds: int = 0
    stop_reason: StopReason = StopReason.OFF
    repairs: list[str] = Field(default_factory=list)
    problem: str | None = None


class WireChoice(BaseModel):
    message: WireMessage
    finish_reason: str | None = None
    strop: WireExtra | None = None


class WireDetails(BaseModel):
    cached_tokens: int | None = None


class WireUsage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: WireDetails | None = None


class WireReply(BaseModel):
    """A ``chat.completion``."""

    choices: list[WireChoice] = Field(min_length=1)
    usage: WireUsage | None = None


def read_reply(body: bytes) -> WireReply:
    """Read a response's body. Raises DataError that names the first field which is not as it must be."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    try:
        # Halves of surrogate pairs, which models do write, are refused by pydantic: they become "?".
        return WireReply.model_validate_json(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise DataError(f"{where}: {first['msg']}" if where else first["msg"]) from None


class SafeNames:
    """Tool names in the alphabet commercial endpoints insist on, ``[a-zA-Z0-9_-]{1,64}``, and back.

    Every other character becomes ``_``; names that would then be equal get a number. Names of a reply that
    were never sent come back as they are.
    """

    def __init__(self, tools: Sequence[ToolSpec]):
        # Names that are fine keep themselves, whatever the others would become.
        self._given = {tool.name: tool.name for tool in tools if is_safe(tool.name)}
        self._sent = dict(self._given)
        for name in (tool.name for tool in tools if tool.name not in self._sent):
            self._sent[name] = safe = self._free(_UNSAFE.sub("_", name)[:_LONGEST] or "_")
            self._given[safe] = name

    def _free(self, wanted: str) -> str:
        safe, number = wanted, 1
        while safe in self._given:
            number += 1
            safe = f"{wanted[: _LONGEST - len(str(number)) - 1]}_{number}"
        return safe

    def send(self, name: str) -> str:
        """The safe form of a tool's name; of a name that is no tool's, its plain replacement."""
        return self._sent.get(name) or _UNSAFE.sub("_", name)[:_LONGEST] or "_"

    def receive(self, name: str) -> str:
        """The tool's own name."""
        return self._given.get(name, name)


def is_safe(name: str) -> bool:
    """Whether every endpoint takes this tool name."""
    return 0 < len(name) <= _LONGEST and not _UNSAFE.search(name)


def answer_of(
    reply: WireReply, names: SafeNames | None, *, tools: Sequence[ToolSpec], call_format: str
) -> Answer:
    """The answer in a reply.

    Calls the endpoint did not read itself are read from the text, as a policy's are, if `tools` (under the
    names they were sent by) were offered. Arguments that are no JSON object make the answer unreadable
    (`Draft.problem`), which is the model's fault and no error.
    """
    choice = reply.choices[0]
    extra = choice.strop or WireExtra()
    finish = FinishReason.LENGTH if choice.finish_reason == "length" else FinishReason.STOP
    draft = _draft(choice.message, names, finish, tools=tools, call_format=call_format, extra=extra)
    return Answer(draft, _usage(reply.usage), (draft,), extra.rounds, extra.stop_reason)


def _draft(
    message: WireMessage,
    names: SafeNames | None,
    finish: FinishReason,
    *,
    tools: Sequence[ToolSpec],
    call_format: str,
    extra: WireExtra,
) -> Draft:
    text, repairs, problem = message.content or "", list(extra.repairs), extra.problem
    calls: tuple[ToolCall, ...] = ()
    content = message.content or None
    if message.tool_calls:
        text = json.dumps([call.function.model_dump() for call in message.tool_calls], ensure_ascii=False)
        try:
            calls = tuple(_call(call.function, repairs) for call in message.tool_calls)
        except (DataError, ValueError, RecursionError) as error:
            # Too deep or with a number too long to be read, it is the model's fault all the same.
            content, problem = text, f"{error}"
    elif tools and text and problem is None:
        reading = read_calls(text, preferred=call_format, tools=tools)
        calls, content, problem = reading.calls, reading.content, reading.problem
        if problem is not None:  # half an answer is none
            calls, content = (), text
        repairs += [NOT_NATIVE, *reading.repairs] if calls else []
    if names is not None:
        calls = tuple(ToolCall(names.receive(call.name), call.arguments, call.text) for call in calls)
    return Draft((), (), text, calls, content, tuple(repairs), problem, finish_reason=finish)


def _call(function: WireFunction, repairs: list[str]) -> ToolCall:
    arguments = function.arguments
    if isinstance(arguments, dict):
        repairs.append("arguments were an object, not its JSON text")
    elif not (arguments or "").strip():
        repairs.append("arguments were empty")
        arguments = {}
    return ToolCall.from_json({"name": function.name, "arguments": arguments})


def _usage(usage: WireUsage | None) -> Usage:
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details or WireDetails()
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, details.cached_tokens or 0)


def messages_with_names(messages: Sequence[Mapping[str, Any]], names: SafeNames) -> list[dict[str, Any]]:
    """The conversation with the names of the calls already made in their safe form."""
    renamed = []
    for message in messages:
        calls = [
            {**call, "function": {**call["function"], "name": names.send(call["function"]["name"])}}
            for call in message.get("tool_calls") or ()
        ]
        renamed.append({**message, "tool_calls": calls} if calls else dict(message))
    return renamed
