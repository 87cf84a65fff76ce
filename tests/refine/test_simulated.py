"""Answers judged in a simulated world: an alarm clock, in which 6pm and 18:00 are one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strop.refine.audit import Thresholds, audit_file
from strop.refine.collect import CollectConfig, collect
from strop.refine.search import SearchConfig
from strop.refine.simulated import executed
from strop.refine.store import CollectionDir
from strop.tools.errors import DataError
from strop.tools.task import Task
from tests.refine.worlds import answered, call, fenced, policy

WORLDS = "tests.refine.alarms"


def alarm_task(gold: str = "18:00", category: str = "simple") -> Task:
    schema = {"type": "object", "properties": {"time": {"type": "string"}}, "required": ["time"]}
    tool = {"name": "set_alarm", "description": "Set an alarm.", "parameters": schema}
    return Task.from_json(
        {
            "id": "alarm",
            "category": category,
            "messages": [{"role": "user", "content": "Wake me at six in the evening."}],
            "tools": [{"type": "function", "function": tool}],
            "calls": [call("set_alarm", time=gold)],
        }
    )


def test_calls_that_do_the_same_are_right() -> None:
    task = alarm_task()
    same, other = (answered(task, call("set_alarm", time=time)).outcome for time in ("6pm", "7pm"))
    assert not same.verdict.correct
    judged = [executed(task, one, WORLDS) for one in (same, other)]
    assert [one.verdict.correct for one in judged] == [True, False]
    assert judged[0].reward == 1.0
    assert judged[1] == other


def test_an_answer_that_cannot_be_played_stays_what_it_is() -> None:
    task = alarm_task()
    for one in (
        answered(task, text="Good night."),
        answered(task, call("set_alarm", time="6pm"), call("set_alarm", time="6pm")),
        answered(task, call("snooze")),
    ):
        assert executed(task, one.outcome, WORLDS) == one.outcome


def test_a_world_that_cannot_begin_is_named() -> None:
    task = alarm_task(category="broken")
    with pytest.raises(DataError, match="no such clock"):
        executed(task, answered(task, call("set_alarm", time="6pm")).outcome, WORLDS)


def config(worlds: str) -> CollectConfig:
    return CollectConfig(samples=6, search=SearchConfig(simulations=2, max_tokens=400, worlds=worlds))


async def test_samples_are_judged_by_what_they_do(tmp_path: Path) -> None:
    for worlds, passes in (("", 0), (WORLDS, 6)):
        out = tmp_path / f"collection{passes}"
        own = policy({alarm_task().messages[-1]["content"]: fenced(call("set_alarm", time="6pm"))})
        await collect([alarm_task()], own, config(worlds), out)
        diagnosis = CollectionDir(out).diagnoses([alarm_task()])["alarm"]
        assert diagnosis.deficiency.passes == passes


async def test_pairs_and_their_check_go_by_it_too(tmp_path: Path) -> None:
    task = alarm_task()
    answers = [(fenced(call("set_alarm", time=time)), 1.0) for time in ("6pm", "7pm")]
    await collect([task], policy({task.messages[-1]["content"]: answers}), config(WORLDS), tmp_path)
    thresholds = replace(Thresholds(), max_bias=1.0)
    with_worlds, without = (
        audit_file(tmp_path, thresholds, tasks={task.id: task}, worlds=worlds) for worlds in (WORLDS, "")
    )
    assert with_worlds.by_source == {"policy": with_worlds.rows}
    assert with_worlds.rejudged > 0
    assert with_worlds.accepted
    assert set(without.defects) == {"chosen_fails", "stale"}
