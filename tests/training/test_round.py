from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from strop.agent.paired import Comparison, compare
from strop.tools.errors import RunError
from strop.tools.files import write_json
from strop.training.config import AcceptTable, RoundConfig, TasksTable
from strop.training.round import Rounds, decide, split
from strop.training.run import RunDirectory
from strop.training.synth import synthesise


@given(held_out=st.integers(1, 19), seed=st.integers(0, 99))
def test_a_split_loses_and_repeats_nothing(held_out: int, seed: int) -> None:
    tasks = synthesise(20, 0)
    train_on, kept = split(tasks, held_out, seed)
    assert len(kept) == held_out
    assert sorted(task.id for task in (*train_on, *kept)) == sorted(task.id for task in tasks)


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(RunError, match="held_out"):
        split(synthesise(8, 0), 8, 0)


def verdicts(right: str) -> dict[str, bool]:
    return {str(index): mark == "1" for index, mark in enumerate(right)}


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        ("0000000000", "1000000000", True),
        ("1111100000", "1111100000", False),
        ("1111100000", "1111000000", False),
        ("1111100000", "0111111000", True),
        ("1111100000", "0001111111", False),
    ],
    ids=["gain", "no gain", "loss", "gain with one flip in ten", "gain with three flips in ten"],
)
def test_acceptance(before: str, after: str, accepted: bool) -> None:
    table = AcceptTable(max_negative_flips=0.2)
    row = decide(compare(verdicts(before), verdicts(after)), table)
    assert row["accepted"] is accepted
    assert row["reason"].startswith("accepted" if accepted else "refused")
    assert row["held_out"]["total"] == 10


def test_nothing_to_compare_is_no_reason_to_accept() -> None:
    assert not decide(Comparison(0, 0, 0, (), ()), AcceptTable())["accepted"]


@pytest.mark.parametrize(
    ("selections", "stopped"),
    [
        ([["a"]], False),
        ([["a"], ["a", "b"]], False),
        ([["a", "b"], ["a"]], True),
        ([["a"], ["b"], ["a"]], True),
        ([["a"], ["b"], ["c"]], False),
    ],
)
def test_a_selection_stops_growing_where_nothing_in_it_is_new(
    selections: list[list[str]], stopped: bool, tmp_path: Path
) -> None:
    for number, ids in enumerate(selections, start=1):
        tasks = {task_id: ["so"] for task_id in ids}
        write_json(tmp_path / f"rounds/{number}/collect/selection.json", {"steps": [], "tasks": tasks})
    with RunDirectory(tmp_path, resume=False) as run:
        for wanted in (True, False):
            config = RoundConfig(tasks=TasksTable(synthesise=50), while_selection_grows=wanted)
            rounds = Rounds(config, run, Console())
            assert rounds.stopped_growing(len(selections)) is (stopped and wanted)
