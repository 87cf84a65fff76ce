"""Follow-ups: the conversation can be rendered, and only what came before makes the gold call complete."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.engines.scripted import ScriptedTemplate
from strop.agent.engines.scripted_model import decode
from strop.tools.spec import ToolCall
from strop.tools.task import Message, Task
from strop.training.catalogue import load_catalogue
from strop.training.follow_up import changeable_arguments
from strop.training.returns import report_of, result_of
from strop.training.synth import synthesise
from strop.training.wording import request

CATALOGUE = {tool.name: tool for tool in load_catalogue().tools}
TASKS = synthesise(400, 3, ["follow_up"])


def calls_in(messages: tuple[Message, ...]) -> list[ToolCall]:
    return [
        ToolCall.from_json(call["function"]) for turn in messages for call in turn.get("tool_calls") or ()
    ]


def differing(one: Any, other: Any) -> int:
    """How many values two argument objects do not share."""
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(differing(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    return int(one != other)


def gold_call(task: Task) -> ToolCall:
    assert task.gold is not None
    return task.gold.calls[0]


def test_turns_alternate_and_the_user_has_the_last() -> None:
    for task in TASKS:
        roles = [turn["role"] for turn in task.messages]
        assert roles[0] == roles[-1] == "user", task.id
        assert len(roles) >= 3, task.id
        pairs = set(pairwise(roles))
        assert pairs <= {
            ("user", "assistant"),
            ("assistant", "tool"),
            ("tool", "assistant"),
            ("assistant", "user"),
        }


def test_results_belong_to_the_calls_before_them() -> None:
    for task in TASKS:
        for before, after in pairwise(task.messages):
            if after["role"] == "tool":
                assert after["tool_call_id"] == before["tool_calls"][0]["id"]
                assert json.loads(after["content"])["status"] == "ok"


def test_a_change_differs_from_the_call_before_in_one_value_or_two() -> None:
    changes = [task for task in TASKS if calls_in(task.messages)]
    assert 0.5 < len(changes) / len(TASKS) < 0.8
    for task in changes:
        last = calls_in(task.messages)[-1]
        assert last.name == gold_call(task).name
        assert differing(dict(last.arguments), dict(gold_call(task).arguments)) in (1, 2), task.id


def test_the_last_turn_alone_does_not_say_it_all() -> None:
    for task in TASKS:
        last = str(task.messages[-1]["content"])
        assert len(last) < 160
        assert gold_call(task).name not in last


def test_templates_render_the_calls_and_their_results() -> None:
    for task in TASKS[:60]:
        text = decode(ScriptedTemplate().prompt_ids(task.messages, task.tools))
        assert all(call.name in text for call in calls_in(task.messages))
        assert all(turn["content"] in text for turn in task.messages if turn["role"] == "tool")


@settings(deadline=None)
@given(st.integers())
def test_a_result_depends_on_the_call_alone(seed: int) -> None:
    task = Random(seed).choice(TASKS)
    tool, call = CATALOGUE[gold_call(task).name], gold_call(task)
    assert result_of(tool, call) == result_of(tool, call)
    assert ("shown" in result_of(tool, call)) == (not tool.acts)


def test_only_what_acts_is_reported_as_done() -> None:
    call = ToolCall("any", {"servings": 7})
    for name in ("sun_times", "crops.forecast_yield", "kitchen.scale_ingredient", "splitBill", "dice.roll"):
        reports = {report_of(CATALOGUE[name], call, Random(seed)) for seed in range(40)}
        assert not any("All set" in said or "taken care of" in said for said in reports), name
        assert str(result_of(CATALOGUE[name], call)["id"]).startswith("res-")
    for name in ("sms.send_text", "sightings.report", "convertImage"):
        reports = {report_of(CATALOGUE[name], call, Random(seed)) for seed in range(40)}
        assert any("taken care of, under the number job-" in said for said in reports), name


def test_no_call_is_made_twice_in_a_conversation() -> None:
    for task in TASKS:
        made = [json.dumps(call.to_json()) for call in (*calls_in(task.messages), gold_call(task))]
        assert len(set(made)) == len(made), task.id


def test_a_changed_value_is_one_whose_name_no_other_argument_has() -> None:
    """Both points of the plane have an "x coordinate"."""
    tool = CATALOGUE["plane.point_distance"]
    assert changeable_arguments(request(tool, Random(1))) == []
