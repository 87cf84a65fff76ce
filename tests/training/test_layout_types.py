"""xLAM's parameters become JSON Schema: types, what may be left out, and defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.training.layouts.xlam import json_type
from tests.training.layout_rows import TOOL, XLAM, read


def parameters_of(parameters: Any) -> dict[str, Any]:
    """What becomes of a tool's parameters."""
    tool = {"name": "find_flat", "description": "d", "parameters": parameters}
    (task,) = read({**XLAM, "tools": json.dumps([tool])}, "xlam")
    return dict(task.tools[0].parameters)


@pytest.mark.parametrize(
    ("written", "schema", "optional"),
    [
        ("str", {"type": "string"}, False),
        ("str, optional", {"type": "string"}, True),
        ("Optional[int]", {"type": "integer"}, True),
        ("Dict[str, List[bool]]", {
            "type": "object", "additionalProperties": {"type": "array", "items": {"type": "boolean"}},
        }, False),
        ("typing.Dict[str, Any], optional", {"type": "object"}, True),
        ("List[Union[int, float]]", {
            "type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        }, False),
        ("Tuple[int, str]", {
            "type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2, "maxItems": 2,
        }, False),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}, False),
        ("set", {"type": "array"}, False),
        ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, False),
        ("Literal['a', -1]", {"enum": ["a", -1]}, False),
        ("Callable[[float], float]", {"x-type": "Callable[[float], float]"}, False),
        ("__import__('os').getcwd()", {"x-type": "__import__('os').getcwd()"}, False),
        ("", {}, False),
        ("str (optional)", {"type": "string"}, True),
        ("List[str] optional", {"type": "array", "items": {"type": "string"}}, True),
        ("Optional", {}, True),
        ("int, optional (default 5)", {"type": "integer", "default": 5}, True),
        ("str (optional, default: 'a, (b')", {"type": "string", "default": "a, (b"}, True),
        ("float, defaults to -0.5", {"type": "number", "default": -0.5}, True),
        ("List[int], default=[1, 2]", {
            "type": "array", "items": {"type": "integer"}, "default": [1, 2],
        }, True),
        ("str, default is today", {"type": "string", "default": "today"}, True),
        ("bool, default", {"type": "boolean"}, True),
        ("integer, required", {"type": "integer"}, False),
        ("Union[Optional[int], str]", {
            "anyOf": [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "string"}],
        }, False),
        ("Literal['optional', 'default']", {"enum": ["optional", "default"]}, False),
    ],
)  # fmt: skip
def test_types_as_python_annotates_them(written: str, schema: dict[str, Any], optional: bool) -> None:
    assert json_type(written) == (schema, optional)


@given(
    st.sampled_from(["str", "List[int]", "Dict[str, Any]"]), st.integers() | st.booleans() | st.text("ab,([")
)
def test_a_default_in_a_type_is_read_back(kind: str, default: Any) -> None:
    bare, _ = json_type(kind)
    for written in (f"{kind}, optional (default {default!r})", f"{kind}, default={default!r}"):
        assert json_type(written) == (bare | {"default": default}, True)


@pytest.mark.parametrize(
    ("about", "schema", "required"),
    [
        ({"type": None}, {}, True),
        ({}, {}, True),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}, True),
        ({"type": ["str", "int"]}, {"type": ["string", "integer"]}, True),
        ({"type": ["str", "Callable"]}, {"x-type": ["str", "Callable"]}, True),
        ({"type": {"a": 1}}, {"x-type": {"a": 1}}, True),
        ({"type": "int", "required": False}, {"type": "integer"}, False),
        ({"type": "int, optional", "required": True}, {"type": "integer"}, True),
        ({"type": "int", "required": "no"}, {"type": "integer", "required": "no"}, True),
        ({"type": "int (default 5)", "default": 6}, {"type": "integer", "default": 6}, False),
    ],
)
def test_a_parameter(about: dict[str, Any], schema: dict[str, Any], required: bool) -> None:
    read = parameters_of({"where": about})
    assert read == {
        "type": "object",
        "properties": {"where": schema},
        "required": ["where"] if required else [],
    }


def test_a_parameter_called_properties_is_no_json_schema() -> None:
    about = {"description": "d", "type": "str"}
    for others in ({}, {"type": {"type": "str"}}, {"b": {"type": "int"}}):
        read = parameters_of({"properties": about, **others})
        assert read["properties"]["properties"] == {"type": "string", "description": "d"}
        assert read["required"] == ["properties", *others]
    for schema in (
        TOOL["parameters"],
        {"type": "dict", "properties": {}},
        {"properties": {"a": {"type": "null"}}},
    ):
        assert parameters_of(schema) == schema
