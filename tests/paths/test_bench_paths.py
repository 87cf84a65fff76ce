"""A benchmark from its files to its summary: with a policy in this process, and over HTTP from a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strop.agent.answer import Answerer
from strop.agent.bench import run_bench
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.policy import Policy
from strop.agent.remote import RemoteChat
from strop.agent.rows import read_answers
from strop.agent.server.app import create_app
from strop.agent.server.roster import Roster, ServedModel
from strop.agent.server.run import running
from strop.agent.server.served import Served
from strop.agent.summary import Summary
from strop.tools.bfcl.suite import load_suite
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall
from strop.tools.suite import Suite

ORDER = {
    "name": "shop.order",
    "description": "Orders.",
    "parameters": {
        "type": "dict",
        "required": ["item"],
        "properties": {"item": {"type": "string"}, "count": {"type": "integer"}},
    },
}
CUP, TWO = ToolCall("shop.order", {"item": "cup"}), ToolCall("shop.order", {"item": "cup", "count": 2})
SAID = {
    "A cup.": FORMATS["fenced_json"].render([CUP]),
    "Two cups.": FORMATS["fenced_json"].render([ToolCall("shop.order", {"item": "cup", "count": "2"})]),
    "A cup, and two.": FORMATS["fenced_json"].render([TWO, CUP]),
    "A saucer.": '```json\n{"name": "shop.order", "arguments": {"item": "sau',
    "What is the time?": "I have no clock.",
    "Sing!": FORMATS["fenced_json"].render([CUP]),
}
"""What the model says to each question: right, a wrong type, right, cut off, right, a call too many."""
VERDICTS = {
    "simple_python_0": None,
    "simple_python_1": "wrong_type",
    "simple_python_2": "unparsable",
    "parallel_0": None,
    "irrelevance_0": None,
    "irrelevance_1": "should_not_call",
}


def rows(category: str, questions: dict[str, list[dict[str, Any]]]) -> tuple[list[Any], list[Any]]:
    asked = [
        {"id": f"{category}_{n}", "question": [[{"role": "user", "content": text}]], "function": [ORDER]}
        for n, text in enumerate(questions)
    ]
    answers = [{"id": f"{category}_{n}", "ground_truth": gold} for n, gold in enumerate(questions.values())]
    return asked, answers


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    one = {"shop.order": {"item": ["cup"], "count": ["", 1]}}
    two = {"shop.order": {"item": ["cup"], "count": [2]}}
    saucer = {"shop.order": {"item": ["saucer"], "count": ["", 1]}}
    (tmp_path / "possible_answer").mkdir()
    asked: dict[str, dict[str, list[dict[str, Any]]]] = {
        "simple_python": {"A cup.": [one], "Two cups.": [two], "A saucer.": [saucer]},
        "parallel": {"A cup, and two.": [one, two]},
        "irrelevance": {"What is the time?": [], "Sing!": []},
    }
    for category, questions in asked.items():
        for folder, written in zip((".", "possible_answer"), rows(category, questions), strict=True):
            path = tmp_path / folder / f"BFCL_v4_{category}.json"
            path.write_text("".join(json.dumps(row) + "\n" for row in written))
    return load_suite(["simple_python", "parallel", "irrelevance"], data=tmp_path)


async def bench(suite: Suite, answerer: Answerer, out: Path) -> Summary:
    return await run_bench(
        suite, answerer, out, sampling=Sampling(max_tokens=300), progress=False,
    )  # fmt: skip


def policy(*, context_length: int = 65536) -> Policy:
    return Policy(ScriptedEngine(SAID, context_length=context_length), ScriptedTemplate(), name="scripted")


async def test_a_policy_and_a_server_around_it_get_the_same_verdicts(suite: Suite, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    here = await bench(suite, policy(), inside)

    def never(setting: object) -> Answerer:
        raise AssertionError(f"refinement {setting!r} was not asked for")

    async with (
        running(create_app(Served(Roster(ServedModel(policy(), never))))) as url,
        RemoteChat(url, "scripted") as remote,
    ):
        there = await bench(suite, remote, outside)
    for out in (inside, outside):
        assert {row["id"]: row["error"] for row in read_answers(out)} == VERDICTS
    assert here.categories == there.categories
    assert here.usage == there.usage
    for ours, theirs in zip(read_answers(inside), read_answers(outside), strict=True):
        assert ours["calls"] == theirs["calls"]
        # Of a call that broke off, a server tells what was certain: its text is not on the wire.
        assert ours["content"] == theirs["content"] or ours["error"] == "unparsable"
    results = [path.relative_to(inside) for path in sorted((inside / "result").rglob("*.json"))]
    assert results == [path.relative_to(outside) for path in sorted((outside / "result").rglob("*.json"))]
    assert len(results) == 3


async def test_a_task_that_does_not_fit_is_wrong_and_the_others_go_on(suite: Suite, tmp_path: Path) -> None:
    answers = policy()
    lengths = {case.task.id: len(answers.prompt_ids(case.task)) for case in suite.cases}
    longest = max(lengths, key=lambda task_id: lengths[task_id])
    small = policy(context_length=lengths[longest])
    await bench(suite, small, tmp_path / "inside")
    errors = {row["id"]: row["error"] for row in read_answers(tmp_path / "inside")}
    assert errors[longest] == "too_long"
    assert list(errors.values()).count("too_long") == 1
