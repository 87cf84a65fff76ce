"""Difficulty: counts that only grow, so that more calls, tools and turns never make a task easier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.difficulty import HARD, MEDIUM, Difficulty, Level, difficulty
from strop.training.synth import ALL_CATEGORIES, synthesise

NAMES = ("sail", "row", "swim")
SPECS = tuple(
    ToolSpec(
        name,
        "Moves.",
        {
            "type": "object",
            "properties": {key: {"type": "string"} for key in ("to", "how", "when")[: at + 1]},
            "required": ["to"],
        },
    )
    for at, name in enumerate(NAMES)
)
values = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
calls = st.builds(
    ToolCall, st.sampled_from(NAMES), st.dictionaries(st.sampled_from(["to", "how", "when"]), values)
)
tasks = st.builds(
    lambda called, tools, turns: Task(
        "t",
        tuple({"role": "user", "content": "Go."} for _ in range(turns)),
        tuple(tools),
        Gold(tuple(called)),
    ),
    st.lists(calls, max_size=4),
    st.lists(st.sampled_from(SPECS), unique_by=lambda spec: spec.name, max_size=3),
    st.integers(1, 3),
)


def with_calls(task: Task, *more: ToolCall) -> Task:
    assert task.gold is not None
    return replace(task, gold=Gold((*task.gold.calls, *more)))


@given(tasks, calls)
def test_a_further_call_never_makes_a_task_easier(task: Task, call: ToolCall) -> None:
    assert difficulty(with_calls(task, call)).score >= difficulty(task).score


@given(tasks, st.sampled_from(SPECS))
def test_a_further_tool_never_makes_a_task_easier(task: Task, spec: ToolSpec) -> None:
    more = replace(task, tools=(*task.tools, spec))
    assert difficulty(more).score >= difficulty(task).score


@given(tasks)
def test_a_further_turn_makes_a_task_harder(task: Task) -> None:
    more = replace(task, messages=({"role": "user", "content": "Hello."}, *task.messages))
    assert difficulty(more).score > difficulty(task).score


@given(tasks)
def test_the_level_is_the_scores(task: Task) -> None:
    found = difficulty(task)
    assert found.score >= 0
    assert (found.level == Level.EASY) == (found.score < MEDIUM)
    assert (found.level == Level.HARD) == (found.score >= HARD)


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"to": "Oslo"}, {"stated": 1, "left": 2, "nested": 0}),
        ({"to": ["Oslo", "Rome"], "how": {"by": {"boat": 1}}}, {"stated": 3, "left": 1, "nested": 3}),
        ({"to": []}, {"stated": 0, "left": 2, "nested": 1}),
    ],
)
def test_values_are_counted_leaf_by_leaf(arguments: dict[str, Any], counts: dict[str, int]) -> None:
    task = Task("t", ({"role": "user", "content": "Swim."},), SPECS, Gold((ToolCall("swim", arguments),)))
    found = difficulty(task)
    assert {name: getattr(found, name) for name in counts} == counts
    assert (found.calls, found.called, found.tools, found.turns) == (1, 1, 3, 1)


def test_a_task_without_gold_counts_as_one_of_prose() -> None:
    task = Task("t", ({"role": "user", "content": "Hello."},), SPECS[:1])
    assert difficulty(task) == Difficulty(calls=0, called=0, tools=1, stated=0, left=0, nested=0, turns=1)


def test_categories_rise_from_easy_to_hard() -> None:
    means = {
        name: sum(difficulty(task).score for task in synthesise(80, 2, [name])) / 80
        for name in ALL_CATEGORIES
    }
    assert means["irrelevance"] < means["simple"] < means["multiple"] < means["parallel"]
    assert means["parallel"] < means["parallel_multiple"]
    assert means["simple"] < means["follow_up"]
