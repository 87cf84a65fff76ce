"""Structures, held to what XGrammar really lets through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.engines.grammar import Grammars
from strop.tools.formats import FORMATS, read_calls
from strop.tools.schema import validate_call
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.structure import (
    Structure,
    calls_structure,
    either,
    json_structure,
    or_text,
    strict_structure,
    to_json,
    unsupported,
)

xgrammar = pytest.importorskip("xgrammar", reason="XGrammar comes with strop[transformers]")

GRAMMARS = Grammars.of_bytes(256)
ADD = ToolSpec(
    "math.add",
    "",
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]},
)
NOTE = ToolSpec(
    "note", "", {"type": "dict", "properties": {"text": {"type": "str"}, "more": {"type": "dict"}}}
)
ONE = ToolCall("math.add", {"a": 1, "b": -2})
OTHER = ToolCall("note", {"text": 'a "☀"\n', "more": {"x": [1, {"y": None}]}})
WRITTEN_AS = {
    "fenced_json": "fenced_json",
    "hermes": "hermes",
    "bare_json": "bare_json",
    "pythonic": "bare_json",
}


def fits(structure: Structure | str, text: str) -> bool:
    written = structure if isinstance(structure, str) else to_json(structure)
    return GRAMMARS.matcher(written).accepts(text.encode())


def write(call_format: str, *calls: ToolCall) -> str:
    return FORMATS[WRITTEN_AS[call_format]].render(calls)


@pytest.mark.parametrize("call_format", WRITTEN_AS)
def test_calls_are_demanded_in_the_models_own_form(call_format: str) -> None:
    many = calls_structure(call_format, [ADD, NOTE], parallel=True)
    one = calls_structure(call_format, [ADD, NOTE], parallel=False)
    both = write(call_format, ONE, OTHER)
    for call in (ONE, OTHER):
        assert fits(many, write(call_format, call))
        assert fits(one, write(call_format, call))
    assert fits(many, both)
    assert not fits(one, both)
    for text in ("", "Sure.", write(call_format, ToolCall("other", {})), "Sure: " + write(call_format, ONE)):
        assert not fits(many, text)


@pytest.mark.parametrize("call_format", WRITTEN_AS)
@pytest.mark.parametrize("arguments", [{"a": "1"}, {"a": 1.5}, {"b": 1}, {"a": 1, "c": 2}, {}])
def test_no_call_with_wrong_arguments_fits(call_format: str, arguments: dict[str, Any]) -> None:
    call = ToolCall("math.add", arguments)
    assert validate_call(call, [ADD])
    assert not fits(calls_structure(call_format, [ADD], parallel=True), write(call_format, call))
    assert not fits(strict_structure(call_format, [ADD], parallel=True), write(call_format, call))


@pytest.mark.parametrize("call_format", WRITTEN_AS)
def test_strict_leaves_prose_free(call_format: str) -> None:
    strict = strict_structure(call_format, [ADD, NOTE], parallel=True)
    for text in ("I cannot do that.", write(call_format, ONE), write(call_format, ONE, OTHER)):
        assert fits(strict, text)
    assert not fits(
        strict_structure(call_format, [ADD, NOTE], parallel=False), write(call_format, ONE, OTHER)
    )


@given(a=st.integers(-(10**12), 10**12), text=st.text(), space=st.sampled_from(["", " ", "\n    "]))
def test_what_a_model_may_write_reads_as_a_valid_call(a: int, text: str, space: str) -> None:
    arguments = f'{{{space}"text":{space}{json.dumps(text, ensure_ascii=a % 2 == 0)}{space}}}'
    written = f'```json\n{{{space}"name": "note",{space}"arguments": {arguments}}}\n```'
    if fits(calls_structure("fenced_json", [ADD, NOTE], parallel=True), written):
        [call] = read_calls(written).calls
        assert not validate_call(call, [NOTE])
    else:  # control characters have to be escaped in JSON; everything else may be written
        assert not text.isprintable()


def test_json_by_a_schema_or_any_object() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert fits(json_structure(schema), '{"n": 3}')
    assert not fits(json_structure(schema), '{"n": "3"}')
    assert fits(json_structure(None), '{"anything": [1, {"b": null}]}')
    assert not fits(json_structure(None), "[1]")
    both = either(json_structure(schema), calls_structure("fenced_json", [ADD], parallel=False))
    assert fits(both, '{"n": 3}')
    assert fits(both, write("fenced_json", ONE))


def test_a_check_may_also_be_answered_with_the_stop_word() -> None:
    structure = or_text(to_json(calls_structure("fenced_json", [ADD], parallel=False)), "DONE")
    assert fits(structure, "DONE")
    assert fits(structure, write("fenced_json", ONE))
    assert not fits(structure, "DONE.")


ENFORCED: Sequence[tuple[Mapping[str, Any], str, str]] = [
    ({"type": "string", "minLength": 3}, '"abc"', '"ab"'),
    ({"type": "string", "maxLength": 3}, '"abc"', '"abcd"'),
    ({"type": "string", "pattern": "^a+$"}, '"aa"', '"ab"'),
    *(
        ({"type": "string", "format": name}, f'"{good}"', '"x y"')
        for name, good in {
            "date": "2024-01-01",
            "time": "10:00:00Z",
            "date-time": "2024-01-01T10:00:00Z",
            "duration": "P1D",
            "email": "a@b.co",
            "hostname": "a.example",
            "uri": "http://a.b/c",
            "uuid": "123e4567-e89b-12d3-a456-426614174000",
            "ipv4": "1.2.3.4",
            "ipv6": "::1",
        }.items()
    ),
    ({"type": "integer", "minimum": 3}, "3", "2"),
    ({"type": "integer", "exclusiveMinimum": 3}, "4", "3"),
    ({"type": "integer", "maximum": 3}, "3", "4"),
    ({"type": "integer", "multipleOf": 5, "minimum": 7}, "10", "5"),
    ({"type": "number", "minimum": 1.5}, "1.6", "1.4"),
    ({"type": "number", "exclusiveMaximum": 1.5}, "1.4", "1.5"),
    ({"type": "array", "minItems": 2, "items": {"type": "integer"}}, "[1, 2]", "[1]"),
    ({"type": "array", "maxItems": 1, "items": {"type": "integer"}}, "[1]", "[1, 2]"),
    ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, "[1]", '["a"]'),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"a": 1}', '{"a": "b"}'),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, '{"a": 1}', "{}"),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, '{"a": 1}', '{"b": 1}'),
    ({"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}, '{"a": 1, "b": 2}', '{"a": 1}'),
    *(  # names of arguments that are keywords elsewhere
        (
            {
                "type": "object",
                "properties": {name: {"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}},
                "required": [name],
            },
            f'{{"{name}": {{"a": 1, "b": 2}}}}',
            f'{{"{name}": {{"a": 1}}}}',
        )
        for name in ("default", "enum", "const", "properties", "type")
    ),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", '"a"'),
    ({"allOf": [{"type": "integer", "minimum": 1}]}, "3", "0"),
    ({"enum": ["a", 1]}, "1", "2"),
    ({"type": "string", "enum": ["a", "b"]}, '"a"', '"c"'),
    ({"const": 5}, "5", "6"),
    ({"type": ["string", "null"]}, "null", "1"),
    (
        {
            "$defs": {"X": {"type": "object", "properties": {"n": {"$ref": "#/$defs/X"}}}},
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/X"}},
            "required": ["x"],
        },
        '{"x": {"n": {}}}',
        '{"x": {"n": 1}}',
    ),
]


@pytest.mark.parametrize(("schema", "good", "bad"), ENFORCED)
def test_what_is_said_to_be_enforced_is(schema: Mapping[str, Any], good: str, bad: str) -> None:
    assert unsupported(schema) == []
    assert fits(json_structure(schema), good)
    assert not fits(json_structure(schema), bad)


NOT_ENFORCED: Sequence[tuple[Mapping[str, Any], str]] = [
    ({"type": "array", "uniqueItems": True}, "'uniqueItems' at #"),
    ({"type": "array", "contains": {}}, "'contains' at #"),
    ({"oneOf": [{"type": "integer"}]}, "'oneOf' at #"),
    ({"not": {"type": "integer"}}, "'not' at #"),
    ({"type": "object", "properties": {"a": {"not": {}}}}, "'not' at #/properties/a"),
    ({"type": "array", "items": {"anyOf": [{"oneOf": []}]}}, "'oneOf' at #/items/anyOf/0"),
    ({"allOf": [{"type": "integer"}, {"type": "null"}]}, "'allOf' of several at #"),
    ({"type": "object", "if": {}, "then": {}}, "'if' at #"),
    ({"type": "object", "dependentRequired": {}}, "'dependentRequired' at #"),
    ({"type": "number", "multipleOf": 0.5}, "'multipleOf' at #"),
    ({"type": "string", "minLength": 1, "pattern": "a"}, "'minLength' beside 'pattern' at #"),
    ({"type": "string", "pattern": "(?=a)b"}, "'pattern' with look-around or flags at #"),
    ({"minimum": 3}, "'minimum' at #"),
    ({"type": ["integer", "string"], "minLength": 3}, "'minLength' at #"),
    ({"type": "string", "enum": ["a", 1]}, "'type' beside 'enum' at #"),
    ({"anyOf": [{"type": "integer"}], "minimum": 1}, "'minimum' at #"),
    ({"$ref": "#/$defs/X", "minimum": 3, "$defs": {"X": {"type": "integer"}}}, "'minimum' at #"),
    ({"type": "object", "required": ["a"]}, "'required' without 'properties' at #"),
]


@pytest.mark.parametrize(("schema", "said"), NOT_ENFORCED)
def test_what_is_not_enforced_is_named(schema: Mapping[str, Any], said: str) -> None:
    assert said in unsupported(schema)
