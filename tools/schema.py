"""JSON Schemas as tools really carry them: normalised, asked for a value's type, and used to validate a call.

Benchmarks and older prompts write Python's type names (``dict``, ``float``, ``tuple``, ``any``); `normalised`
turns them into JSON Schema's. Types are JSON Schema's own: 5.0 is an integer, True is no number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from strop.tools.spec import ToolCall, ToolSpec

_JSON_TYPES: Mapping[str, str] = {
    "dict": "object", "hashmap": "object", "map": "object",
    "list": "array", "tuple": "array", "set": "array", "arraylist": "array",
    "float": "number", "double": "number", "decimal": "number",
    "int": "integer", "long": "integer", "short": "integer", "byte": "integer",
    "str": "string", "char": "string",
    "bool": "boolean",
    "none": "null", "nonetype": "null",
}  # fmt: skip
_TYPES = frozenset({"object", "array", "number", "integer", "string", "boolean", "null"})
_SUBSCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames")
_LISTS_OF_SUBSCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
MAPS_OF_SUBSCHEMAS = ("properties", "patternProperties", "$defs", "definitions")


def normalised(schema: Any) -> Any:
    """`schema` with JSON Schema's type names; an unknown one (``any``) becomes no restriction."""
    if not isinstance(schema, Mapping):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type":
            types = _types_of(schema)
            if types:
                out["type"] = types[0] if len(types) == 1 else list(types)
        elif key in _SUBSCHEMAS:
            out[key] = normalised(value)
        elif key in _LISTS_OF_SUBSCHEMAS and isinstance(value, Sequence):
            out[key] = [normalised(item) for item in value]
        elif key in MAPS_OF_SUBSCHEMAS and isinstance(value, Mapping):
            out[key] = {name: normalised(item) for name, item in value.items()}
        elif key != "required" or isinstance(value, list):  # `required: true` on one argument is draft 3's
            out[key] = value
    return out


def _types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """JSON types `schema` allows by its ``type``; () for any."""
    named = schema.get("type")
    names = named if isinstance(named, list) else [named]
    types = [_JSON_TYPES.get(name.lower(), name.lower()) for name in names if isinstance(name, str)]
    return tuple(dict.fromkeys(types)) if types and all(name in _TYPES for name in types) else ()


def type_name(value: Any) -> str:
    """JSON type of a value, as people say it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
    return "array"


def fits_type(value: Any, schema: Any) -> bool:
    """Whether `value` and what it contains have types `schema` allows (its other rules are not looked at)."""
    if not isinstance(schema, Mapping):
        return True
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and not any(fits_type(value, option) for option in options):
            return False
    types = _types_of(schema)
    if types and not any(_is_of_type(value, name) for name in types):
        return False
    if isinstance(value, Mapping):
        properties = schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        return all(fits_type(item, known.get(key)) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(fits_type(item, schema.get("items")) for item in value)
    return True


def _is_of_type(value: Any, name: str) -> bool:
    actual = type_name(value)
    if name == "number":
        return actual in ("number", "integer")
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return actual == name


def described_type(schema: Any) -> str:
    """The type `schema` asks for, for a sentence: ``integer``, ``string or null``, ``any type``."""
    types = _types_of(schema) if isinstance(schema, Mapping) else ()
    return " or ".join(types) or "any type"


def validate_call(call: ToolCall, tools: Sequence[ToolSpec]) -> list[str]:
    """What is wrong with `call` by the schemas of `tools`, as sentences a model can act on; [] if nothing is.

    An argument the schema does not name is wrong unless the schema allows others explicitly.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        names = ", ".join(tool.name for tool in tools) or "none"
        return [f"There is no tool {call.name!r}; the tools are: {names}."]
    missing = [name for name in tool.required if name not in call.arguments]
    problems = [f"{call.name}: the required argument {name!r} is missing." for name in missing]
    if "properties" in tool.parameters and not tool.parameters.get("additionalProperties"):
        known = ", ".join(tool.properties) or "none"
        unexpected = [name for name in call.arguments if name not in tool.properties]
        problems += [
            f"{call.name}: there is no argument {name!r}; there are: {known}." for name in unexpected
        ]
    return problems + _schema_problems(call, tool)


def _schema_problems(call: ToolCall, tool: ToolSpec) -> list[str]:
    """What is wrong with the arguments that are given and known."""
    schema = normalised(tool.parameters)
    try:
        Draft202012Validator.check_schema(schema)
        # A registry of its own: references outside the schema fail instead of being fetched.
        validator = Draft202012Validator(schema, registry=Registry())
        errors = sorted(validator.iter_errors(dict(call.arguments)), key=lambda error: error.json_path)
    except (SchemaError, Unresolvable, re.error, RecursionError, ValueError, OverflowError, TypeError):
        # A schema that is itself broken, or a number that its ``multipleOf`` cannot divide, rules out nothing
        # but types: hardly the call's fault.
        return _type_problems(call, tool)
    own = ("required", "additionalProperties")  # said above, in words of ours
    return [_sentence(call, error) for error in errors if error.path or error.validator not in own]


def _type_problems(call: ToolCall, tool: ToolSpec) -> list[str]:
    return [
        f"{call.name}: argument {name!r} must be of type {described_type(tool.properties.get(name))}, "
        f"not {type_name(value)}."
        for name, value in call.arguments.items()
        if not fits_type(value, tool.properties.get(name))
    ]


def _sentence(call: ToolCall, error: ValidationError) -> str:
    cause = best_match(error.context) if error.context else None
    error = cause or error
    name, *inner = error.absolute_path or ("",)
    where = f"argument {name!r}" + "".join(f"[{part!r}]" for part in inner) if name else "the arguments"
    if error.validator == "type":
        wanted = described_type({"type": error.validator_value})
        return f"{call.name}: {where} must be of type {wanted}, not {type_name(error.instance)}."
    if error.validator == "enum":
        allowed = ", ".join(repr(value) for value in _items(error.validator_value))
        return f"{call.name}: {where} must be one of {allowed}, not {error.instance!r}."
    return f"{call.name}: {where}: {error.message[:200]}."


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
