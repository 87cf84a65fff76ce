"""The BFCL checker on hand-made documents: what it lets through, what it refuses and what it calls that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.bfcl.checker import check, check_relevance, standardise
from strop.tools.bfcl.fault import Fault
from strop.tools.spec import ToolCall
from strop.tools.verdict import ErrorKind


def document(name: str, required: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    properties = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in types.items()}
    return {
        "name": name,
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
    }


def listing(inner: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": inner}}


def judged(kind: Any, value: Any, *allowed: Any) -> str | None:
    """Error type of one argument's value."""
    fault = check(
        "simple_python", [document("f", x=kind)], [ToolCall("f", {"x": value})], [{"f": {"x": allowed}}]
    )
    return fault.error_type if fault else None


@pytest.mark.parametrize(
    ("kind", "value", "allowed", "error"),
    [
        ("integer", 3, [3, 4], None),
        ("integer", 5, [3, 4], "value_error:others"),
        ("integer", True, [1], "type_error:simple"),
        ("boolean", 1, [True], "type_error:simple"),
        ("integer", 3.0, [3], "type_error:simple"),
        ("float", 3, [3.0], None),
        ("float", 10**400, [3.0], "value_error:others"),
        ("float", True, [1.0], "type_error:simple"),
        ("integer", "3", [3], "type_error:simple"),
        ("integer", None, [3], "type_error:simple"),
        ("integer", "n", ["n"], None),
        ("integer", "N", ["n"], "value_error:others"),
        ("string", "New  York, NY.", ["new york ny"], None),
        ("string", "it's", ['IT"S'], None),
        ("string", "new", ["york"], "value_error:string"),
        ("any", 3, ["3"], "type_error:simple"),
        (listing("string"), ["A b", "c"], [["ab", "C"]], None),
        (listing("string"), ["c", "ab"], [["ab", "c"]], "value_error:list/tuple"),
        (listing("string"), ["a", 1], [["a", "b"]], "type_error:nested"),
        (listing("string"), "a", [["a"]], "type_error:simple"),
        (listing("float"), [1, 2], [[1.0, 2.0]], "type_error:nested"),
        (listing("float"), [1, 2], [[1, 2]], None),
        (listing("integer"), [], [[1], ""], None),
        (listing("integer"), [], [[1]], "value_error:list/tuple"),
        (listing("integer"), [[1]], [["s"]], "type_error:nested"),
        ("dict", {"a": "X y"}, [{"a": ["xy"], "b": ["", 1]}], None),
        ("dict", {"a": "z"}, [{"a": ["xy"]}], "value_error:dict_value"),
        ("dict", {"a": "xy", "c": 1}, [{"a": ["xy"]}], "value_error:dict_key"),
        ("dict", {}, [{"a": ["xy"]}], "value_error:dict_key"),
        ("dict", {"a": 1}, [""], "dict_checker:unclear"),
        (listing("dict"), [{"a": 1}, {"a": 2}], [[{"a": [1]}, {"a": [2]}]], None),
        (listing("dict"), [{"a": 2}, {"a": 1}], [[{"a": [1]}, {"a": [2]}]], "value_error:dict_value"),
        (listing("dict"), [{"a": 1}], [[{"a": [1]}, {"a": [2]}]], "value_error:list_dict_count"),
        (listing("dict"), ["a"], ["", [{"a": [1]}]], "value_error:dict_value"),
    ],
)
def test_a_value(kind: Any, value: Any, allowed: list[Any], error: str | None) -> None:
    assert judged(kind, value, *allowed) == error


GOLD: Mapping[str, Any] = {"f": {"x": [1], "y": ["", 2]}}


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [
        (ToolCall("f", {"x": 1}), None, None),
        (ToolCall("f", {"y": 2, "x": 1}), None, None),
        (ToolCall("F", {"x": 1}), "wrong_func_name", ErrorKind.WRONG_NAME),
        (ToolCall("f", {"y": 2}), "missing_required", ErrorKind.MISSING_ARGUMENT),
        (ToolCall("f", {"x": 1, "z": 3}), "unexpected_param", ErrorKind.UNEXPECTED_ARGUMENT),
        (ToolCall("f", {"x": 1, "w": 3}), "unexpected_param", ErrorKind.UNEXPECTED_ARGUMENT),
    ],
)
def test_a_call(call: ToolCall, error: str | None, kind: ErrorKind | None) -> None:
    functions = [document("f", ("x",), x="integer", y="integer", w="integer")]
    fault = check("simple_python", functions, [call], [GOLD])
    assert (fault and fault.error_type) == (error and f"simple_function_checker:{error}")
    assert (fault and fault.kind()) == kind
    assert fault is None or f"[simple_function_checker:{error}]" in fault.verdict().detail


def test_an_argument_the_gold_gives_may_not_be_left_out() -> None:
    fault = check("multiple", [document("f", x="integer")], [ToolCall("f", {})], [{"f": {"x": [1]}}])
    assert fault is not None
    assert (fault.error_type, fault.subject) == ("simple_function_checker:missing_optional", "x")


@pytest.mark.parametrize("category", ["simple_python", "multiple", "live_parallel_multiple"])
@pytest.mark.parametrize(("count", "kind"), [(0, ErrorKind.MISSING_CALL), (2, ErrorKind.EXTRA_CALL)])
def test_the_number_of_calls(category: str, count: int, kind: ErrorKind) -> None:
    calls = [ToolCall("f", {"x": 1})] * count
    fault = check(category, [document("f", x="integer")], calls, [{"f": {"x": [1]}}])
    assert fault is not None
    assert fault.error_type.endswith(":wrong_count")
    assert fault.kind(too_few=count < 1) is kind


FUNCTIONS = [document("f", x="integer"), document("g", x="string")]
SEVERAL: list[dict[str, Any]] = [{"f": {"x": [1]}}, {"f": {"x": [1, 2]}}, {"g": {"x": ["a"]}}]
RIGHT = [ToolCall("f", {"x": 1}), ToolCall("f", {"x": 2}), ToolCall("g", {"x": "A"})]


@given(st.permutations([0, 2]), st.integers(0, 2))
def test_several_calls_match_in_the_order_of_the_gold(order: list[int], gap: int) -> None:
    """Greedily, as the official checker does: a gold call takes the first answer that fits."""
    calls = [RIGHT[index] for index in order]
    calls.insert(gap, RIGHT[1])
    assert check("parallel_multiple", FUNCTIONS, calls, SEVERAL) is None


def test_several_calls_of_which_one_fits_nothing() -> None:
    calls = [RIGHT[0], RIGHT[2], ToolCall("f", {"x": "2"})]
    fault = check("parallel", FUNCTIONS, calls, SEVERAL)
    assert fault is not None
    assert (fault.error_type, fault.subject) == ("parallel_function_checker_no_order:cannot_find_match", "1")
    assert [candidate.error_type for candidate in fault.candidates] == [
        "simple_function_checker:wrong_func_name",
        "type_error:simple",
    ]
    assert fault.kind() is ErrorKind.WRONG_TYPE


@pytest.mark.parametrize(
    ("category", "calls", "error"),
    [
        ("live_irrelevance", [], None),
        ("irrelevance", RIGHT[:1], ErrorKind.SHOULD_NOT_CALL),
        ("live_relevance", RIGHT[:1], None),
        ("live_relevance", [], ErrorKind.MISSING_CALL),
    ],
)
def test_relevance(category: str, calls: list[ToolCall], error: ErrorKind | None) -> None:
    fault = check_relevance(category, calls)
    assert (fault and fault.kind()) == error


@given(st.text())
def test_standard_strings_are_stable(text: str) -> None:
    assert standardise(standardise(text)) == standardise(text.upper().lower() if text.isascii() else text)


def test_every_fault_has_words() -> None:
    assert Fault("dict_checker:unclear", "x", "why").verdict().detail == "why [dict_checker:unclear]"
