"""From JSON values to calls: which shapes are calls, which are broken calls, and which are just data.

In this order an object is a call if it has
1. a name (``name``) and arguments (``arguments``);
2. the arguments under ``parameters``, ``args``, ``kwargs`` or ``input``, or the name as a string under
   ``function``, ``tool``, ``tool_name`` or ``function_name`` (recorded as repairs);
3. such an object under ``function`` (OpenAI's form), or a list of them under ``tool_calls``.
Arguments are an object, an object's JSON text, or null for none (the last two are repairs). A tool's
description repeated by the model is data: ``description`` beside ``parameters``, or a schema in their place
(both where the key is ``arguments``, for what is given there may well look like a schema). So is an object
whose ``parameters`` (``args``…) are none; whose ``arguments`` are none, it is a broken call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.tools.formats.loose_json import ARGUMENT_KEYS, NAME_KEYS, LooseJson, UnreadableError
from strop.tools.spec import ToolCall

Repairs = dict[str, None]
"""An ordered set of repairs."""


def calls_of(value: Any, text: str, repairs: Repairs) -> list[ToolCall] | None:
    """The calls `value` says, [] for an empty list, None where it is data. `text` is what it was read from.

    Raises UnreadableError where it is a call in part only.
    """
    if isinstance(value, list):
        return calls_of_items([(item, text) for item in value], repairs)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("tool_calls"), list) and not any(key in value for key in NAME_KEYS):
        repairs["calls nested under 'tool_calls'"] = None
        return calls_of(value["tool_calls"], text, repairs)
    call = _call_of(value, text, repairs)
    return None if call is None else [call]


def calls_of_items(items: list[tuple[Any, str]], repairs: Repairs) -> list[ToolCall] | None:
    """As `calls_of`, for the items of a list and the text of each."""
    found = [_call_of(item, text, repairs) if isinstance(item, dict) else None for item, text in items]
    calls = [call for call in found if call is not None]
    if not calls:
        return None if items else []
    if len(calls) < len(found):
        raise UnreadableError(f"item {found.index(None) + 1} of the list is not a call")
    return calls


def looks_like_call(keys: set[str]) -> bool:
    """Whether an object cut off or broken after these keys was meant as a call."""
    return not keys.isdisjoint(NAME_KEYS[:3]) and not keys.isdisjoint(ARGUMENT_KEYS[:2])


def _call_of(value: Mapping[str, Any], text: str, repairs: Repairs) -> ToolCall | None:
    nested = value.get("function")
    if isinstance(nested, dict):
        call = _call_of(nested, text, repairs)
        if call is not None:
            repairs["name nested under 'function'"] = None
        return call
    name_key = next((key for key in NAME_KEYS if key in value), None)
    arguments_key = next((key for key in ARGUMENT_KEYS if key in value), None)
    if name_key is None or arguments_key is None or _is_description(value, arguments_key):
        return None
    name = value[name_key]
    if not isinstance(name, str) or not name.strip():
        raise UnreadableError("a call without a name")
    arguments = _arguments_of(value[arguments_key], repairs)
    if arguments is None and arguments_key != "arguments":
        return None
    if arguments is None:
        raise UnreadableError(f"the arguments of {name!r} are not an object")
    if name_key != "name":
        repairs[f"name given under '{name_key}'"] = None
    if arguments_key != "arguments":
        repairs[f"arguments given under '{arguments_key}'"] = None
    return ToolCall(name, arguments, text)


def _arguments_of(value: Any, repairs: Repairs) -> dict[str, Any] | None:
    if value is None:
        repairs["null arguments read as none"] = None
        return {}
    if isinstance(value, str):
        value = _parsed(value, repairs)
    return value if isinstance(value, dict) else None


def _parsed(text: str, repairs: Repairs) -> Any:
    """The JSON value `text` is, or None."""
    if not text.strip():
        repairs["empty arguments text read as none"] = None
        return {}
    reader = LooseJson(text)
    try:
        value, end = reader.value(reader.skip_space(0))
    except UnreadableError:
        return None
    if reader.skip_space(end) < len(text):
        return None
    repairs["arguments given as JSON text"] = None
    repairs.update(reader.repairs)
    return value


def _is_description(value: Mapping[str, Any], arguments_key: str) -> bool:
    """Whether this is a tool's own description, with a JSON Schema where a call has its arguments."""
    described, schema = "description" in value, _is_schema(value[arguments_key])
    return described and schema if arguments_key == "arguments" else described or schema


def _is_schema(value: Any) -> bool:
    """Whether `value` is the JSON Schema of an object with its properties."""
    return (
        isinstance(value, dict)
        and value.get("type") == "object"
        and isinstance(value.get("properties"), dict)
        and all(isinstance(schema, dict) for schema in value["properties"].values())
    )
