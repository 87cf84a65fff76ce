"""The tool catalogue: real schemas, enough wordings, names of our own."""

from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from strop.tools.errors import DataError
from strop.training.catalogue import CatalogueTool, load_catalogue
from strop.training.catalogue.phrasing import Phrasing, Setting, Slot, fill, paths_of
from strop.training.catalogue.values import Value, draw_above, source_of, spoken_list

TOOLS = load_catalogue().tools


def test_the_catalogue_is_large_and_varied() -> None:
    catalogue = load_catalogue()
    assert len(TOOLS) >= 120
    assert len(catalogue.domains) >= 20
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    dotted = sum("." in tool.name for tool in TOOLS) / len(TOOLS)
    assert 0.25 < dotted < 0.7
    types = set(re.findall(r'"type": "(\w+)"', json.dumps([dict(tool.spec.parameters) for tool in TOOLS])))
    assert types == {"string", "integer", "number", "boolean", "array", "object"}
    optional = sum(any(not argument.required for argument in tool.arguments) for tool in TOOLS) / len(TOOLS)
    assert 0.4 < optional < 0.9


def test_every_domain_offers_near_misses() -> None:
    catalogue = load_catalogue()
    for domain in catalogue.domains:
        assert len(catalogue.domain(domain)) >= 5, domain
        assert sum(len(row.asks) for row in catalogue.unmet if row.domain == domain) >= 5, domain


def test_tools_that_overlap_exist_and_say_so_of_each_other() -> None:
    """The first tool's list bars the others, so a list on one side only bars half the time."""
    overlaps = {tool.name: tool.overlaps for tool in TOOLS}
    for name, others in overlaps.items():
        assert all(name in overlaps[other] for other in others), name


def test_an_unmet_request_draws_from_pools_of_plain_texts() -> None:
    catalogue = load_catalogue()
    for row in catalogue.unmet:
        for ask in row.asks:
            for pieces in ask.variants():
                for pool in paths_of(pieces):
                    assert all(isinstance(entry, str) for entry in catalogue.pools[pool]), (row.domain, pool)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_has_a_valid_schema_and_enough_wordings(tool: CatalogueTool) -> None:
    Draft202012Validator.check_schema(dict(tool.spec.parameters))
    assert len(tool.questions) + len(tool.clauses) >= 4
    assert tool.spec.description.endswith(".")
    for schema in tool.spec.properties.values():
        assert schema["description"]
        assert "default" not in schema or Draft202012Validator(schema).is_valid(schema["default"])


def test_no_tool_is_named_as_in_the_leaderboard() -> None:
    """Training on its tools would be training on the test."""
    find_data = pytest.importorskip(
        "strop.tools.bfcl.files", reason="the suite is not part of this build"
    ).find_data
    pytest.importorskip("bfcl_eval", reason="bfcl-eval carries the leaderboard's data")
    named: set[str] = set()
    for path in sorted(find_data().glob("BFCL_v4_*.json")):
        named |= set(re.findall(r'"name": "([^"]+)"', path.read_text(encoding="utf-8")))
    assert len(named) > 1000
    plain = {re.sub(r"[._-]", "", name).lower() for name in named}
    assert [tool.name for tool in TOOLS if re.sub(r"[._-]", "", tool.name).lower() in plain] == []


def test_a_template_is_parsed_into_text_slots_settings_and_groups() -> None:
    phrasing = Phrasing.parse("<open{up=true}|close{up=false}> the {door*}[ in {n} minutes]")
    settled = phrasing.choose(Random(1), optional=0.0)
    assert Slot("door", "*") in settled
    assert any(isinstance(piece, Setting) for piece in settled)
    assert "n" not in paths_of(settled)
    assert {"up", "door", "n"} == paths_of(phrasing.choose(Random(1), optional=1.0))
    assert fill(settled, {"door": "gate"}) in ("open the gate", "close the gate")
    assert len(list(phrasing.variants())) == 4


def test_a_stray_bracket_is_refused() -> None:
    with pytest.raises(DataError, match="stray bracket"):
        Phrasing.parse("set [ the {room")


def test_an_argument_without_a_source_is_refused() -> None:
    with pytest.raises(DataError, match="no source of values"):
        source_of({"type": "string"}, {})


@given(st.integers(), st.integers(-50, 50), st.integers(1, 50), st.sampled_from([0.25, 0.5, 1, 5]))
def test_a_number_is_said_as_it_is(seed: int, low: int, width: int, step: float) -> None:
    value = source_of({"range": [low, low + width * step, step]}, {}).draw(Random(seed))
    assert float(value.said) == value.value
    assert low <= value.value <= low + width * step


@given(st.integers())
def test_a_percentage_is_said_in_percent_and_meant_as_a_fraction(seed: int) -> None:
    value = source_of({"percent": [1.5, 9.5, 0.25]}, {}).draw(Random(seed))
    assert float(re.split(r"%| percent", value.said)[0]) == pytest.approx(100 * value.value)


@given(st.integers())
def test_a_later_date_is_later(seed: int) -> None:
    rng = Random(seed)
    source = source_of({"date": "%Y-%m-%d"}, {})
    first = source.draw(rng)
    assert draw_above(rng, source, first).value > first.value


def test_numbers_above_a_floor_exist_even_at_the_top_of_the_range() -> None:
    source = source_of({"range": [1, 5, 1]}, {})
    assert draw_above(Random(0), source, Value(5, "5")).value == 6


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=5), st.integers())
def test_a_spoken_list_holds_its_items_in_order(items: list[str], seed: int) -> None:
    assert re.split(r", and | and |, ", spoken_list(items, Random(seed))) == items


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("8.5", "an 8.5 kg"),
        ("80", "an 80 kg"),
        ("11", "an 11 kg"),
        ("18.2", "an 18.2 kg"),
        ("110", "a 110 kg"),
        ("3", "a 3 kg"),
    ],
)
def test_numbers_get_the_article_they_are_spoken_with(number: str, said: str) -> None:
    [*pieces] = Phrasing.parse("Lift a {mass} kg box.").variants()
    assert fill(pieces[0], {"mass": number}) == f"Lift {said} box."


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("Instagram", "an Instagram"),
        ("Mastodon", "a Mastodon"),
        ("university", "a university"),
        ("euro", "a euro"),
    ],
)
def test_words_get_the_article_they_are_spoken_with(network: str, said: str) -> None:
    [*pieces] = Phrasing.parse("Plan a {network} post.").variants()
    assert fill(pieces[0], {"network": network}) == f"Plan {said} post."
