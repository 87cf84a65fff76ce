"""The canonical form: equal exactly for the same calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.canonical import canonical, canonical_value
from strop.tools.formats import FORMATS, read_calls
from strop.tools.spec import ToolCall
from tests.tools.strategies import calls, json_values


@given(st.lists(calls(), max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_calls_and_arguments_does_not_count(some: list[ToolCall], random: Any) -> None:
    shuffled = [ToolCall(call.name, dict(_shuffled(call.arguments.items(), random))) for call in some]
    random.shuffle(shuffled)
    assert canonical(shuffled) == canonical(some)


@given(json_values(), json_values())
def test_equal_forms_are_equal_values(left: Any, right: Any) -> None:
    assert (canonical_value(left) == canonical_value(right)) is _same(left, right)
    assert canonical_value(left) == canonical_value(_floated(left))


@given(st.lists(calls(), min_size=1, max_size=3))
def test_a_call_more_is_another_answer(some: list[ToolCall]) -> None:
    assert canonical([*some, some[0]]) != canonical(some)


@given(st.lists(calls(), min_size=1, max_size=3))
def test_the_format_does_not_count(some: list[ToolCall]) -> None:
    read = [read_calls(FORMATS[name].render(some)).calls for name in ("fenced_json", "hermes")]
    assert canonical(read[0]) == canonical(read[1]) == canonical(some)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (0.0, -0.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        (1, "1", False),
        (10**20, 1e20, True),
        (2**53 + 1, 2.0**53, False),
        ([1, 2], [2, 1], False),
        ("a", "A", False),
    ],
)
def test_values(left: Any, right: Any, same: bool) -> None:
    assert (canonical_value(left) == canonical_value(right)) is same


def _shuffled(items: Any, random: Any) -> list[Any]:
    listed = list(items)
    random.shuffle(listed)
    return listed


def _same(left: Any, right: Any) -> bool:
    """Equality that tells True from 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _floated(value: Any) -> Any:
    """`value` with small integers as floats."""
    if isinstance(value, dict):
        return {key: _floated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floated(item) for item in value]
    return (
        float(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
        else value
    )
