"""Earlier pairs among later ones: a stated share, drawn by seed; none that later ones say or contradict."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_json, read_jsonl, write_jsonl
from strop.tools.formats import FORMATS
from strop.tools.task import Task
from strop.training.config import ReplayTable, RoundConfig, TasksTable
from strop.training.dpo import DpoConfig
from strop.training.replay import mix, replay
from strop.training.round import Accepted, Collected, Rounds
from strop.training.run import RunDirectory
from strop.training.synth import synthesise
from tests.training.tiny import tiny_checkpoint


def row(task: str, said: str, over: str, *, prompt: Sequence[int] = (1, 2)) -> dict[str, Any]:
    chosen, rejected = ([*map(ord, text), 2] for text in (said, over))
    return {
        "id": f"{task}-{said}-{over}", "task_id": task, "kind": "full", "prompt_ids": list(prompt),
        "prefix_ids": [], "chosen_ids": chosen, "rejected_ids": rejected,
        "chosen_text": said, "rejected_text": over,
    }  # fmt: skip


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    write_jsonl(path, rows)
    return path


def many(name: str, count: int) -> list[dict[str, Any]]:
    return [row(f"{name}{number}", f"yes {name}{number}", f"no {number}") for number in range(count)]


@given(share=st.floats(0, 0.9), seed=st.integers(0, 9))
def test_the_share_is_of_all_that_is_trained_on(
    share: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    now, before = written(folder / "now", many("n", 10)), written(folder / "before", many("b", 100))
    drawn = replay(now, [before], share, seed)
    count = len(drawn.pairs)
    assert count == drawn.wanted
    # As near as whole pairs come.
    assert abs(share * (10 + count) - count) <= 0.5 + 1e-9
    assert len({kept.record.id for kept in drawn.pairs}) == count
    assert drawn == replay(now, [before], share, seed)


def test_the_seed_and_the_content_decide_and_not_the_order(tmp_path: Path) -> None:
    rows = many("b", 40)
    now = written(tmp_path / "now", many("n", 10))
    one, other = written(tmp_path / "one", rows), written(tmp_path / "other", rows[::-1])
    drawn = [kept.text for kept in replay(now, [one], 0.5, 1).pairs]
    assert drawn == [kept.text for kept in replay(now, [other], 0.5, 1).pairs]
    assert drawn != [kept.text for kept in replay(now, [one], 0.5, 2).pairs]


def test_what_is_said_already_contradicted_or_put_otherwise_is_left_out(tmp_path: Path) -> None:
    now = written(tmp_path / "now", [row("a", "right", "wrong"), row("b", "left", "right")])
    first = [
        row("a", "right", "wrong"),
        row("b", "right", "left"),
        row("a", "right", "worse", prompt=(1, 3)),
        row("c", "old", "older"),
        row("d", "up", "down"),
    ]
    second = [row("d", "up", "down"), {**row("e", "in", "out"), "note": "of round two"}]
    earlier = [written(tmp_path / "1", first), written(tmp_path / "2", second)]
    drawn = replay(now, earlier, 0.9, 0)
    assert {kept.record.task_id for kept in drawn.pairs} == {"c", "d", "e"}
    assert drawn.wanted == 18
    assert drawn.left_out == {"conflict": 1, "repeated": 2, "reworded": 1}


def test_a_mix_has_the_rows_as_they_stand(tmp_path: Path) -> None:
    now, before = written(tmp_path / "now.jsonl", many("n", 6)), written(tmp_path / "b.jsonl", many("b", 9))
    mixed = mix(now, [before], 0.4, 0, tmp_path / "mixed.jsonl")
    rows = [one for _, one in read_jsonl(tmp_path / "mixed.jsonl")[0]]
    assert rows[:6] == many("n", 6)
    assert len(rows) == 6 + len(mixed.pairs) == 10
    assert all(one in many("b", 9) for one in rows[6:])
    with pytest.raises(UsageError, match="one of the files"):
        mix(now, [before], 0.4, 0, before)


def test_a_broken_row_is_named_and_a_share_of_one_refused(tmp_path: Path) -> None:
    now = written(tmp_path / "now.jsonl", many("n", 2))
    broken = written(tmp_path / "b.jsonl", [*many("b", 1), {"id": "x", "prompt_ids": []}])
    with pytest.raises(DataError, match=r"b\.jsonl:2: .*prompt_ids"):
        replay(now, [broken], 0.5, 0)
    with pytest.raises(UsageError, match=r"share must be in \[0, 1\)"):
        replay(now, [now], 1.0, 0)


def collected(run: Path, number: int, tasks: Sequence[Task]) -> Collected:
    """A round's pairs: the gold over a refusal."""
    rows = []
    for task in tasks:
        assert task.gold is not None
        text, prompt = FORMATS["fenced_json"].render(task.gold.calls), [4 + tasks.index(task), 30 + number]
        evidence = {
            "chosen_value": 1.0,
            "rejected_value": 0.0,
            "chosen_verdict": "correct",
            "rejected_verdict": "missing_call",
        }
        rows.append(
            {
                **row(task.id, text, "I cannot do that.", prompt=prompt),
                "chosen_ids": [5, 2], "rejected_ids": [6, 2], "evidence": evidence,
            }
        )  # fmt: skip
    pairs = written(run / f"rounds/{number}/collect/pairs.jsonl", rows)
    return Collected(pairs, "-", "-")


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
async def test_a_round_trains_on_earlier_rounds_pairs_too(tmp_path: Path) -> None:
    model, tasks = tiny_checkpoint(tmp_path / "tiny"), synthesise(12, 0, ["simple"])
    settings = DpoConfig(batch_size=4, rank=2, alpha=4, dtype="float32")
    plain = RoundConfig(model=str(model), tasks=TasksTable(synthesise=50), train=settings)
    with RunDirectory(tmp_path / "begun", resume=False) as directory:
        rounds = Rounds(plain, directory, Console(quiet=True))
        rounds.screen(tasks)
        await rounds._train(1, Accepted(None, "-"), collected(directory.path, 1, tasks[:6]), tasks)
    keys: dict[float, list[str]] = {}
    for share in (0.0, 0.4, 0.6):
        run = shutil.copytree(tmp_path / "begun", tmp_path / f"run-{share}")
        config = plain.model_copy(update={"replay": ReplayTable(share=share)})
        with RunDirectory(run, resume=True) as directory:
            rounds = Rounds(config, directory, Console(quiet=True))
            first = await rounds._train(1, Accepted(None, "-"), collected(run, 1, tasks[:6]), tasks)
            taught = replace(first, key="collected again")
            second = await rounds._train(2, taught, collected(run, 2, tasks[6:]), tasks)
        keys[share] = [first.key, second.key]
        trained = [read_json(run / f"rounds/{n}/train/adapter/train_summary.json") for n in (1, 2)]
        extra = {0.0: 0, 0.4: 4, 0.6: 6}[share]  # 9 are wanted of the last, and there are 6
        assert [one["examples"] for one in trained] == [6, 6 + extra]
        again = run / "rounds/2/train/replay.jsonl"
        assert again.exists() is (extra > 0)
        if extra:
            earlier = [text for _, text in read_jsonl(run / "rounds/1/collect/pairs.jsonl")[0]]
            assert all(text in earlier for _, text in read_jsonl(again)[0])
            (event,) = (one for _, one in read_jsonl(run / "events.jsonl")[0] if one["event"] == "replayed")
            assert (event["stage"], event["pairs"]) == ("2.train", extra)
            assert event["wanted"] == {0.4: 4, 0.6: 9}[share]
    # The first round has nothing to replay: it is the same whatever is asked for; the second is not.
    assert len({first for first, _ in keys.values()}) == 1
    assert len({second for _, second in keys.values()}) == 3
