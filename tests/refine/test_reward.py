"""What answers are worth, by each kind of reward."""

from __future__ import annotations

from typing import Any

import pytest

from strop.refine.reward import RewardKind, grade, rewarded
from strop.refine.sample import Sample
from strop.refine.search import SearchConfig, search
from strop.refine.tree import violations
from strop.tools.task import Task
from tests.refine.worlds import PARIS, SIMPLE, WORLD, answered, call, policy


async def reward(task: Task, one: Sample, kind: RewardKind, script: Any = WORLD) -> Sample:
    (judged,) = await rewarded(task, policy(script), [one], kind)
    return judged


async def test_graded_and_binary() -> None:
    near, right = answered(SIMPLE, call("get_weather", city="Paris", days=4)), answered(SIMPLE, PARIS)
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
    got = await grade(SIMPLE, model, answered(SIMPLE, PARIS).outcome, with_gold=True)
    assert got == pytest.approx(expected, abs=1e-6)


async def test_only_the_judge_that_may_see_the_gold_sees_it() -> None:
    model = policy(lambda _: ["B"])
    wrong = answered(SIMPLE, call("get_weather", city="Rome", days=4)).outcome
    for with_gold in (True, False):
        await grade(SIMPLE, model, wrong, with_gold=with_gold)
    shown = [model.template.decode(request.prompt_ids) for request in model.engine.requests]  # type: ignore[attr-defined]
    assert ["city='Paris'" in text or '"Paris"' in text for text in shown] == [True, False]
    assert all("Rome" in text for text in shown)


async def test_a_grade_changes_no_verdict() -> None:
    wrong = answered(SIMPLE, call("get_weather", city="Rome", days=4))
    judged = await reward(SIMPLE, wrong, RewardKind.JUDGE, script=lambda _: ["A"])
    assert judged.outcome.reward == 1.0
    assert judged.outcome.verdict == wrong.outcome.verdict


@pytest.mark.parametrize("kind", list(RewardKind))
async def test_trees_keep_their_laws_with_every_reward(kind: RewardKind) -> None:
    def script(ids: Any) -> Any:
        asked = bytes(index for index in ids if index < 256).decode()
        return (
            [("A", 0.3), ("C", 0.7)] if "Write one letter" in asked else WORLD["Weather in Paris for 3 days?"]
        )

    config = SearchConfig(simulations=4, max_tokens=400, reward=kind)
    tree = await search(SIMPLE, policy(script), [answered(SIMPLE, PARIS)], config, seed=0)
    assert violations(tree) == []
