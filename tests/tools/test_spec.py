"""Tools and calls, read from what people send and rendered back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError
from strop.tools.spec import ToolCall, ToolSpec
from tests.tools.strategies import calls, json_values, names

specs = st.builds(
    ToolSpec,
    names(),
    st.text(max_size=9),
    st.just({"type": "object", "properties": {"a": {}}}),
    st.booleans(),
)


@given(specs)
def test_a_spec_survives_the_openai_form(spec: ToolSpec) -> None:
    assert ToolSpec.from_openai(spec.to_openai()) == spec
    assert ToolSpec.from_openai(spec.to_openai()["function"]) == spec


@given(calls())
def test_a_call_survives_json(call: ToolCall) -> None:
    assert ToolCall.from_json(call.to_json()) == call


def test_what_a_spec_says_of_its_arguments() -> None:
    spec = ToolSpec.from_openai({"name": "f"})
    assert (spec.description, spec.properties, spec.required) == ("", {}, ())
    odd = ToolSpec("f", "", {"properties": [], "required": True})
    assert (odd.properties, odd.required) == ({}, ())
    assert ToolSpec("f", "", {"properties": {"a": {}}, "required": ["a"]}).required == ("a",)


def test_the_text_of_a_call_is_no_part_of_it() -> None:
    assert ToolCall("f", {}, "f()") == ToolCall("f", {})


def test_arguments_may_be_json_text() -> None:
    assert ToolCall.from_json({"name": "f", "arguments": '{"a": 1}'}) == ToolCall("f", {"a": 1})


@pytest.mark.parametrize(
    "tool", [{}, {"function": 3}, {"function": {"name": 1}}, "f", None, {"name": "f", "parameters": 3}]
)
def test_tools_that_are_none(tool: Any) -> None:
    with pytest.raises(DataError, match=r"a tool needs|must be an object"):
        ToolSpec.from_openai(tool)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"name": "f"},
        {"name": "f", "arguments": "{"},
        {"name": "f", "arguments": "[1]"},
        {"name": "f", "arguments": "9" * 5000},
        {"name": 1, "arguments": {}},
        "f()",
        None,
    ],
)
def test_calls_that_are_none(row: Any) -> None:
    with pytest.raises(DataError, match="call"):
        ToolCall.from_json(row)


@given(json_values())
def test_anything_else_is_refused_as_data(value: Any) -> None:
    for read in (ToolSpec.from_openai, ToolCall.from_json):
        with suppress(DataError):
            read(value)
