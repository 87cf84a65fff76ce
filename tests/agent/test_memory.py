"""BFCL's memory: conversations played once, notes that stay, questions judged by the final answer."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from strop.agent.answer import Answer, Draft, Usage
from strop.agent.bench import run_bench
from strop.agent.conversations import CONVERSATIONS, read_conversations
from strop.agent.engines.base import Sampling
from strop.agent.outcome import PAGE
from strop.agent.rows import ANSWERS, read_answers
from strop.agent.scoring import score_results
from strop.tools.episode import Episode, Played
from strop.tools.errors import DataError, RefusedError, StepLimitError, TooLongError, UsageError
from strop.tools.spec import ToolCall
from strop.tools.suite import Suite
from strop.tools.task import Task
from strop.tools.verdict import Verdict

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("bfcl_eval", "rank_bm25", "overrides")),
    reason="bfcl-eval, or what its memory needs, is not installed",
)

from strop.tools.bfcl.files import find_data  # noqa: E402
from strop.tools.bfcl.memory import MemoryCase, load_memory, require  # noqa: E402
from strop.tools.bfcl.suite import load_suite  # noqa: E402

ADDS = {"memory_kv": "archival_memory_add", "memory_rec_sum": "memory_append"}


@dataclass(slots=True)
class Notetaker:
    """Writes down whatever it is told, and answers with all that its memory shows or finds."""

    adds: str
    name: str = "notetaker"
    asked: list[Task] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    forgets: str = ""
    """Conversations whose id has this in it do not fit its context."""
    pause: float = 0.0
    """Seconds an answer takes."""
    together: int = 0
    most_together: int = 0

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        del sampling
        self.asked.append(task)
        self.together += 1
        self.most_together = max(self.together, self.most_together)
        await asyncio.sleep(self.pause)
        self.together -= 1
        if self.forgets and self.forgets in task.id:
            raise TooLongError("too long")
        last = task.messages[-1]
        if last["role"] == "user" and "conversation" in task.category:
            return self._calling(ToolCall(self.adds, self._note(last["content"])))
        if last["role"] == "user" and self.adds == "archival_memory_add":
            calls = [ToolCall("archival_memory_retrieve", {"key": key}) for key in self.keys]
            return self._calling(*calls)
        shown = " ".join(str(message["content"]) for message in task.messages)
        return self._saying("Noted." if "conversation" in task.category else shown)

    def _note(self, text: str) -> dict[str, Any]:
        if self.adds == "memory_append":
            return {"text": text[:900]}
        letters = "abcdefghij"
        number = "".join(letters[int(digit)] for digit in str(len(self.asked)))
        self.keys.append(f"note_{number}")
        return {"key": self.keys[-1], "value": text[:1900]}

    def _calling(self, *calls: ToolCall) -> Answer:
        return self._answer(Draft((1,), (2,), "calls", calls, None))

    def _saying(self, text: str) -> Answer:
        return self._answer(Draft((1,), (2,), text, (), text))

    def _answer(self, draft: Draft) -> Answer:
        return Answer(draft, Usage(10, 1, 5), (draft,))


def healthcare(category: str, limit: int = 6) -> Suite:
    """Questions of the scenario with the fewest conversations."""
    suite = load_suite([category])
    cases = tuple(case for case in suite.cases if "healthcare" in case.task.id)[:limit]
    return Suite("bfcl", suite.version, cases, suite.sizes, suite.overalls)


@pytest.mark.parametrize("category", ["memory_kv", "memory_rec_sum"])
async def test_what_was_noted_in_conversations_answers_questions(category: str, tmp_path: Path) -> None:
    suite, model = healthcare(category), Notetaker(ADDS[category])
    summary = await run_bench(suite, model, tmp_path, progress=False)
    rows = read_answers(tmp_path)
    assert sum(row["correct"] for row in rows) >= 4
    played = [json.loads(line) for line in (tmp_path / CONVERSATIONS).read_text().splitlines()]
    assert [row["id"] for row in played] == [case.task.id for case in before_of(suite)]
    # Each conversation begins with what those before it left in the memory.
    first = [task for task in model.asked if len(task.messages) == 2 and "conversation" in task.category]
    shown = [task.messages[0]["content"] for task in first]
    if category == "memory_rec_sum":
        assert len(shown[0]) < len(shown[1]) < len(shown[2])
    assert all(task.messages[0]["role"] == "system" for task in model.asked)
    spent = sum(row["usage"]["prompt_tokens"] for row in [*rows, *played])
    assert summary.usage.prompt_tokens == spent
    assert {one.name for one in summary.overalls} >= {"memory", "BFCL v4 overall"}


async def test_the_official_layout_scores_the_same(tmp_path: Path) -> None:
    summary = await run_bench(healthcare("memory_kv"), Notetaker(ADDS["memory_kv"]), tmp_path, progress=False)
    (results,) = (tmp_path / "result").iterdir()
    assert (results / "agentic" / "memory" / "kv" / "BFCL_v4_memory_kv_result.json").exists()
    scored = score_results(results, tmp_path / "scored")
    assert scored.categories["memory_kv"].score == summary.categories["memory_kv"].score
    assert scored.categories["memory_kv"].errors == summary.categories["memory_kv"].errors


def before_of(suite: Suite) -> tuple[MemoryCase, ...]:
    case = suite.cases[0]
    assert isinstance(case, MemoryCase)
    return case.before


async def test_a_conversation_is_played_once_and_never_again(tmp_path: Path) -> None:
    suite, model = healthcare("memory_kv", 2), Notetaker(ADDS["memory_kv"], pause=0.005)
    await run_bench(suite, model, tmp_path, progress=False, concurrency=8)
    turns = sum(len(case.turns) for case in before_of(suite))
    asked = Counter(task.category for task in model.asked)
    assert asked["memory_kv_conversation"] == 2 * turns
    # What a question took does not count the conversations it waited for.
    talked = sum(row["seconds"] for row in read_conversations(tmp_path))
    assert all(row["seconds"] < talked for row in read_answers(tmp_path))
    # A later run goes on from what is there, whatever the earlier one lost.
    lines = (tmp_path / CONVERSATIONS).read_text().splitlines()
    (tmp_path / CONVERSATIONS).write_text("".join(f"{line}\n" for line in lines[:-1]))
    (tmp_path / ANSWERS).write_text("")
    again = Notetaker(ADDS["memory_kv"])
    await run_bench(suite, again, tmp_path, progress=False)
    assert Counter(task.category for task in again.asked)["memory_kv_conversation"] == 2 * len(
        before_of(suite)[-1].turns
    )
    # And refuses to go on from another model's.
    (tmp_path / ANSWERS).unlink()
    with pytest.raises(UsageError, match=r"holds answers made with .*model 'notetaker', now 'other'"):
        await run_bench(suite, Notetaker("x", name="other"), tmp_path, progress=False)


async def test_a_refused_conversation_costs_its_questions_only(tmp_path: Path) -> None:
    @dataclass(slots=True)
    class Refusing(Notetaker):
        async def answer(self, task: Task, sampling: Sampling) -> Answer:
            if "prereq_11" in task.id:
                self.asked.append(task)
                raise RefusedError("HTTP 400: content filter")
            return await Notetaker.answer(self, task, sampling)

    suite = load_suite(["memory_kv"])
    other = next(case for case in suite.cases if "healthcare" not in case.task.id)
    cases = (*healthcare("memory_kv", 3).cases, other)
    model = Refusing(ADDS["memory_kv"])
    await run_bench(Suite("bfcl", suite.version, cases, suite.sizes), model, tmp_path, progress=False)
    rows = {row["id"]: row for row in read_answers(tmp_path)}
    assert [rows[case.task.id]["error"] for case in cases[:3]] == ["refused"] * 3
    assert rows[other.task.id]["error"] != "refused"


async def test_a_conversation_too_long_for_the_model_leaves_nothing(tmp_path: Path) -> None:
    suite = healthcare("memory_rec_sum", 1)
    model = Notetaker("memory_append", forgets="_prereq_")
    await run_bench(suite, model, tmp_path, progress=False)
    rows = [json.loads(line) for line in (tmp_path / CONVERSATIONS).read_text().splitlines()]
    assert [row["lost"] for row in rows] == [True] * len(before_of(suite))
    assert "no content in the memory" in model.asked[-1].messages[0]["content"]
    assert read_answers(tmp_path)[0]["error"] == "wrong_answer"
    page = (tmp_path / PAGE).read_text()
    assert "wrong answer" in page
    assert "no content in the memory" in page


@dataclass(slots=True)
class Unbeginnable:
    """Goes on from a conversation, in a world that takes too long to begin."""

    task: Task
    before: tuple[Unbeginnable, ...] = ()

    def begin(self, earlier: Sequence[ToolCall], run: str) -> Episode:
        del earlier, run
        raise StepLimitError("too long")

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        del turns, said
        raise AssertionError("it was never played")

    def gold_lines(self) -> Sequence[str]:
        return ()


async def test_a_world_that_takes_too_long_to_begin_costs_its_case_only(tmp_path: Path) -> None:
    talk = Unbeginnable(Task("talk", ({"role": "user", "content": "Hi."},), ()))
    case = Unbeginnable(Task("case", ({"role": "user", "content": "And?"},), (), category="c"), (talk,))
    summary = await run_bench(Suite("own", "1", (case,), {"c": 1}), Notetaker("x"), tmp_path, progress=False)
    assert summary.categories["c"].errors == {"unfinished": 1}
    (row,) = read_conversations(tmp_path)
    assert (row["lost"], row["problem"]) == (True, "too long")


async def test_chains_of_conversations_are_played_side_by_side(tmp_path: Path) -> None:
    suite = load_suite(["memory_rec_sum"])
    firsts = {case.scenario: case for case in suite.cases if isinstance(case, MemoryCase)}
    model = Notetaker("memory_append", pause=0.002)
    cases = tuple(firsts.values())
    await run_bench(Suite("bfcl", "1", cases, {}), model, tmp_path, progress=False, concurrency=5)
    assert model.most_together == 5
    assert len(read_conversations(tmp_path)) == 37


@pytest.mark.parametrize(
    ("file", "row", "reason"),
    [
        ("BFCL_v4_memory.json", {"question": []}, "no question of BFCL's memory"),
        ("BFCL_v4_memory.json", {"id": 5}, "no question of BFCL's memory"),
        ("BFCL_v4_memory.json", {"scenario": "nowhere"}, "nobody knows the scenario 'nowhere'"),
        ("possible_answer/BFCL_v4_memory.json", {"ground_truth": "35"}, "has no list of answers"),
        ("possible_answer/BFCL_v4_memory.json", {"ground_truth": []}, "has no list of answers"),
        (
            "memory_prereq_conversation/memory_customer.json",
            {"question": [[]]},
            "no question of BFCL's memory",
        ),
    ],
)
def test_files_that_are_none_of_the_benchmarks_are_named(
    file: str, row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(find_data(), data, ignore=shutil.ignore_patterns("unused_datasets"))
    first, *others = (data / file).read_text().splitlines()
    (data / file).write_text("\n".join([json.dumps(json.loads(first) | row), *others]))
    with pytest.raises(DataError, match=rf"{re.escape(file)}: .*{reason}"):
        load_memory(data, "memory_kv")


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    # A last line without its end was being written when the run was killed.
    (tmp_path / CONVERSATIONS).write_text("{")
    assert read_conversations(tmp_path) == []
    for line, reason in (("{", "not JSON"), ("{}", "no conversation of a benchmark")):
        (tmp_path / CONVERSATIONS).write_text(f"{line}\n")
        with pytest.raises(DataError, match=rf"{re.escape(CONVERSATIONS)}:1: {reason}"):
            read_conversations(tmp_path)


def test_the_final_answer_decides() -> None:
    case = next(one for one in load_suite(["memory_kv"]).cases if "-customer-1" in one.task.id)
    assert isinstance(case, MemoryCase)
    assert case.allowed == ("35", "thirty five")
    for said, kind in (
        ("You are 35.", None),
        ("{'answer': 'Thirty-five', 'context': ''}", "wrong_answer"),  # dashes go, spaces stay
        ("thirty five", None),
        ("355", "wrong_answer"),
        ("", "unfinished"),
        (None, "unfinished"),
    ):
        assert case.score([[()]], said).error == kind
    assert case.score([], "35").error == "unfinished"


def test_what_is_missing_is_named() -> None:
    if find_spec("faiss") is not None:
        pytest.skip("faiss is installed")
    with pytest.raises(UsageError, match="'memory_vector' needs faiss"):
        require("memory_vector")


@pytest.mark.parametrize("category", ["memory_kv", "memory_vector", "memory_rec_sum"])
def test_all_questions_are_read(category: str) -> None:
    cases = load_memory(find_data(), category)
    assert len(cases) == 155
    assert all(case.allowed and case.before and case.task.tools for case in cases)
    assert sum(len(before) for before in {case.scenario: case.before for case in cases}.values()) == 37
