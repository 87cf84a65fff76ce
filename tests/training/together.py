"""For one process or several: ``together.py KIND CHECKPOINT OUT PAUSE``; PAUSE in seconds a step.

KIND ``losses`` measures instead, into the file OUT.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from strop.training.dpo import DpoConfig, train_dpo
from strop.training.job import Base
from strop.training.ranks import Ranks
from strop.training.recipe import TrainSummary
from strop.training.sft import SftConfig, measure_loss, train_sft
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


def measure(checkpoint: Path, file: Path) -> dict[str, float]:
    return measure_loss(Base(checkpoint, "tiny", None), demonstrations(ROWS + 1), file, SftConfig(**SCHEDULE))  # type: ignore[arg-type]  # mixed values


if __name__ == "__main__":
    kind, checkpoint, out, pause = sys.argv[1:]
    if kind == "losses":
        measure(Path(checkpoint), Path(out))
    else:
        train(kind, Path(checkpoint), Path(out), float(pause))
    Ranks.here().leave()
