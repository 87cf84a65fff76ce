"""A run on a real model, killed in every kind of stage: what was done stays done, and the end is reached.

The transformers engine, because it starts in seconds; the quickstart runs the same code on vLLM.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

STROP = Path(sys.executable).with_name("strop")
STAGES = (
    "serve",
    *("0.before", "0.train", "0.after"),
    *("1.before", "1.collect", "1.corpus", "1.train", "1.after"),
)
KILLED_IN = ("serve", "0.train", "1.collect", "1.corpus", "1.train", "1.after")
"""One stage of every kind: measurements are alike, and each start takes half a minute."""
CONFIG = """
model = "smollm2-135m"
[engine]
kind = "transformers"
max_model_len = 2048
[tasks]
synthesise = 20
held_out = 8
categories = ["simple", "irrelevance"]
[bench]
categories = ["simple_python", "irrelevance"]
limit = 2
max_tokens = 24
concurrency = 4
[warmup]
families = 2
[warmup.train]
batch_size = 6
micro_batch_size = 2
save_steps = 1
rank = 4
alpha = 8
[corpus.train]
batch_size = 4
rank = 4
alpha = 8
[collect]
samples = 2
[collect.search]
simulations = 1
width = 2
max_tokens = 32
[train]
epochs = 2
batch_size = 2
save_steps = 1
rank = 4
alpha = 8
"""


def start(config: Path, run: Path) -> subprocess.Popen[bytes]:
    words = [STROP, "round", config, "--run-dir", run, "--resume"]
    with (run.parent / "log.txt").open("ab") as log:
        return subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, start_new_session=True)


def events(run: Path) -> list[dict[str, object]]:
    path = run / "events.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def count(run: Path, event: str, stage: str) -> int:
    return sum(row["event"] == event and row["stage"] == stage for row in events(run))


def kill_in(stage: str, config: Path, run: Path) -> None:
    """Run until `stage` has begun (and, in training, a step is logged), then SIGKILL the whole group."""
    process = start(config, run)
    seen = count(run, "stage_start", stage)
    give_up = time.monotonic() + 480
    while count(run, "stage_start", stage) == seen or not _is_under_way(stage, run):
        assert process.poll() is None, (run.parent / "log.txt").read_text()[-2000:]
        assert time.monotonic() < give_up, f"{stage} was not reached"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _is_under_way(stage: str, run: Path) -> bool:
    """Whether a training has made a step; true of any other stage that has begun."""
    logs = {"0.train": "rounds/0/train/adapter.stage-1", "1.train": "rounds/1/train/adapter"}
    return stage not in logs or any(
        (run / f"{logs[stage]}{part}" / "train_log.jsonl").exists() for part in (".part", "")
    )


@pytest.mark.timeout(900)
def test_a_run_killed_in_every_kind_of_stage_ends_and_repeats_nothing(tmp_path: Path) -> None:
    config, run = tmp_path / "config.toml", tmp_path / "run"
    config.write_text(CONFIG)
    for stage in KILLED_IN:
        kill_in(stage, config, run)
    assert start(config, run).wait() == 0, (tmp_path / "log.txt").read_text()[-2000:]

    for stage in (*STAGES, "tasks"):
        assert count(run, "stage_end", stage) == 1, stage
    folder = run / "rounds/1"
    decision = json.loads((folder / "decision.json").read_text())
    assert isinstance(decision["accepted"], bool)
    for when in ("before", "after"):
        rows = [json.loads(line) for line in (folder / when / "answers.jsonl").read_text().splitlines()]
        assert len({row["id"] for row in rows}) == len(rows) == 4
    steps = [
        json.loads(line)["step"]
        for line in (folder / "train/adapter/train_log.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, len(steps) + 1))
    assert (folder / "train/adapter/adapter_config.json").exists()
    first = json.loads((run / "rounds/0/train/adapter.stage-1/train_summary.json").read_text())
    second = json.loads((run / "rounds/0/train/adapter/train_summary.json").read_text())
    assert first["examples"] + second["examples"] == 12 + 2  # a quarter of stage 1 again
    stop = json.loads((folder / "corpus/adapter/strop.json").read_text())
    assert isinstance(stop["stop_token_id"], int)
    assert json.loads((folder / "train/adapter/strop.json").read_text()) == stop
    page = (run / "report.html").read_text()
    assert "Warm-up" in page
    assert decision["reason"].split(":")[0] in page

    # Nothing is left to do: the same command only reads.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    assert start(config, run).wait() == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
