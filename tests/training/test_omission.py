"""Requests without a value: it is gone, nothing else is, and the question names it."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.training.catalogue import Argument, load_catalogue
from strop.training.catalogue.phrasing import Phrasing, fill, paths_of
from strop.training.catalogue.values import source_of
from strop.training.omission import in_words, omission, omissions, without
from strop.training.wording import Request, request

CATALOGUE = load_catalogue()


def said_without(template: str, path: str, source: str = "pool") -> str | None:
    spec: dict[str, Any] = {"values": ["-"]} if source == "pool" else {"range": [1, 5, 1]}
    pieces = without(
        Phrasing.parse(template).choose(Random(0), 0.0), Argument(path, source_of(spec, {}), required=True)
    )
    return None if pieces is None else fill(pieces, {name: name.upper() for name in paths_of(pieces)})


@pytest.mark.parametrize(
    ("template", "path", "left"),
    [
        ('put "{title}" in my calendar on {day} at {hour}', "hour", 'put "TITLE" in my calendar on DAY'),
        ('put "{title}" in my calendar on {day} at {hour}', "day", 'put "TITLE" in my calendar at HOUR'),
        ("What is the sea like in {city}?", "city", "What is the sea like?"),
        ("a cone with radius {r} and height {h}", "h", "a cone with radius R"),
        ("sail from {start} to {end} on {day}", "end", "sail from START on DAY"),
        # Another meaning, or no sentence.
        ("sail from {start} to {end} on {day}", "start", None),
        ("measure between {a} and {b}", "b", None),
        ("What is {amount} {unit} in {target}?", "target", None),
        ('rows where {column} is "{value}"', "value", None),
        ("put it in my calendar starting at {hour}", "hour", None),
        ("go from {city} to {city}", "city", None),
        ("search the pool for people skilled in {skills}", "skills", None),
        ("find resistors of {ohms} ohms connected in {wiring}", "wiring", None),
        ("a route that starts in {depot} and stops in {stops}", "stops", None),
        ("add a record for {name} that points to {target}", "target", None),
        ("I am in {place}. When can I see {satellite}?", "place", None),
        ("tell me how many words there are in {text}", "text", None),
        ("would you put version {version} on {environment}?", "environment", None),
        ("get the years of birth and death of {person}", "person", None),
    ],
)
def test_a_value_goes_with_what_leads_to_it_or_stays(template: str, path: str, left: str | None) -> None:
    assert said_without(template, path) == left


def test_a_number_of_things_becomes_some_of_them() -> None:
    assert said_without("hire a car for {n} days", "n", "number") == "hire a car for some days"
    assert said_without("the outlook for the next {n} days", "n", "number") is None


@settings(deadline=None)
@given(st.integers())
def test_only_one_required_value_is_left_out(seed: int) -> None:
    left = omission(CATALOGUE, Random(seed))
    assert left.argument.required
    assert paths_of(left.said) == paths_of(left.whole.pieces) - {left.argument.path}
    question = left.question(Random(seed))
    assert all(
        left.whole.values[path].said in question for path in paths_of(left.said) & set(left.whole.values)
    )


@settings(deadline=None)
@given(st.integers())
def test_the_question_names_the_argument(seed: int) -> None:
    left = omission(CATALOGUE, Random(seed))
    asked = left.ask(Random(seed))
    assert in_words(left.whole.tool, left.argument) in asked
    assert asked[-1] in ".?"


_NEEDS_MORE = re.compile(
    r"\b(?:am|are|skilled|connected|wired|stops|points?|comes|stand|served|starting|lasting|named|and|of|to|with"
    r"|from|a|an|the)\b *[.,;?!]"
    r"|\b(?:skilled|connected|wired|points|deliver) (?:with|and)\b"
    r"|\bof some people\b|\beach of some\b|\bI am\."
)


def test_no_wording_of_the_catalogue_is_left_unfinished() -> None:
    for tool in CATALOGUE.tools:
        for phrasing in (*tool.questions, *tool.clauses):
            for pieces in phrasing.variants():
                whole = Request(tool, False, pieces, {})
                for left in omissions(whole):
                    text = fill(left.said, dict.fromkeys(paths_of(left.said), "7"))
                    assert not _NEEDS_MORE.search(f"{text}."), (tool.name, text)


def test_a_value_that_makes_the_request_is_never_left_out() -> None:
    tools = {tool.name: tool for tool in CATALOGUE.tools}
    for name in ("gradeNeededOnFinal", "astro.weight_elsewhere", "dividend_history"):
        kept = {one.path for one in tools[name].arguments if not one.omissible}
        assert kept, name
        for seed in range(60):
            left = {one.argument.path for one in omissions(request(tools[name], Random(seed)))}
            assert not left & kept, name


def test_what_is_asked_for_is_no_half_quotation() -> None:
    for tool in CATALOGUE.tools:
        for argument in tool.arguments:
            said = in_words(tool, argument)
            assert not re.search(r"(?<!\w)'", re.sub(r"(?<!\w)'[^']*'", "", said)), (tool.name, said)
            is_drawn = argument.source.kind != "values ['-']"  # truth values are said by other words
            assert not is_drawn or not re.match(r"the (?:only|not|most|true|up|major|added|to)\b", said), said


def test_most_tools_can_be_asked_without_something() -> None:
    able = [
        tool
        for tool in CATALOGUE.tools
        if any(any(omissions(request(tool, Random(seed)))) for seed in range(40))
    ]
    assert len(able) > 0.6 * len(CATALOGUE.tools)


def test_arguments_in_words() -> None:
    tools = {tool.name: tool for tool in CATALOGUE.tools}
    calendar = tools["calendar.add_entry"]
    named = {one.path: in_words(calendar, one) for one in calendar.arguments}
    assert named["date"] == "the date"
    assert named["start_time"] == "the start time"
    solar = tools["solar.yearly_output"]
    assert in_words(solar, solar.arguments[0]) == "the place in the form 'City, Country'"
    final = tools["gradeNeededOnFinal"]
    assert in_words(final, final.arguments[2]) == "the weight of the final"
    passes = tools["satellite.next_passes"]
    assert in_words(passes, passes.arguments[1]) == "the place of the observer"
    reminder = tools["set_reminder"]
    assert in_words(reminder, reminder.arguments[0]) == "what to be reminded of"
