"""Tasks that an endpoint or a template refuses: wrong, where the run itself is not to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.agent.answer import Answer
from strop.agent.bench import MOST_REFUSED
from strop.agent.cache import CachedAnswerer
from strop.agent.rows import read_answers
from strop.tools.errors import RefusedError, UsageError
from strop.tools.task import Task
from tests.agent.answerers import CASES, Fixed, bench, right


async def test_a_task_that_is_refused_is_wrong_and_the_run_goes_on(tmp_path: Path) -> None:
    def refuses_some(task: Task) -> Answer:
        if task.id in ("t0", "t4"):
            raise RefusedError("HTTP 400: content filter")
        if task.id == "t9":
            raise UsageError("this template has no system role")
        return right(task)

    answerer = Fixed(refuses_some)
    summary = await bench(answerer, tmp_path, concurrency=2)
    assert [one.errors for one in summary.categories.values()] == [{"refused": 2}, {"refused": 1}]
    rows = {row["id"]: row for row in read_answers(tmp_path)}
    assert len(rows) == 10
    assert "content filter" in rows["t4"]["detail"]
    assert "task 't9' cannot be asked: this template" in rows["t9"]["detail"]
    await bench(answerer, tmp_path)
    assert len(answerer.asked) == 10


def answers_once() -> Fixed:
    """Whatever is asked after the first is refused."""
    answerer = Fixed(right)

    def reply(task: Task) -> Answer:
        if len(answerer.asked) > 1:
            raise RefusedError("HTTP 400: no such model")
        return right(task)

    answerer.reply = reply
    return answerer


async def test_where_all_is_refused_the_run_stops_and_nothing_counts(tmp_path: Path) -> None:
    answerer = answers_once()
    with pytest.raises(RefusedError, match="no such model"):
        await bench(answerer, tmp_path, concurrency=1)
    assert answerer.asked == [*(f"t{number}" for number in range(1 + MOST_REFUSED)), "t0"]
    assert [row["id"] for row in read_answers(tmp_path)] == ["t0"]
    with pytest.raises(RefusedError, match="no such model"):
        await bench(answerer, tmp_path / "few", CASES[1:3])
    assert read_answers(tmp_path / "few") == []
    summary = await bench(Fixed(right), tmp_path)
    assert sum(one.score.correct for one in summary.categories.values()) == 10


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_refused_tasks_in_a_row_count_where_another_is_still_answered(
    tmp_path: Path, concurrency: int
) -> None:
    def has_no_system_role(task: Task) -> Answer:
        if task.id != "t0":
            raise UsageError("this template has no system role")
        return right(task)

    answerer = Fixed(has_no_system_role)
    await bench(answerer, tmp_path, CASES[:1])
    summary = await bench(answerer, tmp_path, concurrency=concurrency)
    assert sum(one.errors.get("refused", 0) for one in summary.categories.values()) == 9
    assert len(read_answers(tmp_path)) == 10
    assert answerer.asked.count("t0") == 2


async def test_a_run_that_only_met_refusals_does_not_count_them(tmp_path: Path) -> None:
    def refuses(_task: Task) -> Answer:
        raise UsageError("it refines by itself")

    await bench(Fixed(right), tmp_path, CASES[:5])
    with pytest.raises(UsageError, match="it refines by itself"):
        await bench(Fixed(refuses), tmp_path)
    assert len(read_answers(tmp_path)) == 5
    summary = await bench(Fixed(right), tmp_path)
    assert sum(one.score.correct for one in summary.categories.values()) == 10


async def test_a_cache_does_not_vouch_for_an_endpoint_that_refuses_everything(tmp_path: Path) -> None:
    with (
        CachedAnswerer(answers_once(), tmp_path / "cache.db", {}, Task.to_json) as cached,
        pytest.raises(RefusedError, match="no such model"),
    ):
        await bench(cached, tmp_path / "run", concurrency=1)
    assert [row["id"] for row in read_answers(tmp_path / "run")] == ["t0"]
