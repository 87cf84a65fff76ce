"""Which texts state a value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.statements import added_numbers, is_stated, lost, stated_values, text_of
from strop.training.synth import ALL_CATEGORIES, synthesise


@pytest.mark.parametrize(
    ("value", "text", "stated"),
    [
        ("Oslo", "Rain in Oslo?", True),
        ("Oslo", "Rain in oslo?", False),
        ("clean", "Clean my shoes.", True),
        ("open", "Is it opened?", False),
        ("EUR", "Change it into euros.", True),
        (5, "5 nights", True),
        (5, "five nights", True),
        (5, "15 nights at 5.5 or 2,5", False),
        (42, "forty-two", True),
        (1200, "1,200 pounds", True),
        (0.035, "3.5% a year", True),
        (-3, "minus is -3.", True),
        (-3, "minus three degrees", True),
        (-3, "3 or 2-3", False),
        (5, "set it to -5", False),
        (5, "set it to minus five", False),
        (5, "for 2-5 days", True),
        (5, "twenty-five or five hundred", False),
        (1, "Which one is it?", False),
        (1, "a one-way flight, not that one of yours", False),
        (1, "one night", True),
        (40, "40 percent", True),
        (5.0, "5 metres", True),
        ('a "b"', 'say "a \\"b\\""', True),
        (float("inf"), "for ever", False),
        (10**400, "many", False),
    ],
)
def test_ways_to_state_a_value(value: Any, text: str, stated: bool) -> None:
    assert is_stated(value, text) == stated


@given(st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(min_size=1))
def test_a_value_by_itself_is_stated(value: Any) -> None:
    assert is_stated(value, f"{value}")


def test_what_was_stated_and_is_no_longer_is_lost() -> None:
    assert lost(["Oslo", "Rome", 3], "Oslo in 3 days", "Oslo in two days") == [3]


@pytest.mark.parametrize(
    ("values", "before", "after", "gone"),
    [
        ([5], "at 5 kg", "at 5% kg", [5]),
        ([5], "at 5 percent", "at 5%", []),
        ([5], "at 5 percent", "at 5", [5]),
        ([0.05], "at 5%", "at a rate of 0.05", []),
        ([5], "heat it to 5", "heat it to -5", [5]),
        ([5, 5], "radius 5 and height 5", "radius 5", [5]),
        ([5, 5], "radius 5 and height 5", "5 high, radius five", []),
        ([5], "5 nights, yes, 5", "5 nights", []),
        (["Oslo"], "rain in Oslo, wind in Oslo", "rain and wind in Oslo", []),
    ],
)
def test_sign_percent_and_number_of_times_count(
    values: list[Any], before: str, after: str, gone: list[Any]
) -> None:
    assert lost(values, before, after) == gone


@given(st.lists(st.integers(-99, 99) | st.sampled_from(["Oslo", "euros"]), max_size=4), st.text(max_size=9))
def test_a_text_loses_nothing_of_itself(values: list[Any], text: str) -> None:
    said = f"{text} {' and '.join(map(str, values))}"
    assert lost(values, said, said) == []


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_a_number_does_not_state_another(one: int, other: int) -> None:
    assert is_stated(one, f"set it to {other} now") == (one == other)


def test_a_value_counts_once_for_every_argument_that_has_it() -> None:
    calls = (ToolCall("a", {"r": 5, "h": 5, "city": "Oslo"}), ToolCall("b", {"city": "Oslo", "of": [5, 7]}))
    task = Task("t", ({"role": "user", "content": "?"},), (), Gold(calls))
    assert stated_values(task) == [5, 5, "Oslo", 5, 7]


def test_a_new_figure_is_noticed_and_another_form_of_an_old_one_is_not() -> None:
    assert added_numbers("two days from 2026-05-03 at 09:15", "2 days from 2026-05-03, 09:15") == []
    assert added_numbers("a few days in Oslo", "3 days in Oslo, 2.5 to be sure.") == ["3", "2.5"]
    assert added_numbers("", "9" * 5000) == ["9" * 5000]
    assert added_numbers("at 5", "at -5") == ["-5"]
    assert added_numbers("from -5 to 3", "from minus 5 to three") == []


def test_nearly_all_that_is_synthesised_states_its_values() -> None:
    tasks = synthesise(700, 5, ALL_CATEGORIES)

    def misses(task: Task) -> bool:
        return not all(is_stated(value, text_of(task.messages)) for value in stated_values(task))

    assert sum(map(misses, tasks)) < 0.03 * len(tasks)
