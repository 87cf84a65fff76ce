"""Answers kept in a file come out as they went in, and only for the same question."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from strop.agent.answer import Answer, Draft, StopReason, Usage
from strop.agent.cache import CachedAnswerer, answer_from_json, answer_to_json
from strop.agent.engines.base import FinishReason, Sampling
from strop.tools.errors import RunError
from strop.tools.spec import ToolCall
from strop.tools.task import Task

DRAFT = Draft(
    (1, 2), (3, 4), "f(x)", (ToolCall("f", {"x": [1.5, None, "ü\ud83d"]}, "f(x)"),), None, ("closed",), None,
    "thought", True, (-0.5, -1.25), (((3, -0.5), (9, -2.0)), ()), FinishReason.LENGTH,
)  # fmt: skip
ANSWER = Answer(DRAFT, Usage(2, 2, 1), (replace(DRAFT, logprobs=None, top_logprobs=None), DRAFT), 2,
                StopReason.EQUAL, 0.25, Usage(1, 1, 0))  # fmt: skip
TASK = Task("t", ({"role": "user", "content": "Do it."},), ())


@dataclass(slots=True)
class Counting:
    asked: int = 0
    name: str = "counting"

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        del task, sampling
        self.asked += 1
        return ANSWER


def test_an_answer_comes_back_whole() -> None:
    assert answer_from_json(answer_to_json(ANSWER)) == ANSWER
    assert answer_from_json(answer_to_json(ANSWER)).calls[0].text == "f(x)"


async def test_the_same_question_is_asked_once_and_another_is_not_mistaken_for_it(tmp_path: Path) -> None:
    inner, path = Counting(), tmp_path / "cache" / "answers.sqlite"
    for _ in range(2):
        with CachedAnswerer(inner, path, {"model": "a"}, Task.to_json) as cached:
            assert await cached.answer(TASK, Sampling()) == ANSWER
            assert cached.name == "counting"
    assert inner.asked == 1
    with CachedAnswerer(inner, path, {"model": "a"}, Task.to_json) as cached:
        await cached.answer(TASK, Sampling(seed=1))
        await cached.answer(replace(TASK, messages=({"role": "user", "content": "Do it"},)), Sampling())
        assert cached.found == 0
    with CachedAnswerer(inner, path, {"model": "b"}, Task.to_json) as cached:
        await cached.answer(TASK, Sampling())
    assert inner.asked == 4


async def test_a_row_that_is_no_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with CachedAnswerer(Counting(), path, {}, Task.to_json) as cached:
        await cached.answer(TASK, Sampling())
        sqlite3.connect(path, isolation_level=None).execute("UPDATE answers SET answer = '{}'")
        with pytest.raises(RunError, match=r"answers\.sqlite holds what is no answer"):
            await cached.answer(TASK, Sampling())
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite", isolation_level=None)
    foreign.execute("CREATE TABLE answers (name TEXT)")
    with (
        CachedAnswerer(Counting(), tmp_path / "foreign.sqlite", {}, Task.to_json) as cached,
        pytest.raises(RunError, match=r"foreign\.sqlite cannot be used: no such column"),
    ):
        await cached.answer(TASK, Sampling())


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, but long enough to be looked at " * 50)
    with pytest.raises(RunError, match=r"the cache .*file cannot be used: file is not a database"):
        CachedAnswerer(Counting(), tmp_path / "file", {}, Task.to_json)


async def test_two_prompts_that_differ_in_an_order_are_two(tmp_path: Path) -> None:
    inner = Counting()
    for prompt in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        with CachedAnswerer(inner, tmp_path / "file", {"model": "a"}, lambda _, it=prompt: it) as cached:  # type: ignore[misc]
            await cached.answer(TASK, Sampling())
    assert inner.asked == 2
