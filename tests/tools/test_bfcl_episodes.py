"""Multi-turn tasks: worlds that belong to one task, limits on what calls may do, and the official verdict."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from strop.tools.bfcl.episodes import BfclEpisode, new_simulators
from strop.tools.bfcl.suite import load_suite
from strop.tools.bfcl.worlds import Invocation, Setup, World, check
from strop.tools.errors import DataError, StepLimitError
from strop.tools.simulators import Simulators, rows_of
from strop.tools.spec import ToolCall
from strop.tools.verdict import ErrorKind

pytestmark = pytest.mark.skipif(
    find_spec("bfcl_eval") is None,
    reason="bfcl-eval, whose simulators these tests run, is not installed",
)

FILES = Setup(
    ("GorillaFileSystem",),
    {"GorillaFileSystem": {"root": {"home": {"type": "directory", "contents": {
        "a.txt": {"type": "file", "content": "one two"}, "docs": {"type": "directory", "contents": {}},
    }}}}},
)  # fmt: skip
MATHS = Setup(("MathAPI",), {})


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


CD, TOUCH = call("cd", folder="docs"), call("touch", file_name="b")


def invoked(*calls: ToolCall) -> list[Invocation]:
    return [Invocation.of(one) for one in calls]


@pytest.fixture(scope="module")
def simulators() -> Iterator[Simulators]:
    with new_simulators() as running:
        yield running


def test_the_gold_is_read_as_literals_and_nothing_else() -> None:
    read = Invocation.parse("f(1, x=[2, -3.5], y={'a': None})")
    assert read == Invocation("f", {"x": [2, -3.5], "y": {"a": None}}, (1,))
    for text in ("f(x=open('a'))", "f", "a.f()", "f(*x)", "f() + 1", "lambda: 0"):
        with pytest.raises((ValueError, SyntaxError)):
            Invocation.parse(text)


def test_only_public_methods_of_the_tasks_own_instances_can_be_called() -> None:
    world = World(FILES.beginning())
    assert world.call(Invocation("ls", {})) == '{"current_directory_content": ["a.txt", "docs"]}'
    for name in ("_load_scenario", "__init__", "open", "exit", "eval", "ls.__class__", "", "print"):
        assert "is not defined" in world.call(Invocation(name, {}))
    assert world.call(Invocation("cd", {"nothing": 1})).startswith("Error during execution: ")


def test_worlds_share_nothing() -> None:
    one, other = World(FILES.beginning()), World(FILES.beginning())
    one.call(Invocation("rm", {"file_name": "a.txt"}))
    assert "a.txt" not in one.call(Invocation("ls", {}))
    assert "a.txt" in other.call(Invocation("ls", {}))
    assert "a.txt" in World(FILES.beginning()).call(Invocation("ls", {}))


GOLD = [
    [Invocation.parse("cd(folder='docs')"), Invocation.parse("touch(file_name='b')")],
    [],
    [Invocation.parse("ls()")],
]


@pytest.mark.parametrize(
    ("turns", "error"),
    [
        ([[[CD, TOUCH]], [], [[call("ls")]]], None),
        ([[[CD], [TOUCH]], [], [[call("pwd")], [call("ls")]]], None),
        ([[[CD, TOUCH, call("ls")]], [], [[call("pwd")]]], None),
        ([[[CD, TOUCH]], []], "force_terminated"),
        ([[[CD, TOUCH]], [], []], "empty_turn_model_response"),
        ([[[CD, call("touch", file_name="c")]], [], [[call("ls")]]], "instance_state_mismatch"),
        ([[[CD, TOUCH]], [], [[call("pwd")]]],
         "execution_response_mismatch"),
        # Method names in the middle of text are dispatched, too, and differently for the gold.
        ([[[CD, TOUCH, call("touch", file_name="ls(")]], [], [[]]],
         "instance_state_mismatch"),
    ],
)  # fmt: skip
def test_a_trajectory(turns: list[list[list[ToolCall]]], error: str | None) -> None:
    fault = check(FILES, GOLD, [[invoked(*step) for step in steps] for steps in turns])
    assert (fault and fault.error_type) == (error and f"multi_turn:{error}")
    if fault is not None:
        assert fault.verdict().error in {
            ErrorKind.UNFINISHED, ErrorKind.MISSING_CALL, ErrorKind.WRONG_STATE, ErrorKind.MISSING_RESULT
        }  # fmt: skip


def test_steps_in_a_child_give_what_they_give_here(simulators: Simulators) -> None:
    here = World(FILES.beginning())
    for calls in ([CD], [call("touch", file_name="zebra"), call("ls")], [call("nothing")]):
        assert simulators.step("a", FILES, calls) == [here.call(one) for one in invoked(*calls)]
    assert "zebra" not in simulators.step("b", FILES, [call("ls")])[0]
    simulators.close_world("a")
    assert "a.txt" in simulators.step("a", FILES, [call("ls")])[0]
    simulators.close_world("never opened")


def judged(made: ToolCall) -> dict[str, Any]:
    return {"setup": MATHS.to_json(), "gold": [["add(a=1, b=2)"]], "turns": [[rows_of([made])]]}


def test_a_step_that_takes_too_long_costs_its_world_and_no_other() -> None:
    with new_simulators(step_seconds=1.0) as simulators:
        simulators.step("files", FILES, [call("touch", file_name="kept")])
        with pytest.raises(StepLimitError, match="longer than 1 s"):
            simulators.step(
                "maths", MATHS, [call("power", base=10.0, exponent=1), call("power", base=7, exponent=10**9)]
            )
        assert "kept" in simulators.step("files", FILES, [call("ls")])[0]
        assert simulators.step("maths", MATHS, [call("add", a=1, b=2)]) == ['{"result": 3}']
        with pytest.raises(StepLimitError):
            simulators.judge(judged(call("power", base=7, exponent=10**9)))
        assert simulators.judge(judged(call("add", a=1, b=2))) is None


def test_a_child_that_cannot_start_says_so_every_time(capfd: pytest.CaptureFixture[str]) -> None:
    with Simulators("strop.tools.no_such_worlds") as simulators:
        for _ in range(2):
            with pytest.raises(DataError, match="cannot be started"):
                simulators.step("a", FILES, [call("ls")])
    assert "no_such_worlds" in capfd.readouterr().err


def test_what_nobody_expected_in_the_child_is_told() -> None:
    with new_simulators() as simulators:
        with pytest.raises(StepLimitError, match="the simulators failed: KeyError: 'gold'"):
            simulators.judge({"setup": MATHS.to_json()})
        with pytest.raises(DataError, match=r"world 'a' cannot begin: .*KeyError: 'Nothing'"):
            simulators.step("a", Setup(("Nothing",), {}), [call("ls")])
        assert simulators.step("b", MATHS, [call("add", a=1, b=2)]) == ['{"result": 3}']


def test_lists_that_a_simulator_keeps_and_changes_are_the_golds_no_more() -> None:
    """`mention` adds to the very list that `post_tweet` was given."""
    episode = load_suite(["multi_turn_base"], limit=148).cases[147]
    assert isinstance(episode, BfclEpisode)
    assert any("mention(" in text for texts in episode.gold for text in texts)
    turns = import_module("bfcl_multi_turn_agreement").gold_turns(episode)
    # Harmless, and another trajectory than the gold.
    turns[0] = [*turns[0], [call("posting_get_login_status")]]
    assert [episode.score(turns).correct for _ in range(3)] == [True] * 3


def test_verdicts_do_not_depend_on_order_or_company() -> None:
    suite = load_suite(["multi_turn_base"], limit=8)
    episodes = [case for case in suite.cases if isinstance(case, BfclEpisode)]
    script = import_module("bfcl_multi_turn_agreement")
    runs = [
        (episode, turns)
        for episode in episodes
        for turns in (
            script.gold_turns(episode),
            next(script.mutations(episode, random.Random(episode.task.id))),
        )
    ]
    alone = [episode.score(turns) for episode, turns in runs]
    assert [verdict.correct for verdict in alone[::2]] == [True] * 8
    backwards = [episode.score(turns) for episode, turns in reversed(runs)]
    assert backwards[::-1] == alone
    together: list[Any] = [None] * len(runs)

    def judge(place: int) -> None:
        episode, turns = runs[place]
        together[place] = episode.score(turns)

    threads = [threading.Thread(target=judge, args=(place,)) for place in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_tools_that_come_later_come_with_their_turn() -> None:
    suite = load_suite(["multi_turn_miss_func"], limit=1)
    (episode,) = suite.cases
    assert isinstance(episode, BfclEpisode)
    offered = [{tool.name for tool in turn.tools} for turn in episode.turns]
    assert ["sort" in names for names in offered] == [False, False, False, True, True]
    assert all(turn.messages for turn in episode.turns)
    assert episode.gold_lines()[2] == "3: no call"


def test_verdicts_equal_the_official_checkers_on_a_sample() -> None:
    script = import_module("bfcl_multi_turn_agreement")
    suite = load_suite(["multi_turn"], limit=6)
    judged, verdicts, differences = script.compare(suite.cases, {}, 6, 1)
    assert differences == []
    assert judged.total() == 4 * 6 * 7
    assert len(verdicts) == 5
