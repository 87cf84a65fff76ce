"""Starting a training in several processes, and what is to be said of its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from strop.tools.files import read_jsonl

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "accelerate"


def launched(*words: str | Path, config: Path = EXAMPLES / "ddp_cpu.yaml") -> subprocess.Popen[str]:
    """``accelerate launch`` of a module, on a port of its own."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    return subprocess.Popen(
        list(map(str, [*launcher, "--main_process_port", "0", "-m", *words])),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What a process that is to succeed has printed."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-3000:]
    return printed


def log_of(directory: Path) -> list[dict[str, float]]:
    return [row for _, row in read_jsonl(directory / "train_log.jsonl")[0]]


def same_training(one: Path, other: Path) -> None:
    for key in ("loss", "grad_norm", "lr"):
        values = [[row[key] for row in log_of(out)] for out in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-4), key
    weights = [load_file(out / "adapter_model.safetensors") for out in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=0)


def worker(launcher: int, rank: int) -> int:
    """Process id of one of a launcher's processes."""
    for task in Path(f"/proc/{launcher}/task").iterdir():
        for pid in (task / "children").read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
    raise AssertionError(f"no process has rank {rank}")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def log_when_killed(process: subprocess.Popen[str], out: Path) -> list[dict[str, float]]:
    """The log of a training in two processes whose second is killed after step 4; the first ends, too."""
    part = out.with_name(f"{out.name}.part")
    wait_for(part / "checkpoint-4" / "whole.json", process)
    os.kill(worker(process.pid, rank=1), signal.SIGKILL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert not out.exists(), printed
    return log_of(part)
