"""Schemas as tools carry them, and sentences a model can act on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.judge import validate_call
from strop.tools.schema import described_type, fits_type, normalised
from strop.tools.spec import ToolCall, ToolSpec
from tests.tools.strategies import json_values

TOOL = ToolSpec(
    "trip",
    "",
    {
        "type": "dict",
        "properties": {
            "to": {"type": "string", "enum": ["Oslo", "Rome"]},
            "days": {"type": "integer", "minimum": 1},
            "budget": {"type": "float"},
            "at": {"type": "tuple", "items": {"type": "float"}},
            "anything": {"type": "any"},
            "who": {"type": "dict", "properties": {"age": {"type": "integer"}}},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["to"],
    },
)


def said(tool: ToolSpec = TOOL, **arguments: Any) -> list[str]:
    return validate_call(ToolCall(tool.name, arguments), [tool])


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "Oslo"},
        {"to": "Oslo", "days": 2, "budget": 3, "at": [1, 2.5], "anything": {"x": [None]}},
        {"to": "Oslo", "days": 2.0, "who": {"age": 3}, "maybe": None},
    ],
)
def test_nothing_wrong(arguments: dict[str, Any]) -> None:
    assert said(**arguments) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "trip: the required argument 'to' is missing."),
        (
            {"to": "Oslo", "Days": 1},
            "trip: there is no argument 'Days'; there are: to, days, budget, at, anything, who, maybe.",
        ),
        ({"to": "Oslo", "days": "2"}, "trip: argument 'days' must be of type integer, not string."),
        ({"to": "Oslo", "days": True}, "trip: argument 'days' must be of type integer, not boolean."),
        ({"to": "oslo"}, "trip: argument 'to' must be one of 'Oslo', 'Rome', not 'oslo'."),
        ({"to": "Oslo", "days": 0}, "trip: argument 'days': 0 is less than the minimum of 1."),
        ({"to": "Oslo", "at": [1, "x"]}, "trip: argument 'at'[1] must be of type number, not string."),
        (
            {"to": "Oslo", "who": {"age": "3"}},
            "trip: argument 'who'['age'] must be of type integer, not string.",
        ),
        ({"to": "Oslo", "maybe": 3}, "trip: argument 'maybe' must be of type string, not integer."),
    ],
)
def test_one_thing_wrong(arguments: dict[str, Any], sentence: str) -> None:
    assert said(**arguments) == [sentence]


def test_everything_wrong_is_said() -> None:
    assert len(said(days="x", budget=[], more=1)) == 4


def test_an_unknown_tool() -> None:
    assert validate_call(ToolCall("fly", {}), [TOOL]) == ["There is no tool 'fly'; the tools are: trip."]
    assert validate_call(ToolCall("fly", {}), []) == ["There is no tool 'fly'; the tools are: none."]


def test_additional_arguments_where_the_schema_allows_them() -> None:
    open_tool = ToolSpec("f", "", {"type": "object", "properties": {}, "additionalProperties": True})
    assert said(open_tool, x=1) == []
    closed = ToolSpec("f", "", {"type": "object", "properties": {}})
    assert said(closed, x=1) == ["f: there is no argument 'x'; there are: none."]
    assert said(ToolSpec("f", "", {}), x=1) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "integer", "minimum": "a"},
        {"type": "integer", "$ref": "https://example.invalid/schema"},
        {"type": "integer", "$ref": "#/$defs/nowhere"},
        {"type": "integer", "exclusiveMinimum": True, "minimum": 0},
    ],
)
def test_a_broken_schema_still_rules_on_types(broken: dict[str, Any]) -> None:
    tool = ToolSpec("f", "", {"type": "object", "properties": {"n": broken}})
    assert said(tool, n=1) == []
    assert said(tool, n="1") == ["f: argument 'n' must be of type integer, not string."]


def test_references_within_the_schema_are_followed() -> None:
    defs = {"size": {"type": "integer"}}
    tool = ToolSpec("f", "", {"type": "object", "properties": {"n": {"$ref": "#/$defs/size"}}, "$defs": defs})
    assert said(tool, n=1) == []
    assert said(tool, n="1") == ["f: argument 'n' must be of type integer, not string."]


def test_normalising() -> None:
    schema = {
        "type": ["Dict", "NoneType"],
        "items": {"type": "any"},
        "anyOf": [{"type": "float"}],
        "required": True,
    }
    assert normalised(schema) == {"type": ["object", "null"], "items": {}, "anyOf": [{"type": "number"}]}
    assert normalised({"properties": {"type": {"type": "str"}}}) == {
        "properties": {"type": {"type": "string"}}
    }
    assert normalised(True) is True
    assert described_type({"type": ["str", "null"]}) == "string or null"
    assert described_type({}) == "any type"


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"type": "float"}, True),
        (1.0, {"type": "int"}, True),
        (1.5, {"type": "int"}, False),
        (True, {"type": "number"}, False),
        ([1, "a"], {"type": "list", "items": {"type": "integer"}}, False),
        ({"a": 1}, {"type": "dict", "properties": {"a": {"type": "string"}}}, False),
        (None, {"oneOf": [{"type": "string"}, {"type": "null"}]}, True),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, False),
        ("x", True, True),
    ],
)
def test_types(value: Any, schema: Any, fits: bool) -> None:
    assert fits_type(value, schema) is fits


@given(st.dictionaries(st.sampled_from(("to", "days", "x")), json_values()), json_values())
def test_validation_never_raises(arguments: dict[str, Any], schema: Any) -> None:
    said(**arguments)
    said(
        ToolSpec("f", "", {"type": "object", "properties": {"to": schema, "days": {"pattern": "("}}}),
        **arguments,
    )


def test_a_number_too_large_to_divide_is_no_crash() -> None:
    schema = {"type": "object", "properties": {"to": {"type": "number", "multipleOf": 0.01}}}
    assert validate_call(ToolCall("f", {"to": 10**309}), [ToolSpec("f", "", schema)]) == []


@given(json_values())
def test_a_value_fits_no_restriction(value: Any) -> None:
    assert fits_type(value, {})
    assert fits_type(value, {"type": "any"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_that_nothing_divides_breaks_no_schema(value: float) -> None:
    tool = ToolSpec("f", "", {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.01}}})
    assert validate_call(ToolCall("f", {"a": value}), (tool,)) == []
