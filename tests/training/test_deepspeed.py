"""ZeRO over processes on CPUs: they train what one does, and go on when one was killed.

`make test` does not install DeepSpeed: where it is there accelerate imports it in every training, and its
first start compiles an extension. ``pip install 'strop[deepspeed]'``, then ``pytest -m model`` on this file.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from strop.tools.errors import UsageError
from tests.training.launches import EXAMPLES, ended, launched, log_of, log_when_killed, same_training
from tests.training.tiny import tiny_checkpoint
from tests.training.together import measure, train

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="DeepSpeed wants a compiler of C++ on CPUs"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(autouse=True)
def on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among what it takes for accelerators it would look for others first."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


def on_two_cpus(stage: int, directory: Path) -> Path:
    """The configuration that is shipped for eight GPUs."""
    gpus = (EXAMPLES / f"zero{stage}.yaml").read_text()
    config = directory / f"zero{stage}.yaml"
    config.write_text(gpus.replace("num_processes: 8", "num_processes: 2") + "use_cpu: true\n")
    return config


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("kind", ["dpo", "sft", "openings"])
def test_two_processes_train_what_one_does(stage: int, kind: str, checkpoint: Path, tmp_path: Path) -> None:
    config = on_two_cpus(stage, tmp_path)
    train(kind, checkpoint, tmp_path / "one")
    ended(launched("tests.training.together", kind, checkpoint, tmp_path / "two", "0", config=config))
    same_training(tmp_path / "one", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "train_summary.json").read_text())["shared_prefix"] == "on"


def test_losses_are_measured_before_anything_is_sharded(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    config = on_two_cpus(3, tmp_path)
    ended(launched("tests.training.together", "losses", checkpoint, file, "0", config=config))
    rows = {row["id"]: row["loss"] for row in map(json.loads, file.read_text().splitlines())}
    assert rows == pytest.approx(measure(checkpoint, tmp_path / "one.jsonl"), abs=1e-4)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(
    stage: int, checkpoint: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", on_two_cpus(stage, tmp_path)
    process = launched("tests.training.together", "dpo", checkpoint, out, "0.3", config=config)
    before = log_when_killed(process, out)
    with pytest.raises(UsageError, match=rf"written by DeepSpeed's ZeRO-{stage} in 2 processes, and this is"):
        train("dpo", checkpoint, out)  # else with a fresh optimiser and schedule

    ended(launched("tests.training.together", "dpo", checkpoint, out, "0", config=config))
    resumed = json.loads((out / "train_summary.json").read_text())["resumed_from"]
    assert resumed >= 4
    assert log_of(out)[:resumed] == before[:resumed], "finished steps were done again"
    train("dpo", checkpoint, tmp_path / "unbroken")
    same_training(tmp_path / "unbroken", out)
