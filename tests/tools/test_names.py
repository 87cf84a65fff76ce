from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.formats import Reading, settle_names
from strop.tools.spec import ToolCall, ToolSpec

names = st.text(alphabet="abAB._-", min_size=1, max_size=6)


def tools(*offered: str) -> list[ToolSpec]:
    return [ToolSpec(name, "", {}) for name in offered]


def settled(name: str, *offered: str) -> tuple[str, tuple[str, ...]]:
    reading = settle_names(Reading((ToolCall(name, {"a": 1}, "text"),), None), tools(*offered))
    assert reading.calls[0].arguments == {"a": 1}
    assert reading.calls[0].text == "text"
    return reading.calls[0].name, reading.repairs


def test_punctuation_and_case_are_settled_and_recorded() -> None:
    name, repairs = settled("math.roots.quadratic", "math_roots.quadratic", "math_roots.cubic")
    assert name == "math_roots.quadratic"
    assert repairs == ("name 'math.roots.quadratic' read as 'math_roots.quadratic'",)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("find_group", ("restaurant.find_group", "restaurant.find_table")),
        ("findGroup", ("api.restaurant.find_group",)),
        ("functions.find_group", ("find_group", "find_table")),
    ],
)
def test_a_namespace_left_out_or_put_in_front_is_settled(name: str, offered: tuple[str, ...]) -> None:
    assert settled(name, *offered) == (offered[0], (f"name {name!r} read as {offered[0]!r}",))


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("find_group", ("restaurant.find_group", "school.find_group")),
        ("hotel.find_group", ("restaurant.find_group",)),
        ("group", ("restaurant.find_group",)),
        (".", ("restaurant.",)),
    ],
)
def test_another_namespace_or_one_of_two_is_not_guessed(name: str, offered: tuple[str, ...]) -> None:
    assert settled(name, *offered) == (name, ())


@pytest.mark.parametrize("offered", [("get_weather",), (), ("find.group", "find_group")])
def test_what_is_not_certain_stays(offered: tuple[str, ...]) -> None:
    assert settled("findGroup", *offered) == ("findGroup", ())


@given(name=names, offered=st.lists(names, max_size=4))
def test_an_offered_name_is_never_changed_and_none_is_invented(name: str, offered: list[str]) -> None:
    now, repairs = settled(name, *offered)
    assert now == name if name in offered else now in {name, *offered}
    assert bool(repairs) == (now != name)
