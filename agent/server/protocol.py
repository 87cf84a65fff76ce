"""The body of ``POST /v1/chat/completions``, and what it asks for in Strop's words.

Sources: OpenAI's API reference, "Create chat completion"; the one field of our own is `strop`.
A field is in one of four groups: read (`ChatRequest`), ignored because the answer cannot depend on it
(`IGNORED`), accepted at the value that changes nothing (`NEUTRAL`), refused. Nothing else is dropped.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from strop.agent.answer import MAX_ROUNDS
from strop.agent.engines.base import Sampling
from strop.agent.server.body import parse
from strop.agent.server.errors import of_validation, refused
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

RefineSetting: TypeAlias = Literal["off", "adaptive"] | int
"""No refinement, as much as pays, or at most N check turns."""

IGNORED: Final = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""Fields of OpenAI's that say how to keep, bill or speed up a request."""

NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "min_p": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "top_k": (-1, 0),
    "top_logprobs": (0,),
    "function_call": (),
    "functions": (),
}
"""Fields that are not supported, and their values that change nothing (null is always one)."""


class _Strict(BaseModel):
    """No guessing: ``"1"`` is not 1. Fields that are not declared are dropped."""

    model_config = ConfigDict(strict=True, frozen=True)


class TextPart(_Strict):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(_Strict):
    """What an earlier answer called."""

    name: str = Field(min_length=1)
    arguments: str
    """JSON text of an object; an empty text is an empty object."""

    @field_validator("arguments")
    @classmethod
    def _is_object(cls, text: str) -> str:
        if not isinstance(parse(text or "{}"), dict):
            raise ValueError("must be the JSON text of an object")
        return text or "{}"


class CalledTool(_Strict):
    """A tool call in an assistant's message."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(_Strict):
    """One message; what other servers add to theirs (`refusal`, `annotations`, `name`, …) is not read."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    function_call: None = None
    """OpenAI's retired form; refused rather than dropped."""
    audio: None = None
    """Refused: the models are text-only."""

    @model_validator(mode="after")
    def _is_whole(self) -> ChatMessage:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content is missing")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a tool's message needs the tool_call_id it answers")
        return self


class FunctionSpec(_Strict):
    """A function on offer."""

    name: str = Field(min_length=1, max_length=256)
    """Wider than OpenAI's: dots and dashes are what real tools have."""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _reads_as_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        """The two keywords that Strop itself looks at."""
        required, properties = (schema or {}).get("required"), (schema or {}).get("properties")
        if required is not None and not (
            isinstance(required, list) and all(isinstance(name, str) for name in required)
        ):
            raise ValueError("'required' must be a list of names")
        if properties is not None and not isinstance(properties, dict):
            raise ValueError("'properties' must be an object")
        return schema


class OfferedTool(_Strict):
    """A tool on offer."""

    type: Literal["function"]
    function: FunctionSpec

    def spec(self) -> ToolSpec:
        return ToolSpec.from_openai(self.model_dump(exclude_none=True))


class StreamOptions(_Strict):
    """Only `include_usage` means anything here."""

    include_usage: bool | None = None


class StropOptions(BaseModel):
    """Our own field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    refine: Literal["off", "adaptive"] | Annotated[int, Field(ge=0, le=MAX_ROUNDS)] | None = None
    """0 is ``off``; null is the server's own setting."""


_StopText: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_Limit: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ChatRequest(BaseModel):
    """The fields that are read, with OpenAI's names and ranges."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    model: str | None = None
    """Missing: the one model that is served."""
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[OfferedTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: _StopText | Annotated[list[_StopText], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    logprobs: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    strop: StropOptions | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ChatRequest:
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) == 2:
            raise ValueError("max_tokens and max_completion_tokens differ: give one of them")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed where stream is true")
        return self

    @property
    def refine(self) -> RefineSetting | None:
        """None where the request leaves it to the server."""
        setting = self.strop.refine if self.strop else None
        return "off" if setting == 0 else setting


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks for."""

    task: Task
    """Its tools are those that may be called: none under ``tool_choice: "none"``."""
    sampling: Sampling
    """`max_tokens` is the request's, or the server's default; the context may leave less."""
    refine: RefineSetting
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with a chunk of usage."""
    one_call: bool = False
    """``parallel_tool_calls: false``: calls after the first are left out, and the reply says so."""


def read_request(body: Mapping[str, Any]) -> ChatRequest:
    """Validate a body. Raises ApiError 400 that names the first wrong field."""
    try:
        request = ChatRequest.model_validate(body)
    except ValidationError as error:
        raise of_validation(error, body) from error
    for name, value in (request.model_extra or {}).items():
        _check_extra(name, value)
    _check_tools(request)
    return request


def _check_extra(name: str, value: Any) -> None:
    if value is None or name in IGNORED:
        return
    if name not in NEUTRAL:
        raise refused(f"unknown field {name[:100]!r}", name[:100])
    if isinstance(value, bool) or value not in NEUTRAL[name]:
        raise refused(f"{name!r} is not supported by this server and would change the answer", name)


def _check_tools(request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice == "required" or isinstance(choice, dict):
        raise refused("tool_choice: this server cannot force a call yet; use 'auto' or 'none'", "tool_choice")
    seen: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        if tool.function.name in seen:
            raise refused(f"tools[{index}]: a second tool called {tool.function.name!r}", f"tools[{index}]")
        seen.add(tool.function.name)


def question_of(request: ChatRequest, sampling: Sampling, refine: RefineSetting) -> Question:
    """What `request` asks for, where `sampling` and `refine` are what it gets for saying nothing."""
    offered = () if request.tool_choice == "none" else tuple(tool.spec() for tool in request.tools or ())
    task = Task(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        messages=tuple(message.model_dump(exclude_none=True) for message in request.messages),
        tools=offered,
    )
    wanted = request.refine
    return Question(
        task=task,
        sampling=_sampling(request, sampling),
        refine="off" if not offered else refine if wanted is None else wanted,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        one_call=request.parallel_tool_calls is False,
    )


def _sampling(request: ChatRequest, default: Sampling) -> Sampling:
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    limit = request.max_completion_tokens or request.max_tokens
    return replace(
        default,
        max_tokens=default.max_tokens if limit is None else limit,
        temperature=default.temperature if request.temperature is None else request.temperature,
        top_p=default.top_p if request.top_p is None else request.top_p,
        n=request.n or 1,
        seed=None if request.seed is None else request.seed % 2**31,
        stop=stop,
        logprobs=bool(request.logprobs),
    )
