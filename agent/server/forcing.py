"""What a request forces an answer to be, as a structure the engine decodes under.

    tool_choice "required", or a named tool   at least one call, in the model's own form, by the schemas
    tools with ``strict: true``               free text, but a call of such a tool must match its schema
    response_format                           JSON, by its schema where there is one, or a call

Where the prompt has opened a thinking block, all of it is about what comes after the block (`structured`).
A schema may say more than a grammar can enforce. Where the client asked for ``strict`` that is refused, with
the keyword; elsewhere as much is enforced as can be, and calls are validated afterwards all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from strop.agent.engines.base import Sampling
from strop.agent.server.errors import refused
from strop.agent.server.messages import JsonFormat, NamedTool, ResponseFormat, SchemaFormat, ToolChoice
from strop.tools.spec import ToolSpec
from strop.tools.structure import (
    after_thoughts,
    calls_structure,
    either,
    json_structure,
    strict_structure,
    to_json,
    unsupported,
)


def structure_of(
    choice: ToolChoice | None,
    tools: Sequence[ToolSpec],
    answer: ResponseFormat | None,
    *,
    parallel: bool,
    call_format: str,
) -> str | None:
    """The structure, as `Sampling.structure` has it; None where the answer is free.

    `tools` are those on offer. Raises ApiError 400 for a strict schema that cannot be enforced.
    """
    _check_strict(tools, answer)
    if isinstance(choice, NamedTool):
        named = [tool for tool in tools if tool.name == choice.function.name]
        return to_json(calls_structure(call_format, named, parallel=False))
    if tools and is_required(choice):
        return to_json(calls_structure(call_format, tools, parallel=parallel))
    content = _content(answer)
    if content is not None:
        calls = calls_structure(call_format, tools, parallel=parallel) if tools else None
        return to_json(content if calls is None else either(content, calls))
    if any(tool.strict for tool in tools):
        return to_json(strict_structure(call_format, tools, parallel=parallel))
    return None


def structured(sampling: Sampling, *, thinking: bool) -> Sampling:
    """`sampling` for an answer that, `thinking`, begins inside a thinking block.

    Kept to its structure from the first id on, the model could never end the block, and all that it wrote
    would be read as thoughts.
    """
    if sampling.structure is None or not thinking:
        return sampling
    return replace(sampling, structure=after_thoughts(sampling.structure))


def is_required(choice: ToolChoice | None) -> bool:
    """Whether there must be a call, of whichever tool."""
    if choice is None or isinstance(choice, str | NamedTool):
        return choice == "required"
    return choice.allowed_tools.mode == "required"


def _content(answer: ResponseFormat | None) -> Mapping[str, Any] | None:
    if isinstance(answer, SchemaFormat):
        return json_structure(answer.json_schema.schema_)
    return json_structure(None) if isinstance(answer, JsonFormat) else None


def _check_strict(tools: Sequence[ToolSpec], answer: ResponseFormat | None) -> None:
    for index, tool in enumerate(tools):
        if tool.strict:
            _check_schema(tool.parameters, f"tools[{index}].function.parameters")
    if isinstance(answer, SchemaFormat) and answer.json_schema.strict:
        _check_schema(answer.json_schema.schema_ or {}, "response_format.json_schema.schema")


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    if problems := unsupported(schema):
        raise refused(f"{where}: strict is asked for, but {problems[0]} cannot be enforced", where)
