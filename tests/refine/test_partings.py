"""Where a wrong answer is said to go wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.refine.partings import Parting, Place, Written, difference, locate, partings
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall
from tests.refine.worlds import call, fenced


def weather(**arguments: Any) -> dict[str, Any]:
    return call("get_weather", **arguments)


PARIS = weather(city="Paris", days=3)
ROME = weather(city="Rome", days=3)
KELVIN = weather(city="Paris", days=3, unit="kelvin")
TIME = call("get_time", city="Rome")


def place(wrong: str, right: str, call_format: str = "fenced_json") -> tuple[Place, str, str]:
    return locate(wrong, right, difference(wrong, right), call_format)


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("I cannot.", fenced(PARIS), (Place.NO_CALL, "get_weather", "")),
        (fenced(PARIS), "A joke.", (Place.CALL, "get_weather", "")),
        (fenced(PARIS), fenced(PARIS, ROME), (Place.OPENING, "get_weather", "")),
        (fenced(TIME), fenced(PARIS), (Place.NAME, "get_weather", "")),
        (fenced(weather(city="Oslo", days=3)), fenced(PARIS), (Place.ARGUMENT, "get_weather", "city")),
        (fenced(weather(city="Paris", days=4)), fenced(PARIS), (Place.ARGUMENT, "get_weather", "days")),
        (fenced(weather(city="Paris")), fenced(PARIS), (Place.ARGUMENT, "get_weather", "days")),
        (fenced(KELVIN), fenced(PARIS), (Place.ARGUMENT, "get_weather", "unit")),
        (fenced(PARIS, ROME), fenced(PARIS, ROME, TIME), (Place.FURTHER_CALL, "get_time", "")),
        (fenced(PARIS, ROME, TIME), fenced(PARIS, ROME), (Place.FURTHER_CALL, "get_time", "")),
        (fenced(PARIS, TIME), fenced(PARIS, ROME), (Place.NAME, "get_weather", "")),
        (fenced(PARIS)[:-40], fenced(PARIS), (Place.END, "", "")),
        (fenced(PARIS) + " Done.", fenced(PARIS), (Place.END, "", "")),
    ],
    ids=[
        "prose", "a call for prose", "one call for two", "name", "value", "last value", "missing",
        "unexpected",
        "too few", "too many", "second name", "cut off", "goes on",
    ],
)  # fmt: skip
def test_a_mistake_is_where_it_was_made(wrong: str, right: str, expected: tuple[Place, str, str]) -> None:
    assert place(wrong, right) == expected


# In these two the joints of `strop.refine.joints` have no names.
@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"deepseek", "functiongemma"}))
def test_formats_agree_on_the_argument(name: str) -> None:
    render = FORMATS[name].render
    calls = [ToolCall("get_weather", {"city": "Paris", "days": days, "unit": "c"}) for days in (3, 4)]
    assert place(render(calls[1:]), render(calls[:1]), name) == (Place.ARGUMENT, "get_weather", "days")


def test_an_argument_that_is_an_object_is_one_argument() -> None:
    calls = [call("f", where={"city": city, "zip": 1}, when="now") for city in ("Oslo", "Rome")]
    assert place(fenced(calls[0]), fenced(calls[1])) == (Place.ARGUMENT, "f", "where")


def test_spacing_is_no_mistake() -> None:
    compact = '```json\n{"name":"get_weather","arguments":{"city":"Paris","days":4}}\n```'
    assert place(compact, fenced(PARIS)) == (Place.ARGUMENT, "get_weather", "days")


texts = st.text(st.sampled_from('{}[]":, \n\\ab'), max_size=60) | st.sampled_from(
    [fenced(PARIS), fenced(PARIS, ROME)]
)
ids = st.lists(st.integers(0, 3), max_size=6).map(tuple)
answers = st.builds(Written, ids, texts)


@given(answers, st.lists(answers, min_size=1, max_size=3))
def test_the_token_is_the_first_that_no_right_answer_has(wrong: Written, right: list[Written]) -> None:
    (one,) = partings([(5, wrong)], right, "fenced_json")
    assert one.sample == 5
    begun = wrong.ids[: one.token]
    assert any(known.ids[: one.token] == begun for known in right)
    longer = wrong.ids[: one.token + 1]
    assert longer == begun or not any(known.ids[: one.token + 1] == longer for known in right)
    assert Parting.from_json(one.to_json()) == one
    assert one.description


def test_without_a_right_answer_nothing_is_said() -> None:
    assert partings([(0, Written((1,), "x"))], [], "fenced_json") == ()


def test_the_nearest_right_answer_is_what_it_is_compared_with() -> None:
    right = [Written((1,), "A joke."), Written((2,), fenced(PARIS))]
    wrong = Written((2, 3), fenced(call("get_weather", city="Oslo", days=3)))
    (one,) = partings([(0, wrong)], right, "fenced_json")
    assert (one.token, one.place, one.argument) == (1, Place.ARGUMENT, "city")
    assert one.description == "argument 'city' of get_weather"
