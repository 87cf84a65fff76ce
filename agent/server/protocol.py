"""The body of ``POST /v1/chat/completions``, and what it asks for in Strop's words.

Sources: OpenAI's API reference, "Create chat completion"; the one field of our own is `strop`.
A field is in one of four groups: read (`ChatRequest`), ignored because the answer cannot depend on it
(`IGNORED`), accepted at the value that changes nothing (`NEUTRAL`), refused. That is so at the top of the
body; inside its objects fields that are not declared are dropped (`strop.agent.server.messages.Part`).
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from strop.agent.engines.base import Sampling
from strop.agent.refinement import OFF, RefineSetting, parse_refine
from strop.agent.server.errors import of_validation, refused
from strop.agent.server.forcing import structure_of
from strop.agent.server.messages import (
    AllowedChoice,
    ChatMessage,
    NamedTool,
    OfferedTool,
    Part,
    ResponseFormat,
    ToolChoice,
)
from strop.tools.errors import UsageError
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

Body = TypeVar("Body", bound=BaseModel)

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
    "top_k": (-1, 0),
    "function_call": (),
    "functions": (),
}
"""Fields that are not supported, and their values that change nothing (null is always one)."""


class StreamOptions(Part):
    """Only `include_usage` means anything here."""

    include_usage: bool | None = None


class StropOptions(BaseModel):
    """Our own field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    refine: str | int | None = None
    """As `parse_refine` reads it; null is the server's own setting."""

    @field_validator("refine")
    @classmethod
    def _is_one(cls, value: str | int | None) -> str | int | None:
        if value is not None:
            try:
                parse_refine(str(value))
            except UsageError as error:
                raise ValueError(str(error)) from error
        return value


StopText: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ChatRequest(BaseModel):
    """The fields that are read, with OpenAI's names and ranges."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    model: str | None = None
    """Missing: the one model that is served."""
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[OfferedTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    strop: StropOptions | None = None

    @field_validator("max_completion_tokens")
    @classmethod
    def _is_one_limit(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("max_tokens") not in (None, value):
            raise ValueError("is not max_tokens: give one of them")
        return value

    @field_validator("top_logprobs")
    @classmethod
    def _has_log_probabilities(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("is only allowed where logprobs is true")
        return value

    @field_validator("stream_options")
    @classmethod
    def _has_a_stream(cls, value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise ValueError("is only allowed where stream is true")
        return value

    @property
    def refine(self) -> RefineSetting | None:
        """None where the request leaves it to the server."""
        setting = self.strop.refine if self.strop else None
        return None if setting is None else parse_refine(str(setting))


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
    """``parallel_tool_calls: false``, or a named tool: calls after the first are left out, which is said."""


def read_body(kind: type[Body], body: Mapping[str, Any]) -> Body:
    """Validate a body. Raises ApiError 400 that names the first wrong field."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise of_validation(error, body) from error


def read_request(body: Mapping[str, Any]) -> ChatRequest:
    """Read a chat request. Raises ApiError 400 that names the first wrong field."""
    request = read_body(ChatRequest, body)
    for name, value in (request.model_extra or {}).items():
        check_extra(name, value, IGNORED, NEUTRAL)
    _check_tools(request)
    return request


def refine_of_header(text: str | None) -> RefineSetting | None:
    """What the header says; None where there is none. Raises ApiError 400."""
    if text is None:
        return None
    try:
        return parse_refine(text)
    except UsageError as error:
        raise refused(f"X-Strop-Refine: {error}") from error


def check_extra(
    name: str, value: Any, ignored: Container[str], neutral: Mapping[str, tuple[Any, ...]]
) -> None:
    """Raise ApiError 400 for a field that nothing reads, unless it may be there with that value."""
    if value is None or name in ignored:
        return
    if name not in neutral:
        raise refused(f"unknown field {name[:100]!r}", name[:100])
    if isinstance(value, bool) or value not in neutral[name]:
        raise refused(f"{name!r} is not supported by this server and would change the answer", name)


def _check_tools(request: ChatRequest) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        if tool.function.name in seen:
            raise refused(f"tools[{index}]: a second tool called {tool.function.name!r}", f"tools[{index}]")
        seen.add(tool.function.name)
    if not seen and request.tool_choice not in (None, "auto", "none"):
        raise refused("tool_choice: there are no tools to choose from", "tool_choice")
    for name in sorted(_named(request.tool_choice) - seen):
        raise refused(f"tool_choice: no tool called {name[:200]!r} is on offer", "tool_choice")


def _named(choice: ToolChoice | None) -> set[str]:
    """Names of the tools that a choice mentions."""
    if isinstance(choice, NamedTool):
        return {choice.function.name}
    return (
        {tool.function.name for tool in choice.allowed_tools.tools}
        if isinstance(choice, AllowedChoice)
        else set()
    )


def _offered(request: ChatRequest) -> tuple[ToolSpec, ...]:
    """The tools that the model is shown. A named one is shown among the others, as OpenAI does."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    allowed = _named(choice) if isinstance(choice, AllowedChoice) else None
    return tuple(
        tool.spec() for tool in request.tools or () if allowed is None or tool.function.name in allowed
    )


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request gets for saying nothing, and what its structure depends on."""

    sampling: Sampling
    refine: RefineSetting
    call_format: str
    """The form the model writes calls in."""
    structures: bool
    """Whether the engine can constrain; if not, strict tools are only checked."""


def question_of(request: ChatRequest, defaults: Defaults) -> Question:
    """What `request` asks for. Raises ApiError 400 for a strict schema that cannot be enforced."""
    offered = _offered(request)
    task = Task(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        messages=tuple(message.model_dump(exclude_none=True) for message in request.messages),
        tools=offered,
    )
    structure = structure_of(
        request.tool_choice,
        offered if defaults.structures else tuple(replace(tool, strict=False) for tool in offered),
        request.response_format,
        parallel=request.parallel_tool_calls is not False,
        call_format=defaults.call_format,
    )
    wanted = request.refine
    return Question(
        task=task,
        sampling=replace(_sampling(request, defaults.sampling), structure=structure),
        refine=OFF if not offered else defaults.refine if wanted is None else wanted,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        one_call=request.parallel_tool_calls is False or isinstance(request.tool_choice, NamedTool),
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
        top_logprobs=request.top_logprobs or 0,
    )
