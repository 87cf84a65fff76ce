"""Who else is told how a training goes, beside its own log: TensorBoard, Weights & Biases, Trackio.

Through transformers' own callbacks, in the first process only. Who watches does not change what is trained:
trackers are no part of a job's identity.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import Any

from strop.tools.errors import UsageError
from strop.training.job import TrainJob

TRACKERS = ("tensorboard", "trackio", "wandb")
"""Names of trackers; each is also the name of the package that it needs."""
PROJECT = "strop"
"""Under which runs stand in trackers that know projects."""


def known_tracker(name: str) -> None:
    """Raises UsageError where `name` is none of `TRACKERS`."""
    if name not in TRACKERS:
        raise UsageError(f"unknown tracker {name!r}: known are {', '.join(TRACKERS)}")


def require_trackers(names: Collection[str]) -> None:
    """Raises UsageError for a name that is unknown, or whose package is missing."""
    for name in names:
        known_tracker(name)
        if find_spec(name) is None:
            raise UsageError(
                f"tracker {name!r} needs the package {name}, which is not installed: "
                f"pip install {name}, or 'strop[trackers]' for all of them"
            )


def watch(trainer: Any, job: TrainJob, names: Collection[str]) -> None:
    """Have trackers `names` told of this training; TensorBoard's files grow in the job's directory.

    The project is `PROJECT` or what WANDB_PROJECT says; a run has the name of the job's directory as given.
    """
    if not names or not job.ranks.first:
        return
    import os

    from transformers.integrations import TensorBoardCallback, get_reporting_integration_callbacks

    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    trainer.args.project, trainer.args.run_name = PROJECT, str(job.out)
    for kind in get_reporting_integration_callbacks(list(names)):
        tracker = kind()
        if isinstance(tracker, TensorBoardCallback):
            tracker.logging_dir = str(job.tracked)
        trainer.add_callback(tracker)
