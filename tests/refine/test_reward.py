"""What answers are worth, by each kind of reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from strop.agent.answer import Draft
from strop.agent.engines.base import FinishReason
from strop.refine.reward import RewardKind, grade, rewarded
from strop.refine.sample import Sample, assess
from strop.refine.search import SearchConfig, search
from strop.refine.tree import violations
from strop.tools.errors import DataError
from strop.tools.formats import read_calls
from strop.tools.task import Task
from tests.refine.worlds import PARIS, SIMPLE, WORLD, call, fenced, policy

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


def sample(task: Task, *calls: dict[str, Any], text: str | None = None) -> Sample:
    text = text or fenced(*calls)
    reading = read_calls(text)
    draft = Draft((), tuple(text.encode()), text, reading.calls, reading.content, problem=reading.problem)
    return Sample(draft.token_ids, (), assess(task, replace(draft, finish_reason=FinishReason.STOP)))


async def reward(task: Task, one: Sample, kind: RewardKind, worlds: str = "", script: Any = WORLD) -> Sample:
    (judged,) = await rewarded(task, policy(script), [one], kind, worlds)
    return judged


async def test_graded_and_binary() -> None:
    near, right = sample(SIMPLE, call("get_weather", city="Paris", days=4)), sample(SIMPLE, PARIS)
    assert 0 < (await reward(SIMPLE, near, RewardKind.GRADED)).outcome.reward < 0.8
    assert (await reward(SIMPLE, near, RewardKind.BINARY)).outcome.reward == 0
    for kind in (RewardKind.GRADED, RewardKind.BINARY):
        assert (await reward(SIMPLE, right, kind)).outcome.reward == 1


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ([("A", 1.0)], 1.0),
        ([("D", 1.0)], 0.0),
        ([("A", 0.5), ("D", 0.5)], 0.5),
        ([("C", 1.0)], (-0.25 + 0.5) / 0.75),
        (["I would not know."], 0.5 / 0.75),  # none of the letters: nothing for it, nothing against it
    ],
)
async def test_the_policy_grades_as_itool_weighs_it(letters: Any, expected: float) -> None:
    model = policy(lambda _: letters)
    got = await grade(SIMPLE, model, sample(SIMPLE, PARIS).outcome, with_gold=True)
    assert got == pytest.approx(expected, abs=1e-6)


async def test_only_the_judge_that_may_see_the_gold_sees_it() -> None:
    model = policy(lambda _: ["B"])
    wrong = sample(SIMPLE, call("get_weather", city="Rome", days=4)).outcome
    for with_gold in (True, False):
        await grade(SIMPLE, model, wrong, with_gold=with_gold)
    shown = [model.template.decode(request.prompt_ids) for request in model.engine.requests]  # type: ignore[attr-defined]
    assert ["city='Paris'" in text or '"Paris"' in text for text in shown] == [True, False]
    assert all("Rome" in text for text in shown)


async def test_a_grade_changes_no_verdict() -> None:
    wrong = sample(SIMPLE, call("get_weather", city="Rome", days=4))
    judged = await reward(SIMPLE, wrong, RewardKind.JUDGE, script=lambda _: ["A"])
    assert judged.outcome.reward == 1.0
    assert judged.outcome.verdict == wrong.outcome.verdict


async def test_calls_that_do_the_same_are_right() -> None:
    task = alarm_task()
    same, other = sample(task, call("set_alarm", time="6pm")), sample(task, call("set_alarm", time="7pm"))
    assert not same.outcome.verdict.correct
    judged = [await reward(task, one, RewardKind.GRADED, WORLDS) for one in (same, other)]
    assert [one.outcome.verdict.correct for one in judged] == [True, False]
    assert judged[0].outcome.reward == 1.0
    assert judged[1] == other


async def test_an_answer_that_cannot_be_played_stays_what_it_is() -> None:
    task = alarm_task()
    for one in (
        sample(task, text="Good night."),
        sample(task, call("set_alarm", time="6pm"), call("set_alarm", time="6pm")),
        sample(task, call("snooze")),
    ):
        assert await reward(task, one, RewardKind.GRADED, WORLDS) == one


async def test_a_world_that_cannot_begin_is_named() -> None:
    task = alarm_task(category="broken")
    with pytest.raises(DataError, match="no such clock"):
        await reward(task, sample(task, call("set_alarm", time="6pm")), RewardKind.GRADED, WORLDS)


@pytest.mark.parametrize("kind", list(RewardKind))
async def test_trees_keep_their_laws_with_every_reward(kind: RewardKind) -> None:
    def script(ids: Any) -> Any:
        asked = bytes(index for index in ids if index < 256).decode()
        return (
            [("A", 0.3), ("C", 0.7)] if "Write one letter" in asked else WORLD["Weather in Paris for 3 days?"]
        )

    config = SearchConfig(simulations=4, max_tokens=400, reward=kind)
    tree = await search(SIMPLE, policy(script), [sample(SIMPLE, PARIS)], config, seed=0)
    assert violations(tree) == []
