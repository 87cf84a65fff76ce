from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from strop.tools.errors import UsageError
from strop.training.dpo import DpoConfig, train_dpo
from strop.training.trackers import TRACKERS, require_trackers
from tests.training.tiny import pairs, tiny_checkpoint

QUICK = DpoConfig(batch_size=2, dtype="float32")


def test_a_tracker_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord': known are tensorboard, "):
        require_trackers(["tensorbord"])


def test_a_missing_package_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    missing = [name for name in TRACKERS if find_spec(name) is None]
    if not missing:
        pytest.skip("all trackers are installed")
    with pytest.raises(UsageError, match=f"needs the package {missing[0]}.*pip install {missing[0]}"):
        train_dpo(tmp_path / "no-model", pairs(2), tmp_path / "out", QUICK, track=missing[:1])


@pytest.mark.usefixtures("one_thread")
def test_tensorboard_is_told_and_changes_nothing_of_the_job(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    out = tmp_path / "out"
    summary = train_dpo(checkpoint, pairs(6), out, QUICK, track=["tensorboard"])
    events = accumulator.EventAccumulator(str(out / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    assert train_dpo(checkpoint, pairs(6), out, QUICK) == summary, "another job for want of a tracker"
