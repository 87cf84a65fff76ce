"""What a tool is, and what a call of it is.

A `ToolSpec` is read from the OpenAI form (``{"type": "function", "function": {…}}``, or the bare
inner object) and rendered back to it. Only JSON travels: nothing here imports or runs a tool.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strop.tools.errors import DataError


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A callable tool."""

    name: str
    """As the model is to write it; may contain dots, dashes and spaces."""
    description: str
    """One paragraph for the model; may be empty."""
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments object (``type: object``)."""
    strict: bool = False
    """OpenAI's flag: arguments must validate against `parameters`."""

    @classmethod
    def from_openai(cls, tool: Mapping[str, Any]) -> ToolSpec:
        """Read OpenAI's tool object. Raises DataError naming what is missing."""
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise DataError(f"a tool needs a 'function' with a 'name', got {json.dumps(tool)[:120]}")
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise DataError(f"tool {function['name']!r}: 'parameters' must be an object")
        required = parameters.get("required")
        if isinstance(required, list | tuple) and not all(isinstance(name, str) for name in required):
            raise DataError(f"tool {function['name']!r}: 'required' must be a list of names")
        return cls(
            name=function["name"],
            description=str(function.get("description") or ""),
            parameters=parameters,
            strict=bool(function.get("strict")),
        )

    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form; the inverse of `from_openai`."""
        function: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}

    @property
    def properties(self) -> Mapping[str, Any]:
        """Schemas of the arguments by name; empty where the schema names none."""
        properties = self.parameters.get("properties")
        return properties if isinstance(properties, Mapping) else {}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments every call must give."""
        required = self.parameters.get("required")
        return tuple(required) if isinstance(required, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: a name and parsed arguments. Equality ignores how it was written."""

    name: str
    arguments: Mapping[str, Any]
    """Parsed JSON object."""
    text: str = field(default="", compare=False)
    """Exact text it was read from; empty for a call that was never text."""

    def __str__(self) -> str:
        """For a person: ``name(argument="value")``."""
        given = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return f"{self.name}({', '.join(given)})"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ToolCall:
        """Read ``{"name", "arguments"}``; arguments may be an object or its JSON text."""
        name, arguments = (
            (row.get("name"), row.get("arguments")) if isinstance(row, Mapping) else (None, None)
        )
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError) as error:
                raise DataError(f"call {name!r}: arguments are not JSON ({error})") from error
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            raise DataError(f"a call needs 'name' and 'arguments', got {json.dumps(row)[:120]}")
        return cls(name, arguments)
