"""A round's training in processes of its own: what it computes, what it says when it fails, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from strop.tools.errors import RunError, UsageError
from strop.tools.files import write_jsonl
from strop.tools.task import Task
from strop.training.config import RoundConfig, TasksTable, TrainWithTable
from strop.training.dpo import DpoConfig
from strop.training.launch import Order, launch
from strop.training.round import Accepted, Collected, Rounds
from strop.training.run import RunDirectory
from strop.training.synth import synthesise
from tests.training.launches import EXAMPLES, same_training
from tests.training.test_round import collected
from tests.training.tiny import pairs, tiny_checkpoint

CONFIG = DpoConfig(learning_rate=1e-3, batch_size=4, epochs=2, save_steps=2, dtype="float32")
TWO = (
    *(sys.executable, "-m", "accelerate.commands.launch"),
    *("--config_file", str(EXAMPLES / "ddp_cpu.yaml"), "--main_process_port", "0"),
)
"""A launcher of two processes."""


def order(folder: Path, *, count: int = 8) -> Order:
    """A training of the tiny model on `count` pairs, everything under `folder`."""
    keys = ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = [{"id": one.id, **{key: list(getattr(one, key)) for key in keys}} for one in pairs(count)]
    write_jsonl(folder / "pairs.jsonl", rows)
    return Order(folder / "tiny", "tiny", folder / "pairs.jsonl", folder / "adapter", CONFIG, track=())


def test_an_order_survives_its_file(tmp_path: Path) -> None:
    for base in (None, tmp_path / "before"):
        one = replace(order(tmp_path), base_adapter=base, track=("tensorboard",))
        assert Order.from_json(json.loads(json.dumps(one.to_json()))) == one


async def test_a_launcher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train_with.launch: there is no program 'acelerate'"):
        await launch(["acelerate", "launch"], order(tmp_path), tmp_path)


async def test_a_launcher_that_fails_without_a_word_is_told_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="false ended with status 1 before the adapter was finished"):
        await launch(["false"], order(tmp_path), tmp_path)


async def test_the_error_of_a_launched_process_is_the_rounds(tmp_path: Path) -> None:
    one = order(tmp_path)
    with one.pairs.open("a") as file:
        file.write("{}\n")
    with pytest.raises(RunError, match=r"pairs\.jsonl:9: "):
        await launch([sys.executable], one, tmp_path)


async def test_an_interrupted_round_ends_what_it_has_launched(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = tmp_path / "launcher"
    script.write_text(
        f"#!/bin/sh\necho $$ > {pid_file}.part\nmv {pid_file}.part {pid_file}\nexec sleep 600\n"
    )
    script.chmod(0o755)
    running = asyncio.create_task(launch([str(script)], order(tmp_path), tmp_path))
    deadline = time.monotonic() + 60
    while not pid_file.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
async def test_a_rounds_stage_trains_the_same_in_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage has one key and one outcome, whoever computes it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tasks = synthesise(8, 0, ["simple"])
    config = RoundConfig(
        model=str(tiny_checkpoint(tmp_path / "tiny")), tasks=TasksTable(synthesise=50), train=CONFIG
    )
    alone = await trained(config, tmp_path / "alone", tasks)
    launched = config.model_copy(update={"train_with": TrainWithTable(launch=TWO)})
    together = await trained(launched, tmp_path / "together", tasks)
    assert together.key == alone.key
    assert alone.adapter is not None
    assert together.adapter is not None
    same_training(alone.adapter, together.adapter)
    assert json.loads((together.adapter / "train_summary.json").read_text())["device"] == "2 × cpu float32"
    assert [path.name for path in together.adapter.parent.iterdir()] == ["adapter"]


async def trained(config: RoundConfig, path: Path, tasks: list[Task]) -> Accepted:
    """The training stage of a round, on sound pairs of these tasks."""
    with RunDirectory(path, resume=False) as run:
        collection = collected(path / "rounds" / "1" / "collect", tasks, len(tasks))
        rounds = Rounds(config, run, Console())
        rounds.screen(tasks)
        return await rounds._train(
            1, Accepted(None, "collected"), Collected(collection / "pairs.jsonl", "-", "-"), tasks
        )
