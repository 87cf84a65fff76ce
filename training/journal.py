"""The log of a training, written while it runs, and what is watched meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from strop.tools.errors import RunError
from strop.tools.files import JsonlWriter
from strop.training.job import TrainJob, mark_whole

OnLog = Callable[[Mapping[str, float]], None]
"""Is given every row of the training log."""

RENAMED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "logps/chosen": "logp_chosen",
    "logps/rejected": "logp_rejected",
    "mean_token_accuracy": "token_accuracy",
    "entropy": "entropy",
    "epoch": "epoch",
}
"""Keys of the log, by the trainers' own names."""


class Journal(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Writes the log, marks checkpoints whole, moves the bar, and refuses gradients that are not numbers."""

    def __init__(
        self, job: TrainJob, log: JsonlWriter | None, advance: Callable[..., None], on_log: OnLog | None
    ):
        """Without a `log` it is the first process's to write it."""
        self._ranks, self._log, self._advance, self._on_log = job.ranks, log, advance, on_log
        earlier = job.log_rows()
        self._before = float(earlier[-1]["seconds"]) if earlier else 0.0
        self._started = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        # A checkpoint brings its own, and that is what is looked at.
        state.save_steps = args.save_steps
        self._started = time.monotonic()
        self._advance(state.global_step, total=state.max_steps)

    def on_pre_optimizer_step(self, _args: Any, state: Any, _control: Any, model: Any, **_: Any) -> None:
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        # DeepSpeed has taken its step already, and cleared them: there the loss tells, one step later.
        if gradients and not torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            raise _no_number("gradient", state.global_step + 1)

    def on_step_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        self._advance(1)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise _no_number("loss", state.global_step)
        if self._log is None:
            return
        row: dict[str, float] = {"step": state.global_step}
        row |= {ours: float(logs[theirs]) for theirs, ours in RENAMED.items() if theirs in logs}
        row["seconds"] = round(self._before + time.monotonic() - self._started, 3)
        self._log.write(row)
        if self._on_log is not None:
            self._on_log(row)

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._ranks.wait()  # every process adds the state of its random numbers
        if self._ranks.first:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _no_number(what: str, step: int) -> RunError:
    return RunError(
        f"a {what} is no longer a number in step {step}: training stopped, and "
        "the checkpoints before it are kept. Try a lower learning rate or a smaller max_grad_norm"
    )
