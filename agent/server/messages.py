"""The parts of a chat request's body: messages, tools, what to choose among them, how to answer.

Sources: OpenAI's API reference, "Create chat completion". Values are taken as they are, never converted:
``"1"`` is not 1. Fields that are not declared here are dropped; that is said where it happens.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from strop.agent.server.body import parse
from strop.tools.spec import ToolSpec


class Part(BaseModel):
    """No guessing: ``"1"`` is not 1. Fields that are not declared are dropped."""

    model_config = ConfigDict(strict=True, frozen=True)


class TextPart(Part):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(Part):
    """What an earlier answer called."""

    name: str = Field(min_length=1)
    arguments: str
    """JSON text of an object; an empty text is an empty object. What is no such text is taken as well: a call
    that broke off was answered so, and comes back with the rest of the conversation."""

    @field_validator("arguments")
    @classmethod
    def _is_bounded(cls, text: str) -> str:
        try:
            whole = isinstance(json.loads(text or "{}"), dict)
        except (ValueError, RecursionError):
            return text
        if whole:
            parse(text or "{}")
        return text or "{}"


class CalledTool(Part):
    """A tool call in an assistant's message."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Part):
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


class FunctionSpec(Part):
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


class OfferedTool(Part):
    """A tool on offer."""

    type: Literal["function"]
    function: FunctionSpec

    def spec(self) -> ToolSpec:
        return ToolSpec.from_openai(self.model_dump(exclude_none=True))


class FunctionName(Part):
    """A function, by name."""

    name: str = Field(min_length=1)


class NamedTool(Part):
    """``{"type": "function", "function": {"name": …}}``."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Part):
    """Some of the tools, to be called freely or for certain."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(Part):
    """``{"type": "allowed_tools", …}``: the others are not even shown."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool | AllowedChoice


class TextFormat(Part):
    """No form at all."""

    type: Literal["text"]


class JsonFormat(Part):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Part):
    """A JSON Schema under a name."""

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class SchemaFormat(Part):
    """JSON by a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat: TypeAlias = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]
