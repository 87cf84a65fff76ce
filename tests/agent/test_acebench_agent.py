"""ACEBench's agent tasks: a phone that is really changed, a user who is played, an end state that is judged.

The simulators are a small phone of our own, laid out as the benchmark's repository lays out its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from strop.agent.answer import Answer, Draft, Usage
from strop.agent.bench import run_bench
from strop.agent.cli.app import app
from strop.agent.engines.base import Sampling
from strop.agent.rows import read_answers
from strop.agent.user import User
from strop.tools.acebench.checker import state_faults
from strop.tools.acebench.suite import load_suite
from strop.tools.acebench.worlds import Setup, World
from strop.tools.episode import END, is_dialogue, is_episode
from strop.tools.errors import DataError, RefusedError, UsageError
from strop.tools.files import write_jsonl
from strop.tools.spec import ToolCall
from strop.tools.task import Task

PHONE = """
class BaseApi:
    def __init__(self):
        self.wifi, self.logged_in = False, True

    def _load_scenario(self, scenario, long_context=False):
        self.wifi = scenario.get("wifi", False)
        self.logged_in = scenario.get("logged_in", True)

    def turn_on_wifi(self):
        self.wifi = True
        return {"status": True}
"""
MESSAGES = """
from model_inference.{kind}.scenariosen.phone_platform.base_api import BaseApi

INBOX = {{1: {{"message": "old"}}}}

class MessageApi(BaseApi):
    def __init__(self):
        super().__init__()
        self.inbox = INBOX

    def send_message(self, message):
        if not self.wifi:
            return {{"status": False, "message": "no wifi"}}
        self.inbox[max(self.inbox) + 1] = {{"message": message}}
        return {{"status": True}}

    def _secret(self):
        return "secret"
"""
FUNCTIONS = [
    {"name": "turn_on_wifi", "description": "", "parameters": {"type": "dict", "properties": {}}},
    {
        "name": "send_message", "description": "",
        "parameters": {"type": "dict", "properties": {"message": {"type": "string"}}},
    },
]  # fmt: skip
TASK = {
    "question": "You want to say 'hi'.", "initial_config": {"BaseApi": {"wifi": False}},
    "function": FUNCTIONS, "involved_classes": ["BaseApi", "MessageApi"],
}  # fmt: skip
TRUTH = {
    "ground_truth": [
        {"BaseApi": {"wifi": True, "logged_in": True}},
        {"MessageApi": {"inbox": {"2": {"message": "hi"}}}},
    ],
    "mile_stone": ["[turn_on_wifi()]", "[send_message(message='hi')] "],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root, data = tmp_path / "clone", tmp_path / "clone" / "data_all" / "data_en"
    for kind in ("multi_turn", "multi_step"):
        folder = root / "model_inference" / kind / "scenariosen" / "phone_platform"
        folder.mkdir(parents=True)
        (folder / "base_api.py").write_text(PHONE)
        (folder / "message.py").write_text(MESSAGES.format(kind=kind))
        rows = [{"id": f"agent_{kind}_{number}"} for number in range(2)]
        write_jsonl(data / f"data_agent_{kind}.json", [row | TASK for row in rows])
        write_jsonl(data / "possible_answer" / f"data_agent_{kind}.json", [row | TRUTH for row in rows])
    return data


WIFI, SEND = ToolCall("turn_on_wifi", {}), ToolCall("send_message", {"message": "hi"})


@dataclass(slots=True)
class Script:
    """Says one line after another to each task of its own: calls, or prose."""

    lines: list[Any]
    name: str = "script"
    asked: list[Task] = field(default_factory=list)

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        del sampling
        place = sum(earlier.id == task.id for earlier in self.asked)
        self.asked.append(task)
        line = self.lines[min(place, len(self.lines) - 1)]
        calls, text = ((), line) if isinstance(line, str) else (tuple(line), None)
        draft = Draft((1,), (2,), text or "calls", calls, text)
        return Answer(draft, Usage(10, 1, 5), (draft,))


async def test_a_task_of_many_steps_is_judged_by_the_state_it_leaves(data: Path, tmp_path: Path) -> None:
    model = Script([[SEND], [WIFI], "Shall I?", [SEND], END])
    await run_bench(load_suite(["agent_multi_step"], data=data), model, tmp_path / "out", progress=False)
    rows = read_answers(tmp_path / "out")
    assert [row["correct"] for row in rows] == [True, True]
    last = model.asked[-1].messages
    assert [message["role"] for message in last] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip
    assert "no wifi" in last[3]["content"]
    assert "Nobody" in last[7]["content"]


async def test_a_user_is_played_and_sees_the_conversation_from_the_other_side(
    data: Path, tmp_path: Path
) -> None:
    model = Script(["What shall I send?", [WIFI], [SEND], "Sent."])
    player = Script(["Send a message.", "It is: hi", END])
    suite = load_suite(["agent_multi_turn"], data=data, limit=1)
    await run_bench(suite, model, tmp_path / "out", progress=False, user=User(player))
    (row,) = read_answers(tmp_path / "out")
    assert row["correct"]
    assert [len(turn) for turn in row["turns"]] == [1, 3]
    assert [turn[-1]["content"] for turn in row["asked"]] == ["Send a message.", "It is: hi"]
    said = [(message["role"], message["content"]) for message in player.asked[-1].messages]
    assert "You want to say 'hi'." in said[0][1]
    assert said[2:] == [
        ("assistant", "Send a message."), ("user", "What shall I send?"),
        ("assistant", "It is: hi"), ("user", "Sent."),
    ]  # fmt: skip
    assert all(not task.tools for task in player.asked)
    assert model.asked[0].messages[0]["role"] == "system"
    with pytest.raises(UsageError, match=r"agent_multi_turn_0.*--user-endpoint"):
        await run_bench(suite, model, tmp_path / "nobody", progress=False)


async def test_what_is_wrong_with_a_state_is_said(data: Path, tmp_path: Path) -> None:
    suite = load_suite(["agent_multi_step"], data=data, limit=1)
    for lines, kind, told in (
        ([[WIFI], END], "wrong_state", "MessageApi.inbox has no '2'; 50% of the milestones"),
        ([[SEND], END], "wrong_state", "BaseApi.wifi is False, not True"),
        ([END], "missing_call", "0 simulators have a state where 2 should"),
        (
            [[ToolCall("_secret", {})], [ToolCall("__init__", {})], END],
            "wrong_state",
            "BaseApi.wifi is False",
        ),
    ):
        out = tmp_path / str(abs(hash(told)))
        await run_bench(suite, Script(lines), out, progress=False)
        (row,) = read_answers(out)
        assert (row["error"], told in row["detail"]) == (kind, True), row["detail"]


def world(kind: str, data: Path) -> World:
    return World(Setup(str(data.parents[1]), kind, ("BaseApi", "MessageApi"), {"BaseApi": {"wifi": True}}))


def test_worlds_share_nothing_and_reach_nothing_else(data: Path) -> None:
    one, other = world("multi_step", data), world("multi_step", data)
    one.make("send_message", {"message": "hi"})
    other.make("turn_on_wifi", {})
    assert one.told()[1]["MessageApi"]["inbox"] == {1: {"message": "old"}, 2: {"message": "hi"}}
    assert other.told()[1]["MessageApi"]["inbox"] == {1: {"message": "old"}}
    for name in ("_secret", "__init__", "__class__", "inbox", "nothing"):
        assert "there is no function" in one.make(name, {})


def test_a_state_is_kept_as_the_benchmark_keeps_it(data: Path) -> None:
    for kind, kept in (("multi_step", True), ("multi_turn", False)):
        fresh = world(kind, data)
        assert fresh.told() == []
        fresh.make("send_message", {"text": "no such argument"})
        fresh.make("nothing", {})
        assert bool(fresh.told()) is kept
        fresh.make("turn_on_wifi", {})
        assert fresh.told()


@pytest.mark.parametrize(
    ("field", "value"),
    [("mile_stone", None), ("ground_truth", "x"), ("function", None), ("involved_classes", "BaseApi")],
)
def test_a_row_that_is_none_is_named(field: str, value: Any, data: Path) -> None:
    asked, answered = data / "data_agent_multi_step.json", data / "possible_answer/data_agent_multi_step.json"
    write_jsonl(asked, [{"id": "a"} | TASK | {field: value} if field in TASK else {"id": "a"} | TASK])
    write_jsonl(answered, [{"id": "a"} | TRUTH | {field: value} if field in TRUTH else {"id": "a"} | TRUTH])
    with pytest.raises(DataError, match="'a': no agent task"):
        load_suite(["agent_multi_step"], data=data)


async def test_a_simulator_that_cannot_begin_ends_the_run_with_the_reason(data: Path, tmp_path: Path) -> None:
    path = data.parents[1] / "model_inference/multi_step/scenariosen/phone_platform/message.py"
    path.write_text("import nothing_of_that_name")
    suite = load_suite(["agent_multi_step"], data=data)
    with pytest.raises(DataError, match=r"cannot begin.*nothing_of_that_name"):
        await run_bench(suite, Script([[WIFI], END]), tmp_path / "out", progress=False)


async def test_who_plays_the_user_must_say_something(data: Path, tmp_path: Path) -> None:
    suite = load_suite(["agent_multi_turn"], data=data, limit=1)
    with pytest.raises(RefusedError, match="said nothing"):
        await run_bench(suite, Script([END]), tmp_path / "a", progress=False, user=User(Script([" "])))
    # Its thoughts are nobody's business, and end nothing.
    model, player = Script([[WIFI], [SEND], "Sent."]), Script([f"<think>Say {END}?</think>Send hi.", END])
    await run_bench(suite, model, tmp_path / "c", progress=False, user=User(player))
    assert read_answers(tmp_path / "c")[0]["asked"][0][-1]["content"] == "Send hi."
    # What is said first does not end a dialogue.
    model = Script([[WIFI], [SEND], "Sent."])
    await run_bench(suite, model, tmp_path / "b", progress=False, user=User(Script([f"Later: {END}", END])))
    assert read_answers(tmp_path / "b")[0]["correct"]


async def test_a_dialogue_that_never_ends_is_judged_after_forty_messages(data: Path, tmp_path: Path) -> None:
    suite = load_suite(["agent_multi_step"], data=data, limit=1)
    for lines, asked in (([[WIFI], [SEND], [WIFI]], 20), ([[WIFI], [SEND], "And now?"], 20)):
        model, out = Script(lines), tmp_path / f"{asked} {len(lines[-1])}"
        await run_bench(suite, model, out, progress=False)
        assert read_answers(out)[0]["correct"]
        assert len(model.asked) == asked


def test_verdicts_on_states_follow_the_published_checker() -> None:
    gold: list[dict[str, Any]] = [{"A": {"x": 1, "d": {"1": "a"}}}, {"Misspelt": {"y": 2}}]
    states: list[tuple[list[dict[str, Any]], int]] = [
        ([{"A": {"x": 1, "d": {"1": "a", "2": "more"}}}, {"B": {"y": 3}}], 0),
        ([{"A": {"x": 2, "d": {"1": "a"}}}, {"B": {}}], 1),
        ([{"A": {"x": 1, "d": {"1": "b"}}}, {"B": {}}], 1),
        ([{"A": {"x": 1, "d": {}}}, {"B": {}}], 1),
        ([{"A": {"x": 1, "d": [1]}}, {"B": {}}], 1),
        ([{"A": {"x": 1, "z": 0}}, {"B": {}}], 1),
        ([{"A": {"x": 1}}], 1),
        ([], 1),
    ]
    for state, faults in states:
        assert len(state_faults(state, gold)) == faults, state


def test_the_repository_is_needed_whole(data: Path, tmp_path: Path) -> None:
    case = load_suite(["agent_multi_turn"], data=data).cases[0]
    assert is_dialogue(case)
    assert is_episode(case)
    (data.parents[1] / "model_inference/multi_turn/scenariosen/phone_platform/message.py").unlink()
    with pytest.raises(DataError, match=r"message\.py.*no simulator 'MessageApi'"):
        load_suite(["agent_multi_turn"], data=data)
    alone = tmp_path / "alone"
    for path in data.rglob("*.json"):
        target = alone / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    with pytest.raises(DataError, match="not within a clone"):
        load_suite(["agent_multi_step"], data=alone)


def test_the_command_says_who_is_missing(data: Path, tmp_path: Path) -> None:
    command = ["bench", "acebench", "--data", str(data), "--out", str(tmp_path), "--categories"]
    for options, reason in (
        (["agent"], "task 'agent_multi_turn_0' has a user for a model to play"),
        (["agent", "--user-endpoint", "http://127.0.0.1:1/v1"], "takes both"),
    ):
        result = CliRunner().invoke(app, [*command, *options])
        assert isinstance(result.exception, UsageError)
        assert reason in str(result.exception)
