"""What several samples a task are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strop.agent.answer import Answer
from strop.agent.engines.base import Sampling
from strop.agent.rows import read_answers
from strop.agent.summary import majority_is_right
from strop.tools.errors import UsageError
from strop.tools.task import Task
from tests.agent.answerers import CASES, ByName, ByText, Fixed, bench, case, right, said


async def test_what_was_said_is_what_a_majority_agrees_on_where_it_is_judged(tmp_path: Path) -> None:
    class Saying(Fixed):
        async def answer(self, task: Task, sampling: Sampling) -> Answer:
            return said(text=("a", "b", "c", task.id, task.id)[sampling.seed or 0])

    options: dict[str, Any] = {"samples": 5, "sampling": Sampling(temperature=1.0), "concurrency": 1}
    summary = await bench(Saying(right), tmp_path, [ByText(case("t0", "simple").task)], **options)
    assert summary.categories["simple"].majority_at[5] == 1.0


async def test_tasks_with_fewer_samples_do_not_hide_the_others(tmp_path: Path) -> None:
    warm = Sampling(temperature=1.0, seed=0)
    odd = Fixed(lambda task: said(task.id if task.id == "t0" else "other"))
    await bench(odd, tmp_path, CASES[:2], sampling=warm)
    summary = await bench(odd, tmp_path, CASES[:1], sampling=warm, samples=4)
    one = summary.categories["simple"]
    assert (one.tasks, one.sampled, one.accuracy) == (2, 1, 0.5)
    assert (one.score.correct, one.score.total) == (4, 5)
    assert list(one.pass_at) == [1, 2, 4]


async def test_several_samples_have_seeds_of_their_own_and_say_what_they_are_worth(tmp_path: Path) -> None:
    seeds: list[int | None] = []

    class Sampled(Fixed):
        async def answer(self, task: Task, sampling: Sampling) -> Answer:
            seeds.append(sampling.seed)
            number = (sampling.seed or 0) - 7
            # t0 is right always, t1 in one of four, t2 never.
            chance = {"t0": 4, "t1": 1, "t2": 0}[task.id]
            return said(task.id if number < chance else "other")

    options: dict[str, Any] = {"samples": 4, "sampling": Sampling(temperature=1.0, seed=7), "concurrency": 1}
    summary = await bench(Sampled(right), tmp_path, CASES[:3], **options)
    assert seeds == [7, 8, 9, 10] * 3
    one = summary.categories["simple"]
    assert (one.score.correct, one.score.total, one.tasks) == (5, 12, 3)
    assert one.pass_at == pytest.approx({1: 5 / 12, 2: 0.5, 4: 2 / 3})
    assert one.majority_at == pytest.approx({1: 2 / 3, 2: 2 / 3, 4: 1 / 3})
    again = Sampled(right)
    assert await bench(again, tmp_path, CASES[:3], **options) == summary
    assert again.asked == []
    with pytest.raises(UsageError, match="temperature above 0"):
        await bench(Fixed(right), tmp_path / "greedy", samples=2)


async def test_what_is_judged_by_what_is_said_agrees_by_what_is_said(tmp_path: Path) -> None:
    class Spoken(ByName):
        spoken = True

    class Saying(Fixed):
        async def answer(self, task: Task, sampling: Sampling) -> Answer:
            return said(text=(task.id, "Hello.", "Sure,  done!", "Sure, done!")[sampling.seed or 0])

    options: dict[str, Any] = {"samples": 4, "sampling": Sampling(temperature=1.0), "concurrency": 1}
    one = Spoken(case("t0", "simple").task)
    summary = await bench(Saying(right), tmp_path, [one], **options)
    rows = read_answers(tmp_path)
    assert [row["judged"] for row in rows] == ["content"] * 4
    right_one = [row | {"correct": number == 0} for number, row in enumerate(rows)]
    assert majority_is_right(right_one[:3])
    assert not majority_is_right(right_one)
    assert summary.categories["simple"].sampled == 1
