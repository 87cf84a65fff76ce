"""A process to be killed: ``killed.py KIND CHECKPOINT OUT PAUSE``; PAUSE in seconds a step."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from strop.training.dpo import DpoConfig, train_dpo
from strop.training.recipe import TrainSummary
from strop.training.sft import SftConfig, train_sft
from tests.training.tiny import demonstrations, pairs

SCHEDULE = {"learning_rate": 1e-3, "batch_size": 2, "epochs": 2.0, "save_steps": 2, "dtype": "float32"}
"""With ten rows: ten steps, five checkpoints."""


def train(kind: str, checkpoint: Path, out: Path, pause: float = 0.0) -> TrainSummary:
    """One of the two trainings that the tests kill and compare."""

    def on_log(_row: object) -> None:
        time.sleep(pause)

    if kind == "dpo":
        return train_dpo(checkpoint, pairs(10), out, DpoConfig(**SCHEDULE), on_log=on_log)  # type: ignore[arg-type]  # mixed values
    return train_sft(checkpoint, demonstrations(10), out, SftConfig(**SCHEDULE), on_log=on_log)  # type: ignore[arg-type]  # mixed values


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
