"""Tools beside the one asked for: alike, from the same domain, and never able to do what it does."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.training.catalogue import CatalogueTool, Unmet, load_catalogue
from strop.training.offers import (
    any_tool,
    are_rivals,
    can_serve,
    far_tools,
    near_misses,
    near_requests,
    with_others,
)

CATALOGUE = load_catalogue()


def is_served(absent: CatalogueTool | Unmet) -> bool:
    """Whether another tool could do it."""
    return bool(absent.served_by if isinstance(absent, Unmet) else absent.overlaps)


def named(absent: CatalogueTool | Unmet) -> str:
    return absent.missing if isinstance(absent, Unmet) else absent.name


MISSING: list[CatalogueTool | Unmet] = [*CATALOGUE.tools, *CATALOGUE.unmet]


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
    absent = next(tool for tool in CATALOGUE.tools if tool.domain == "weather")
    tools = far_tools(CATALOGUE, absent, count, rng)
    assert len(tools) == count
    assert "weather" not in {tool.domain for tool in tools}


@pytest.mark.parametrize("absent", [one for one in MISSING if is_served(one)], ids=named)
def test_no_tool_on_offer_can_serve_what_is_missing(absent: CatalogueTool | Unmet) -> None:
    able = {tool.name for tool in CATALOGUE.tools if can_serve(tool, absent)}
    assert able
    for seed in range(60):
        offered = far_tools(CATALOGUE, absent, 40, Random(seed))
        if isinstance(absent, Unmet):
            offered += near_requests(CATALOGUE, absent, absent.missing, 3, Random(seed))
        else:
            offered += near_misses(CATALOGUE, absent, 3, Random(seed))
        assert not able & {tool.name for tool in offered}


def test_requests_that_a_tool_of_another_domain_could_meet_say_so() -> None:
    served = {row.missing: row.served_by for row in CATALOGUE.unmet}
    assert "tutors.find" in served["find teachers or instruments to rent"]
    assert "events.find_in_city" in served["find concerts"]
    assert "shop.search_items" in served["rent or buy machines"]
    names = {tool.name for tool in CATALOGUE.tools}
    assert {name for served_by in served.values() for name in served_by} <= names


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
