"""Playing episodes: the loop between a model's calls and a world."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from strop.agent.answer import Answer, Draft, Usage
from strop.agent.bench import run_bench
from strop.agent.comparison import compare_runs
from strop.agent.engines.base import Sampling
from strop.agent.episodes import play
from strop.agent.rows import read_answers
from strop.agent.scoring import OFFICIAL, row_of_result, score_results
from strop.tools.bfcl.episodes import BfclEpisode
from strop.tools.bfcl.suite import load_suite
from strop.tools.bfcl.worlds import Invocation
from strop.tools.episode import Played, Turn, is_episode
from strop.tools.errors import DataError, StepLimitError, TooLongError, UsageError
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Suite
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict

needs_bfcl = pytest.mark.skipif(util.find_spec("bfcl_eval") is None, reason="bfcl-eval is not installed")

ONE, TWO = (ToolSpec(name, "", {"type": "object", "properties": {}}) for name in ("one", "two"))


@dataclass(slots=True)
class Counter:
    """An episode whose world counts the calls made in it."""

    task: Task = field(default_factory=lambda: Task("e", ({"role": "user", "content": "First."},), (ONE,)))
    turns: tuple[Turn, ...] = (
        Turn(({"role": "user", "content": "First."},), (ONE,)),
        Turn(({"role": "user", "content": "Second."},), (ONE, TWO)),
    )
    most_steps: int = 3
    made: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    def step(self, run: str, calls: Sequence[ToolCall]) -> list[str]:
        if any(call.name == "hang" for call in calls):
            raise StepLimitError("too long")
        before = self.made.get(run, 0)
        self.made[run] = before + len(calls)
        return [str(before + number + 1) for number in range(len(calls))]

    def close(self, run: str) -> None:
        self.closed.append(run)

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        del said
        if len(turns) < 2:
            return Verdict.wrong(ErrorKind.UNFINISHED, "broken off")
        return Verdict.right()

    def gold_lines(self) -> Sequence[str]:
        return ["anything"]


def said(*names: str) -> Answer:
    calls = tuple(ToolCall(name, {}) for name in names)
    draft = Draft((1,), (2,), " ".join(names) or "Done.", calls, None if names else "Done.")
    return Answer(draft, Usage(10, 1, 5), (draft,))


@dataclass(slots=True)
class Script:
    """Says one thing after another, and remembers what it was asked."""

    lines: list[Answer | Exception]
    asked: list[Task] = field(default_factory=list)
    name: str = "script"

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        del sampling
        self.asked.append(task)
        line = self.lines.pop(0)
        if isinstance(line, Exception):
            raise line
        return line


async def test_results_are_shown_and_turns_end_with_an_answer_without_a_call() -> None:
    episode, script = Counter(), Script([said("one", "one"), said("one"), said(), said("two"), said()])
    played = await play(episode, script, Sampling(), "a")
    assert is_episode(episode)
    assert played.problem is None
    assert [[step.results for step in turn] for turn in played.turns] == [
        [("1", "2"), ("3",), ()],
        [("4",), ()],
    ]
    assert played.usage == Usage(50, 5, 25)
    assert [len(task.tools) for task in script.asked] == [1, 1, 1, 2, 2]
    told = script.asked[-1].messages
    assert [message["role"] for message in told] == [
        "user", "assistant", "tool", "tool", "assistant", "tool", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip
    ids = [message["tool_call_id"] for message in told if message["role"] == "tool"]
    assert len(set(ids)) == 4
    assert ids[0] == told[1]["tool_calls"][0]["id"]
    # Every prompt begins with the one before: an engine's prefix cache holds.
    for earlier, later in zip(script.asked, script.asked[1:], strict=False):
        assert later.messages[: len(earlier.messages)] == earlier.messages
    assert episode.closed == ["a"]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([said("one")] * 3, "unfinished"),
        ([said("one"), TooLongError("too many tokens")], "too_long"),
        ([said("hang")], "unfinished"),
        ([said(), said()], None),
        # Broken off in the last turn: for the judge to judge, as BFCL has it.
        ([said(), *[said("one")] * 3], None),
    ],
)
async def test_what_breaks_an_episode_off(lines: list[Any], error: str | None, tmp_path: Path) -> None:
    suite = Suite("own", "1", (Counter(),), {"": 1})
    await run_bench(suite, Script(list(lines)), tmp_path, progress=False)
    (row,) = read_answers(tmp_path)
    assert (row["correct"], row["error"]) == (error is None, error)
    again = Script([])
    await run_bench(suite, again, tmp_path, progress=False)
    assert again.asked == []


def gold_script(episode: BfclEpisode) -> Script:
    """Makes the gold's calls, one step a turn."""
    names = {tool.name: list(tool.properties) for turn in episode.turns for tool in turn.tools}
    lines: list[Answer | Exception] = []
    for texts in episode.gold:
        calls = []
        for one in map(Invocation.parse, texts):
            given = dict(zip(names[one.name], one.positional, strict=False))
            calls.append(ToolCall(one.name, {**given, **one.arguments}))
        draft = Draft((1,), (2,), "calls", tuple(calls), None)
        lines += [Answer(draft, Usage(1, 1, 0), (draft,)), said()] if calls else [said()]
    return Script(lines)


@needs_bfcl
@pytest.mark.parametrize("category", ["multi_turn_base", "multi_turn_miss_func", "multi_turn_long_context"])
async def test_the_gold_played_is_right_and_scores_the_same_from_its_official_file(
    category: str, tmp_path: Path
) -> None:
    suite = load_suite([category], limit=3)
    for case in suite.cases:
        assert isinstance(case, BfclEpisode)
        one = Suite("bfcl", suite.version, (case,), suite.sizes, suite.overalls)
        summary = await run_bench(one, gold_script(case), tmp_path / case.task.id, progress=False)
        assert summary.categories[category].score.correct == 1
        (results,) = (tmp_path / case.task.id / "result").iterdir()
        with pytest.raises(UsageError, match="holds the answers of a benchmark"):
            score_results(results, tmp_path / case.task.id)
        scored = score_results(results, tmp_path / "scored")
        assert not compare_runs(tmp_path / case.task.id, tmp_path / "scored").regressed
        assert scored.categories[category].score.correct == 1
        rows = read_answers(tmp_path / "scored")
        assert (
            rows[0]["turns"][0][0]["calls"]
            == read_answers(tmp_path / case.task.id)[0]["turns"][0][0]["calls"]
        )


AREA = "calculate_triangle_area"
GOOD = {AREA: '{"base": 10, "height": 5}'}


@needs_bfcl
@pytest.mark.parametrize(
    ("result", "call_format", "right", "calls"),
    [
        ([GOOD], "hermes", True, True),
        ([{AREA: '{"base": 10, "height": 5'}], "hermes", False, False),
        ([{AREA: ""}], "hermes", False, False),
        ([{AREA: "[10, 5]"}], "hermes", False, False),
        ([{AREA: {"base": 10, "height": 5}}], "hermes", False, False),
        ([GOOD, {AREA: "{"}], "hermes", False, False),
        ([[GOOD]], "hermes", False, False),
        (None, "hermes", False, False),
        (5, "hermes", False, False),
        ("Error during inference: timeout", "hermes", False, False),
        (f"{AREA}(base=10, height=5)", "official", True, True),
        (f"```{AREA}(base=10, height=5)```", "official", True, True),
        (f"[{AREA}(base=5*2, height=5)]", "official", True, True),
        (f"Sure, here it is: [{AREA}(base=10, height=5)]", "official", False, False),
        ('```json\n{"name": "calculate_triangle_area", "arguments": {}}\n```', "official", False, False),
        (f"[{AREA}(base=0**-1, height=5)]", "official", False, False),
        (f"[{AREA}(10, 5)]", "official", False, True),
    ],
)
def test_results_are_worth_what_the_official_evaluator_says(
    result: Any, call_format: str, right: bool, calls: bool
) -> None:
    # Seen with ``bfcl evaluate`` of bfcl-eval 2026.3.23, native and in prompt mode.
    asked, unasked = load_suite(["simple_python", "irrelevance"], limit=1).cases
    assert row_of_result(asked, result, call_format)["correct"] is right
    assert row_of_result(unasked, result, call_format)["correct"] is not calls


@needs_bfcl
def test_a_trajectory_that_broke_off_is_wrong_and_a_broken_step_makes_no_call() -> None:
    (case,) = load_suite(["multi_turn_base"], limit=1).cases
    assert isinstance(case, BfclEpisode)
    broken = [[[{"cd": '{"folder": "docu'}], 5, "I look."], [], [], []]
    for result, error in (
        ("Error during inference: timeout", "unfinished"),
        (None, "unfinished"),
        (broken, "missing_call"),
        (["text", *broken[1:]], "missing_call"),
    ):
        assert row_of_result(case, result, "hermes")["error"] == error


@needs_bfcl
def test_scoring_names_what_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "model" / "non_live" / "BFCL_v4_simple_python_result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "simple_python_0", "result": [{"calculate_triangle_area": "{}"}]}\n')
    summary = score_results(tmp_path / "model", tmp_path / "out")
    assert summary.categories["simple_python"].errors == {"missing_argument": 1}
    assert (tmp_path / "out" / "page.html").exists()
    for text, reason in (
        ('{"id": "nothing", "result": ""}', "no result of a task there is"),
        ('{"id": ', "not JSON"),
    ):
        path.write_text(f"{text}\n")
        with pytest.raises(DataError, match=rf"simple_python_result\.json:1: .*{reason}"):
            score_results(tmp_path / "model", tmp_path / "out")
    # A file that holds nothing yet is left out, unless all are such.
    path.write_text("")
    with pytest.raises(UsageError, match="none of its files has a result"):
        score_results(tmp_path / "model", tmp_path / "out")
    other = path.with_name("BFCL_v4_irrelevance_result.json")
    other.write_text('{"id": "irrelevance_0", "result": "No."}\n')
    assert list(score_results(tmp_path / "model", tmp_path / "out").categories) == ["irrelevance"]
    other.unlink()
    path.write_text('{"id": "simple_python_0", "result": ""}\n')
    elsewhere = tmp_path / "model" / "another" / "non_live" / path.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text(path.read_text())
    with pytest.raises(UsageError, match=r"answers to simple_python in .*: score one model"):
        score_results(tmp_path / "model", tmp_path / "out")
    with pytest.raises(UsageError, match=r"no BFCL_v4_<category>_result\.json"):
        score_results(tmp_path / "nowhere", tmp_path / "out")


@needs_bfcl
def test_names_that_went_out_without_dots_come_back_with_them(tmp_path: Path) -> None:
    case = next(case for case in load_suite(["simple_python"]).cases if "." in case.task.tools[0].name)
    assert case.task.gold is not None
    (call,) = case.task.gold.calls
    path = tmp_path / "model" / "BFCL_v4_simple_python_result.json"
    path.parent.mkdir()

    def scored(*names: str) -> list[bool]:
        given = [[{name: json.dumps(dict(call.arguments))}] for name in names]
        tasks = (case.task.id, *(one.task.id for one in load_suite(["simple_python"]).cases))
        rows = [{"id": task, "result": one} for task, one in zip(tasks, given, strict=False)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        score_results(tmp_path / "model", tmp_path / "out")
        return [row["correct"] for row in read_answers(tmp_path / "out") if row["id"] == case.task.id]

    underscored = call.name.replace(".", "_")
    assert scored(underscored) == [True]
    assert scored(call.name) == [True]


@needs_bfcl
def test_who_writes_dots_means_underscores_where_they_stand(tmp_path: Path) -> None:
    """As the official configuration of such a model has it."""
    one, other = [case for case in load_suite(["simple_python"]).cases if "." in case.task.tools[0].name][:2]
    path = tmp_path / "model" / "BFCL_v4_simple_python_result.json"
    path.parent.mkdir()
    for first, right in ((False, [True, True]), (True, [True, False])):
        rows = []
        for case, dotted in ((one, first), (other, False)):
            assert case.task.gold is not None
            (call,) = case.task.gold.calls
            name = call.name if dotted else call.name.replace(".", "_")
            rows.append({"id": case.task.id, "result": [{name: json.dumps(dict(call.arguments))}]})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        score_results(tmp_path / "model", tmp_path / "out")
        assert [row["correct"] for row in read_answers(tmp_path / "out")] == right
    path.write_text("".join(json.dumps(row) + "\n" for row in (*rows, rows[0])))
    with pytest.raises(DataError, match=rf"result\.json:3: a second result of '{rows[0]['id']}'"):
        score_results(tmp_path / "model", tmp_path / "out")


@needs_bfcl
@pytest.mark.parametrize("value", ["b'x'", "1j", "{(1, 2): 3}", "(1, [2])"])
def test_what_json_has_no_word_for_is_a_call_that_is_wrong(value: str, tmp_path: Path) -> None:
    for task, text in (
        ("simple_python_0", f"[{AREA}(base={value}, height=5)]"),
        ("irrelevance_0", f"[f(a={value})]"),
    ):
        category = task.rpartition("_")[0]
        path = tmp_path / category / "model" / f"BFCL_v4_{category}_result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"id": task, "result": text}) + "\n")
        out = tmp_path / category / "out"
        assert score_results(path.parent, out, call_format=OFFICIAL).categories[category].score.correct == 0
        (row,) = read_answers(out)
        assert len(row["calls"]) == 1


@needs_bfcl
def test_a_tuple_is_no_list_in_a_world() -> None:
    """The official dispatch evaluates the call's text, and compares states."""
    case = next(
        case
        for case in load_suite(["multi_turn_base"]).cases
        if isinstance(case, BfclEpisode) and "tags=['" in str(case.gold)
    )
    for text, right in ((None, True), ("tuple", False)):
        turns = [[f"[{', '.join(turn)}]"] for turn in case.gold]
        if text is not None:
            turns = [[re.sub(r"tags=\[('[^']*')\]", r"tags=(\1,)", step) for step in turn] for turn in turns]
        assert row_of_result(case, turns, OFFICIAL)["correct"] is right
