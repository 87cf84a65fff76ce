"""The gate's curve adds up, the chosen gate does what its point says, and trials survive a stop."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.chat import Ids
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.refine.assurance import Statistic
from strop.refine.calibrate import NEVER, Trial, best_gate, curve
from strop.refine.gate_plot import draw
from strop.refine.trials import TRIALS, run_trials
from strop.tools.case import JudgedCase
from strop.tools.errors import DataError
from tests.refine.worlds import PARIS, ROME, SIMPLE, fenced

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


@given(TRIAL_LISTS, st.sampled_from([0.0, 0.1]))
def test_the_chosen_gate_is_the_cheapest_of_the_good_ones(trials: list[Trial], tolerance: float) -> None:
    gate, point = best_gate(trials, tolerance=tolerance)
    every = [one for statistic in Statistic for one in curve(trials, statistic)]
    best = max(one.accuracy for one in every)
    assert point.accuracy >= best - tolerance
    assert all(one.cost >= point.cost for one in every if one.accuracy >= best - tolerance)
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
    trials = await run_trials(cases, policy, Profile(), tmp_path, Sampling(max_tokens=300), 4)
    [trial] = trials
    assert (trial.draft_right, trial.final_right) == (True, True)
    assert trial.assurance is not None
    assert trial.cost > 0
    count = len(asked)
    again = await run_trials(cases, policy, Profile(), tmp_path, Sampling(max_tokens=300), 4)
    assert again == trials
    assert len(asked) == count  # nothing was asked twice
    gate, point = best_gate(trials, model="scripted")
    assert point.cost == 0  # the check changes nothing, so the gate skips it
    draw(trials, gate, point, tmp_path / "gate.png")
    assert (tmp_path / "gate.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / TRIALS).write_text(json.dumps({"id": "x"}) + "\n")
    with pytest.raises(DataError, match="no trial"):
        await run_trials(cases, policy, Profile(), tmp_path, Sampling(), 4)
