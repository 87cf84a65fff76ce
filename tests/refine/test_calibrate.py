"""The gate's curve adds up, the chosen gate does what its point says, and trials survive a stop."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strop.agent.chat import Ids
from strop.agent.cli.calibrate import _cases
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.lock import held
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.agent.rows import SETTINGS
from strop.refine.assurance import Statistic
from strop.refine.calibrate import NEVER, Point, Trial, best_gate, curve
from strop.refine.gate_plot import draw
from strop.refine.trials import TRIALS, run_trials
from strop.tools.case import JudgedCase
from strop.tools.errors import DataError, RunError, UsageError
from strop.tools.files import write_jsonl
from strop.tools.task import tasks_to_rows
from tests.refine.worlds import PARIS, ROME, SIMPLE, TASKS, fenced

TRIAL_LISTS = st.lists(
    st.builds(
        Trial,
        st.just("t"),
        st.none() | st.fixed_dictionaries({one.value: st.floats(-20, 0) for one in Statistic}),
        st.booleans(),
        st.booleans(),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=30,
)


SEVEN_OR_EIGHT_OF_TEN = [
    *2 * [Trial("t", None, False, False, 0)],
    *4 * [Trial("t", None, False, True, 0)],
    *3 * [Trial("t", {"mean": 0.0, "least": 0.0}, True, False, 0)],
    Trial("t", {"mean": 0.0, "least": -1.0}, False, True, 0),
]
"""By the gate; in floats 0.8 - 0.1 is more than 0.7."""


@given(TRIAL_LISTS, st.sampled_from(list(Statistic)))
def test_the_curve_goes_from_checking_nothing_sure_to_checking_all(
    trials: list[Trial], statistic: Statistic
) -> None:
    points = curve(trials, statistic)
    assert points[-1].threshold == NEVER
    assert points[-1].checked == 1
    assert points[-1].accuracy == pytest.approx(sum(t.final_right for t in trials) / len(trials))
    assert points[-1].cost == pytest.approx(sum(t.cost for t in trials) / len(trials))
    doubtful = [t for t in trials if t.assurance is None]
    assert points[0].checked == pytest.approx(len(doubtful) / len(trials))
    assert all(a.cost <= b.cost and a.checked <= b.checked for a, b in pairwise(points))


@given(TRIAL_LISTS, st.sampled_from([Fraction(0), Fraction(1, 10)]))
@example(SEVEN_OR_EIGHT_OF_TEN, Fraction(1, 10))
def test_the_chosen_gate_is_the_cheapest_of_the_good_ones(trials: list[Trial], tolerance: Fraction) -> None:
    def accuracy(point: Point) -> Fraction:
        """Exactly: so many of the trials."""
        return Fraction(round(point.accuracy * len(trials)), len(trials))

    gate, point = best_gate(trials, tolerance=float(tolerance))
    every = [one for statistic in Statistic for one in curve(trials, statistic)]
    best = max(accuracy(one) for one in every)
    assert accuracy(point) >= best - tolerance
    assert all(one.cost >= point.cost for one in every if accuracy(one) >= best - tolerance)
    assert gate.threshold == point.threshold


def test_no_trials_are_no_calibration() -> None:
    with pytest.raises(DataError, match="no trials"):
        best_gate([])


async def test_trials_are_run_once_and_drawn(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(ids: Ids) -> list[tuple[str, float]]:
        asked.append(last_turn(ids))
        return [("DONE", 1.0)] if "Reply DONE" in asked[-1] else [(fenced(PARIS), 0.7), (fenced(ROME), 0.3)]

    policy = Policy(ScriptedEngine(script), ScriptedTemplate(), name="scripted")
    cases = [JudgedCase(SIMPLE)]
    trials = await run_trials(
        cases, policy, Profile(), tmp_path, Sampling(max_tokens=300), 4, version="tasks"
    )
    [trial] = trials
    assert (trial.draft_right, trial.final_right) == (True, True)
    assert trial.assurance is not None
    assert trial.cost > 0
    count = len(asked)
    again = await run_trials(cases, policy, Profile(), tmp_path, Sampling(max_tokens=300), 4, version="tasks")
    assert again == trials
    assert len(asked) == count  # nothing was asked twice
    gate, point = best_gate(trials, model="scripted")
    assert point.cost == 0  # the check changes nothing, so the gate skips it
    draw(trials, gate, point, tmp_path / "gate.png")
    assert (tmp_path / "gate.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / TRIALS).write_text(json.dumps({"id": "x"}) + "\n")
    with pytest.raises(DataError, match="no trial"):
        await run_trials(cases, policy, Profile(), tmp_path, Sampling(max_tokens=300), 4, version="tasks")


def says_paris(ids: Ids) -> list[tuple[str, float]]:
    return [("DONE" if "Reply DONE" in last_turn(ids) else fenced(PARIS), 1.0)]


async def tried(
    out: Path, *, weights: str = "a", version: str = "tasks", max_tokens: int = 300, limit: int = 1
) -> list[str]:
    """Ids of the first `limit` of `TASKS`, tried by a policy of these weights."""
    policy = Policy(ScriptedEngine(says_paris), ScriptedTemplate(), name="scripted", weights=weights)
    cases, sampling = [JudgedCase(task) for task in TASKS[:limit]], Sampling(max_tokens=max_tokens)
    trials = await run_trials(cases, policy, Profile(), out, sampling, 4, version=version)
    return [trial.id for trial in trials]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": "b"}, "weights"),
        ({"version": "other tasks"}, "version"),
        ({"max_tokens": 200}, r"sampling\.max_tokens \d+, now 200"),
    ],
)
async def test_trials_of_another_policy_or_task_are_not_gone_on_with(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    await tried(tmp_path)
    with pytest.raises(UsageError, match=rf"other settings \({named}\): give another directory"):
        await tried(tmp_path, **changes)
    assert await tried(tmp_path, limit=2) == [task.id for task in TASKS[:2]]
    # Nobody knows whose trials they are.
    (tmp_path / SETTINGS).unlink()
    with pytest.raises(UsageError, match="weights"):
        await tried(tmp_path)


async def test_a_directory_without_a_whole_trial_is_anybodys(tmp_path: Path) -> None:
    await tried(tmp_path)
    (tmp_path / TRIALS).write_text('{"id": "cut off by a ki')
    assert await tried(tmp_path, weights="b") == [TASKS[0].id]


async def test_two_calibrations_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    with held(tmp_path / ".lock", "it"), pytest.raises(RunError, match="running a calibration in"):
        await tried(tmp_path)


def test_a_higher_limit_asks_more_of_the_same_tasks(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    write_jsonl(file, tasks_to_rows(TASKS))
    some, version = _cases(str(file), 1)
    more, same = _cases(str(file), None)
    assert (len(some), len(more)) == (1, len(TASKS))
    assert version == same
    write_jsonl(file, tasks_to_rows(TASKS[1:]))
    assert _cases(str(file), 1)[1] != version


def test_a_gate_that_is_just_as_much_worse_as_may_be_is_taken() -> None:
    """0.8 - 0.1 is more than 0.7 in floats."""
    sure = {one.value: -1.0 for one in Statistic}
    trials = [Trial("t", sure, n < 7, n < 8, 10) for n in range(10)]
    gate, point = best_gate(trials, tolerance=0.1)
    assert (point.accuracy, point.cost) == (0.7, 0)
    assert gate.threshold < 0
