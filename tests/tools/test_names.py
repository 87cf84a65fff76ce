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


@pytest.mark.parametrize("offered", [("get_weather",), (), ("find.group", "find_group")])
def test_what_is_not_certain_stays(offered: tuple[str, ...]) -> None:
    assert settled("findGroup", *offered) == ("findGroup", ())


@given(name=names, offered=st.lists(names, max_size=4))
def test_an_offered_name_is_never_changed_and_none_is_invented(name: str, offered: list[str]) -> None:
    now, repairs = settled(name, *offered)
    assert now == name if name in offered else now in {name, *offered}
    assert bool(repairs) == (now != name)
