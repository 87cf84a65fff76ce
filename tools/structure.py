"""Structures: what an engine must keep to while it writes, as XGrammar's structural tags.

A structure is built from call formats and JSON Schemas here, travels as JSON text (`Sampling.structure`) and
is enforced by the engine, token by token. Calls are written in the model's own form where that is JSON
(fenced, bare, Hermes); a model of any other form is held to bare JSON, which every reader of Strop knows.

A grammar cannot say all that JSON Schema can. `prepared` keeps what can be enforced, by XGrammar's own rules
and those found by trying it (tests/tools/test_structure.py holds each to it); `unsupported` names the rest.
Objects whose properties are named take no others unless the schema says so; properties come in the schema's
order, as in OpenAI's structured outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from strop.tools.formats.thoughts import END
from strop.tools.schema import MAPS_OF_SUBSCHEMAS, fits_type, normalised
from strop.tools.spec import ToolSpec

Structure = Mapping[str, Any]
"""A format of XGrammar's structural tags."""

MOST_SPACE = 40
"""Characters of whitespace allowed between two JSON tokens: models that may write it forever do."""

_SPACE: Structure = {"type": "regex", "pattern": f"[ \\n]{{0,{MOST_SPACE}}}"}
_NOTES = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$defs", "definitions", "strict"}
)
"""Keywords that rule out no value by themselves."""
_ANYWHERE = frozenset({"type", "enum", "const", "anyOf", "allOf", "$ref"})
_OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
"""Keywords enforced where ``type`` names the one type they are about."""
_IGNORED_BESIDES = ("enum", "const", "anyOf", "allOf", "$ref")
"""With one of these, everything else that restricts is ignored, so that both together are refused."""
_FORMATS = frozenset(
    {"date", "time", "date-time", "email", "uri", "uuid", "ipv4", "ipv6", "hostname", "duration"}
)


def calls_structure(call_format: str, tools: Sequence[ToolSpec], *, parallel: bool) -> Structure:
    """At least one call of `tools` and nothing else; exactly one unless `parallel`."""
    call = _any_call(tools)
    if call_format == "hermes":
        one = _sequence(_text("<tool_call>\n"), call, _text("\n</tool_call>"))
        return _separated(one, _text("\n")) if parallel else one
    array = _sequence(_text("["), _SPACE, _separated(call, _comma()), _SPACE, _text("]"))
    value = either(call, array) if parallel else call
    return _sequence(_text("```json\n"), value, _text("\n```")) if call_format == "fenced_json" else value


def strict_structure(call_format: str, tools: Sequence[ToolSpec], *, parallel: bool) -> Structure:
    """Free text, in which what opens like a call is one of `tools`, by its schema where that is strict.

    A model whose form has no opening mark is not constrained before its text begins with a bracket; what it
    writes after prose is for the reader to refuse (`strop.tools.schema.validate_call`).
    """
    if call_format == "hermes":
        return _triggered("<tool_call>", "\n", _any_call(tools), "\n</tool_call>", parallel)
    if call_format == "fenced_json":
        call = _any_call(tools)
        array = _sequence(_text("["), _SPACE, _separated(call, _comma()), _SPACE, _text("]"))
        return _triggered("```json", "\n", either(call, array) if parallel else call, "\n```", parallel)
    prose = _sequence({"type": "regex", "pattern": "[^\\[\\{ \\n]"}, {"type": "any_text"})
    return either(calls_structure(call_format, tools, parallel=parallel), prose)


def json_structure(schema: Mapping[str, Any] | None) -> Structure:
    """JSON by `schema`; any object where there is none."""
    return _json(prepared(schema) if schema else {"type": "object", "additionalProperties": True})


def either(*structures: Structure) -> Structure:
    """Whichever of them the model begins."""
    return {"type": "or", "elements": list(structures)}


def to_json(structure: Structure) -> str:
    """What `Sampling.structure` carries."""
    return json.dumps({"type": "structural_tag", "format": structure}, ensure_ascii=False)


def or_text(structure: str, text: str) -> str:
    """`structure`, as JSON text, or exactly `text`: what a check turn may be answered with."""
    return to_json(either(json.loads(structure)["format"], _text(text)))


def after_thoughts(structure: str) -> str:
    """`structure`, as JSON text, after the rest of a thinking block that the prompt has opened."""
    thoughts = {"type": "tag", "begin": "", "content": {"type": "any_text"}, "end": END}
    return to_json(_sequence(thoughts, _SPACE, json.loads(structure)["format"]))


def prepared(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` so that enforcing it forbids nothing it allows, but for properties it does not name.

    Python's type names become JSON Schema's, required properties get a schema if they have none, and an
    object without properties is open (XGrammar takes it for empty).
    """
    return dict(_opened(normalised(schema)))


def _opened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_opened(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    out = {key: _opened_at(key, value) for key, value in schema.items()}
    named = out.get("properties")
    if isinstance(named, Mapping):
        required = out.get("required")
        missing = [name for name in required if name not in named] if isinstance(required, list) else []
        if missing and out.get("additionalProperties") is not False:
            out["properties"] = {**named, **{name: {} for name in missing}}
    elif out.get("type") == "object":
        out.setdefault("additionalProperties", True)
    return out


def _opened_at(key: str, value: Any) -> Any:
    """The value of a keyword, opened where it is a schema or has some."""
    if key in ("enum", "const", "default"):
        return value
    if key in MAPS_OF_SUBSCHEMAS and isinstance(value, Mapping):
        return {name: _opened(schema) for name, schema in value.items()}
    return _opened(value)


def unsupported(schema: Any) -> list[str]:
    """What of `schema` no engine can enforce while writing, as ``keyword at path``; [] if all of it can."""
    return list(_unsupported(normalised(schema), "#"))


def _unsupported(schema: Any, path: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    kind = schema.get("type")
    own = _OF_TYPE.get(kind, frozenset()) if isinstance(kind, str) else frozenset()
    alone = next((key for key in _IGNORED_BESIDES if key in schema), None)
    for key, value in schema.items():
        if key in _NOTES or (key == "type" and (alone is None or _types_agree(schema, alone))):
            continue
        if key == "format" and kind == "string" and value not in _FORMATS:
            continue  # an annotation to every validator that does not know it
        if key not in _ANYWHERE | own:
            yield f"{key!r} at {path}"
        elif alone not in (None, key):
            yield f"{key!r} beside {alone!r} at {path}"
    yield from _conflicts(schema, path)
    yield from _inner(schema, path)


def _types_agree(schema: Mapping[str, Any], alone: str) -> bool:
    """Whether ``type`` adds nothing to the keyword that hides it."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if alone in ("enum", "const"):
        values = schema["enum"] if alone == "enum" else [schema["const"]]
        return isinstance(values, list) and all(fits_type(value, {"type": kinds}) for value in values)
    options = schema[alone] if isinstance(schema[alone], list) else []
    return bool(options) and all(isinstance(one, Mapping) and one.get("type") in kinds for one in options)


def _conflicts(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Keywords of which only one is enforced, and lists that must have one item."""
    of_text = [key for key in ("pattern", "format") if key in schema]
    lengths = [key for key in ("minLength", "maxLength") if key in schema]
    if len(of_text) > 1 or (of_text and lengths):
        yield f"{(of_text + lengths)[1]!r} beside {of_text[0]!r} at {path}"
    if "pattern" in schema and "(?" in str(schema["pattern"]).replace("(?:", ""):
        yield f"'pattern' with look-around or flags at {path}"
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) != 1:
        yield f"'allOf' of several at {path}"
    if "properties" in schema and isinstance(schema.get("required"), list):
        unknown = [name for name in schema["required"] if name not in schema["properties"]]
        if unknown and schema.get("additionalProperties") is False:
            yield f"'required' of {unknown[0]!r}, which no property is, at {path}"
    elif schema.get("required"):
        yield f"'required' without 'properties' at {path}"
    if "properties" in schema and ("minProperties" in schema or "maxProperties" in schema):
        yield f"'minProperties' or 'maxProperties' beside 'properties' at {path}"


def _inner(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for key in ("items", "additionalProperties"):
        yield from _unsupported(schema.get(key), f"{path}/{key}")
    for key in ("anyOf", "allOf", "prefixItems"):
        options = schema.get(key)
        for index, option in enumerate(options if isinstance(options, list) else ()):
            yield from _unsupported(option, f"{path}/{key}/{index}")
    for key in ("properties", "$defs", "definitions"):
        named = schema.get(key)
        for name, option in named.items() if isinstance(named, Mapping) else ():
            if option is False:
                yield f"'false' as a schema at {path}/{key}/{name}"
            yield from _unsupported(option, f"{path}/{key}/{name}")


def _any_call(tools: Sequence[ToolSpec]) -> Structure:
    calls = [_call(tool) for tool in tools]
    return calls[0] if len(calls) == 1 else either(*calls)


def _call(tool: ToolSpec) -> Structure:
    name = json.dumps(tool.name, ensure_ascii=False)
    arguments = _json(prepared({"type": "object", **tool.parameters}))
    return _sequence(
        _text("{"), _SPACE, _text('"name":'), _SPACE, _text(name), _SPACE, _text(","), _SPACE,
        _text('"arguments":'), _SPACE, arguments, _SPACE, _text("}"),
    )  # fmt: skip


def _json(schema: Mapping[str, Any]) -> Structure:
    return {"type": "json_schema", "json_schema": dict(schema), "max_whitespace_cnt": MOST_SPACE}


def _text(text: str) -> Structure:
    return {"type": "const_string", "value": text}


def _sequence(*elements: Structure) -> Structure:
    return {"type": "sequence", "elements": list(elements)}


def _comma() -> Structure:
    return _sequence(_SPACE, _text(","), _SPACE)


def _separated(item: Structure, separator: Structure) -> Structure:
    """One or more."""
    return _sequence(item, {"type": "star", "content": _sequence(separator, item)})


def _triggered(begin: str, after: str, content: Structure, end: str, parallel: bool) -> Structure:
    tag = {"type": "tag", "begin": begin + after, "content": content, "end": end}
    return {
        "type": "triggered_tags",
        "triggers": [begin],
        "tags": [tag],
        "at_least_one": False,
        "stop_after_first": not parallel,
    }
