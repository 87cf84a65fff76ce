"""Tools beside the one asked for: alike, from the same domain, and never able to do what it does."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from strop.training.catalogue import load_catalogue
from strop.training.offers import any_tool, are_rivals, far_tools, near_misses, with_others

CATALOGUE = load_catalogue()


@given(st.integers(), st.integers(1, 3))
def test_no_near_miss_can_do_what_is_missing(seed: int, count: int) -> None:
    rng = Random(seed)
    absent = any_tool(CATALOGUE, rng)
    tools = near_misses(CATALOGUE, absent, count, rng)
    assert len(tools) <= count
    assert not any(are_rivals(tool, absent) for tool in tools)
    assert len({tool.name for tool in tools}) == len(tools)


@given(st.integers(), st.integers(1, 3))
def test_far_tools_are_of_other_domains(seed: int, count: int) -> None:
    rng = Random(seed)
    tools = far_tools(CATALOGUE, "weather", count, rng)
    assert len(tools) == count
    assert "weather" not in {tool.domain for tool in tools}


@given(st.integers(), st.integers(0, 3))
def test_further_tools_come_after_the_one_asked_for_and_do_not_rival_it(seed: int, count: int) -> None:
    rng = Random(seed)
    asked = any_tool(CATALOGUE, rng)
    first, *others = with_others(CATALOGUE, [asked], count, rng)
    assert first is asked
    assert len(others) == count
    assert not any(are_rivals(asked, other) for other in others)


def test_near_misses_are_described_in_the_words_of_the_missing_one() -> None:
    """A converter is missed most nearly by other converters."""
    absent = next(tool for tool in CATALOGUE.tools if tool.name == "units.mass")
    drawn = {near_misses(CATALOGUE, absent, 1, Random(seed))[0].name for seed in range(60)}
    assert "length_converter" in drawn
    assert any(tool.domain != "units" for tool in CATALOGUE.tools if tool.name in drawn)
