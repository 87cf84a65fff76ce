"""For one process or several: ``together.py KIND CHECKPOINT OUT PAUSE``; PAUSE in seconds a step."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from strop.training.dpo import DpoConfig, train_dpo
from strop.training.ranks import Ranks
from strop.training.recipe import TrainSummary
from strop.training.sft import SftConfig, train_sft
from tests.training.tiny import demonstrations, pairs

ROWS = 12
SCHEDULE = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 3.0, "save_steps": 2, "dtype": "float32"}
"""With twelve rows: nine steps. Two processes have two examples of each step, in one micro-batch or two."""


def train(kind: str, checkpoint: Path, out: Path, pause: float = 0.0) -> TrainSummary:
    """``dpo``, or ``sft`` with two examples a micro-batch, ``openings`` weighed in it."""

    def on_log(_row: object) -> None:
        time.sleep(pause)

    if kind == "dpo":
        return train_dpo(checkpoint, pairs(ROWS), out, DpoConfig(**SCHEDULE), on_log=on_log)  # type: ignore[arg-type]  # mixed values
    share = 0.5 if kind == "openings" else None
    config = SftConfig(**SCHEDULE, micro_batch_size=2, opening_share=share, opening_ids=1)  # type: ignore[arg-type]  # mixed values
    return train_sft(checkpoint, demonstrations(ROWS), out, config, on_log=on_log)


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
    Ranks.here().leave()
