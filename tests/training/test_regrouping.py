"""Given tasks, put to the tools of others: gold stays right; what cannot be served is answered in prose."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.tools.errors import UsageError
from strop.tools.judge import judge
from strop.tools.schema import validate_call
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.regrouping import ability, are_alike, in_random_order, regroup, usable
from strop.training.synth import synthesise

GIVEN = list(filter(usable, synthesise(120, 5, ("simple", "multiple", "parallel", "parallel_multiple"))))
MADE = regroup(GIVEN, 30, 3)


def families() -> list[list[Task]]:
    return [list(family) for _, family in groupby(MADE, key=lambda task: task.id.split("/")[1])]


def test_a_family_has_one_offer_and_every_gold_is_right_there() -> None:
    assert len(families()) == 30
    for family in families():
        assert all(task.tools == family[0].tools for task in family)
        assert len({task.messages[0]["content"] for task in family}) == len(family)
        for task in family:
            assert task.gold is not None
            assert judge(task.gold.calls, None, task).correct
            assert all(validate_call(call, task.tools) == [] for call in task.gold.calls)


def test_a_task_is_asked_with_its_own_calls_at_most_once() -> None:
    questions = [task.messages for task in MADE if task.gold is not None and task.gold.calls]
    given = {repr(task.messages): task.gold for task in GIVEN}
    assert len({repr(one) for one in questions}) == len(questions)
    assert all(task.gold == given[repr(task.messages)] for task in MADE if task.category != "irrelevance")


def test_what_no_tool_serves_is_answered_in_prose_that_says_so() -> None:
    tools = {repr(task.messages): {call.name for call in task.gold.calls} for task in GIVEN if task.gold}
    unmet = [task for task in MADE if task.category == "irrelevance"]
    assert 0.15 < len(unmet) / len(MADE) < 0.45
    for task in unmet:
        assert task.gold is not None
        assert task.gold.response
        assert not {tool.name for tool in task.tools} & tools[repr(task.messages)]


def test_a_refusal_names_all_that_the_request_wants() -> None:
    does = {repr(task.messages): [ability(tool) for tool in used(task)] for task in GIVEN}
    several = [task for task in MADE if task.category == "irrelevance" and len(does[repr(task.messages)]) > 1]
    assert several
    for task in several:
        assert task.gold is not None
        assert all(said in (task.gold.response or "") for said in does[repr(task.messages)])


def used(task: Task) -> list[ToolSpec]:
    names = {call.name for call in task.gold.calls} if task.gold else set()
    return [tool for tool in task.tools if tool.name in names]


@given(st.integers(1, 9), st.integers(0, 50))
@settings(max_examples=5, deadline=None)
def test_the_same_seed_gives_the_same_families_and_more_only_add(n: int, seed: int) -> None:
    fewer, more = regroup(GIVEN, n, seed), regroup(GIVEN, n + 3, seed)
    assert more[: len(fewer)] == fewer
    assert regroup(GIVEN, n, seed) == fewer


TOOL = ToolSpec("get_news", "Fetches news.", {"type": "object", "properties": {"topic": {"type": "string"}}})
ONE = Task(
    "one",
    ({"role": "user", "content": "News about chess"},),
    (TOOL,),
    Gold((ToolCall("get_news", {"topic": "chess"}),)),
)


def test_tasks_that_cannot_be_put_to_other_tools_are_left_out() -> None:
    assert usable(ONE)
    turn = {"role": "user", "content": "News about chess"}
    assert not usable(replace(ONE, gold=Gold((), "No.")))
    assert not usable(replace(ONE, messages=(turn, turn)))
    assert not usable(replace(ONE, gold=Gold((ToolCall("get_news", {"topic": "go"}),)))), "stated nowhere"
    assert not usable(replace(ONE, gold=Gold((ToolCall("get_news", {"topic": 3}),)))), "of another type"
    assert not usable(replace(ONE, gold=Gold((ToolCall("get_weather", {}),)))), "of no tool"
    assert not usable(replace(ONE, tools=(replace(TOOL, description="x " * 900),))), "too long"
    with pytest.raises(UsageError, match="none of these tasks"):
        regroup([], 1, 0)
    with pytest.raises(UsageError, match="cannot make -1"):
        regroup([ONE], -1, 0)


@pytest.mark.parametrize(
    ("value", "stated"),
    [
        ("chess", True),
        ("go", False),
        ({"a": ["chess", 1250.0]}, True),
        ({"a": ["chess", 1251]}, False),
        ([1251], False),
        (3, False),
        (True, True),
        (None, True),
    ],
)
def test_a_value_of_any_depth_has_to_be_stated(value: object, stated: bool) -> None:
    tool = ToolSpec("get_news", "Fetches news.", {"type": "object", "properties": {"topic": {}}})
    turn = {"role": "user", "content": "News about chess, 1,250 of them"}
    gold = Gold((ToolCall("get_news", {"topic": value}),))
    assert usable(replace(ONE, messages=(turn,), tools=(tool,), gold=gold)) is stated


def test_one_task_alone_is_a_family_without_an_unmet_request() -> None:
    assert [task.gold for task in regroup([ONE], 3, 0)] == [ONE.gold]


@pytest.mark.parametrize(
    ("description", "does"),
    [
        ("Fetches news.", "fetch news"),
        ("Identifies a plant; by its leaf", "identify a plant"),
        ("Guess a word (five letters)", "guess a word"),
        ("Processes and stores text, fast", "process and store text, fast"),
        (
            "Counts the occurrences of a word in a text and returns the sum",
            "count the occurrences of a word in a text and return the sum",
        ),
        ("Get trends and statistics of a city", "get trends and statistics of a city"),
        (
            "Fetches the weekly or daily top tracks from Spotify for a specified region and a date or a week",
            "fetch the weekly or daily top tracks from Spotify",
        ),
        (
            "Retrieve HVAC (Heating, Ventilation, Air Conditioning) data of a house.",
            "retrieve HVAC data of a house",
        ),
        ("Find flights based on e.g. a date", "find flights"),
        ("Sends " + "very " * 20 + "long letters", "use get_news"),
        ("Price of a frame.", "use get_news"),
        ("Rename a file, keeping it in its folder.", "rename files"),
        ("news", "use get_news"),
    ],
)
def test_what_a_tool_does_in_words_that_follow_can(description: str, does: str) -> None:
    assert ability(replace(TOOL, description=description)) == does


@given(st.lists(st.integers()), st.integers())
def test_a_random_order_has_every_item_once(items: list[int], seed: int) -> None:
    assert sorted(in_random_order(items, Random(seed))) == sorted(items)


def test_an_order_is_drawn_as_far_as_it_is_asked_for() -> None:
    class Counting(Random):
        drawn = 0

        def randint(self, a: int, b: int) -> int:
            self.drawn += 1
            return super().randint(a, b)

    rng = Counting(3)
    assert len(list(islice(in_random_order(range(10**6), rng), 3))) == rng.drawn == 3


def test_tools_of_the_same_words_are_alike() -> None:
    other = replace(TOOL, name="fetchNews", description="Retrieve today's news")
    assert are_alike(TOOL, other)
    assert are_alike(other, TOOL)
    assert not are_alike(TOOL, replace(TOOL, name="add", description="Sum two numbers"))
