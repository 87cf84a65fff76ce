"""Where a training stands survives whatever a kill leaves behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from strop.tools.errors import RunError, UsageError
from strop.tools.files import JsonlWriter, write_jsonl
from strop.training.dpo import DpoConfig
from strop.training.job import TrainJob, mark_whole
from strop.training.journal import Journal
from strop.training.recipe import Recipe, Refused, TrainSummary
from strop.training.sft import SftConfig

SUMMARY = TrainSummary(
    adapter=Path("elsewhere"),
    examples=3,
    steps=4,
    seconds=1.5,
    reference_seconds=0.5,
    device="cpu float32",
    shared_prefix="on",
    resumed_from=2,
    peak_memory=10,
    last={"step": 4, "loss": 0.5},
    refused=(Refused("a", "too long"),),
)


def checkpoint(job: TrainJob, step: int, *, whole: bool = True) -> Path:
    directory = job.work / f"checkpoint-{step}"
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(b"weights")
    if whole:
        mark_whole(directory)
    return directory


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    job = TrainJob(tmp_path / "out", {"seed": 1})
    checkpoint(job, 2)
    nine, ten = checkpoint(job, 9), checkpoint(job, 10)
    unfinished = checkpoint(job, 11, whole=False)
    write_jsonl(job.log_path, [{"step": step} for step in range(1, 12)])
    (ten / "adapter_model.safetensors").write_bytes(b"wei")

    again = TrainJob(tmp_path / "out", {"seed": 1})
    assert again.newest_checkpoint() == nine
    assert not unfinished.exists()
    assert not ten.exists()
    assert [row["step"] for row in again.log_rows()] == list(range(1, 10))
    assert not again.discarded


def test_without_a_checkpoint_the_log_begins_again(tmp_path: Path) -> None:
    job = TrainJob(tmp_path / "out", {})
    write_jsonl(job.log_path, [{"step": 1}])
    assert job.newest_checkpoint() is None
    assert job.log_rows() == []


def test_another_jobs_unfinished_work_is_not_gone_on_with(tmp_path: Path) -> None:
    first = TrainJob(tmp_path / "out", {"seed": 1})
    checkpoint(first, 4, whole=False)
    assert TrainJob(tmp_path / "out", {"seed": 2}).discarded
    checkpoint(TrainJob(tmp_path / "out", {"seed": 2}), 5)
    with pytest.raises(UsageError, match=r"out\.part holds 5 steps of another training"):
        TrainJob(tmp_path / "out", {"seed": 3})
    assert TrainJob(tmp_path / "out", {"seed": 2}).newest_checkpoint() is not None


def test_what_is_no_training_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part/thesis.txt").write_text("all of it")
    (tmp_path / "b.part").write_text("a file")
    for name in "ab":
        with pytest.raises(UsageError, match=rf"{name}\.part, where .* would work, is something else"):
            TrainJob(tmp_path / name, {})
    assert (tmp_path / "a.part/thesis.txt").exists()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with TrainJob.opened(Path(), {}) as job:
        assert job.work == tmp_path / "empty.part"


def test_a_finished_job_is_known_again_and_protected(tmp_path: Path) -> None:
    job = TrainJob(tmp_path / "out", {"seed": 1})
    adapter = job.work / "final"
    adapter.mkdir()
    write_jsonl(job.log_path, [{"step": 1}])
    job.publish(adapter, SUMMARY)
    assert not job.work.exists()
    assert sorted(path.name for path in job.out.iterdir()) == ["train_log.jsonl", "train_summary.json"]

    again = TrainJob(tmp_path / "out", {"seed": 1})
    assert again.finished
    assert again.summary().refused == SUMMARY.refused
    assert again.summary().adapter == tmp_path / "out"
    with pytest.raises(UsageError, match="holds something else already"):
        TrainJob(tmp_path / "out", {"seed": 2})


def test_the_adapters_scale_follows_its_rank_unless_it_is_given() -> None:
    assert (Recipe().alpha, Recipe(rank=8).alpha, Recipe(rank=8, alpha=8).alpha) == (32, 16, 8)
    assert DpoConfig(rank=4).alpha == SftConfig(rank=4).alpha == 8
    assert (DpoConfig(objective="itool").rank, DpoConfig(objective="itool").alpha) == (8, 16)


@pytest.mark.parametrize("log", [True, False])
def test_a_loss_that_is_no_number_stops_every_process(log: bool, tmp_path: Path) -> None:
    job = TrainJob(tmp_path / "out", {})
    with JsonlWriter(job.log_path) as writer:
        journal = Journal(job, writer if log else None, lambda *_, **__: None, None)
        state = SimpleNamespace(global_step=3)
        # DeepSpeed has cleared the gradients by then.
        journal.on_pre_optimizer_step(None, state, None, model=torch.nn.Linear(1, 1))
        journal.on_log(None, state, None, {"loss": 0.5})
        with pytest.raises(RunError, match="a loss is no longer a number in step 3"):
            journal.on_log(None, state, None, {"loss": float("nan")})


def test_a_checkpoints_interval_does_not_outlive_it(tmp_path: Path) -> None:
    job = TrainJob(tmp_path / "out", {})
    state = SimpleNamespace(global_step=4, max_steps=9, save_steps=4)
    journal = Journal(job, None, lambda *_, **__: None, None)
    journal.on_train_begin(SimpleNamespace(save_steps=1), state, None)
    assert state.save_steps == 1


def test_what_changes_no_result_does_not_begin_a_training_anew(tmp_path: Path) -> None:
    def work(config: SftConfig) -> TrainJob:
        return TrainJob(tmp_path / "out", {"config": config.decides()})

    checkpoint(work(SftConfig(batch_size=4, micro_batch_size=4)), 5)
    thrifty = SftConfig(batch_size=4, micro_batch_size=4, gradient_checkpointing=True, save_steps=1)
    assert work(thrifty).newest_checkpoint() is not None
    with pytest.raises(UsageError, match="5 steps of another training"):
        work(SftConfig(batch_size=4, micro_batch_size=2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"batch_size": 8, "micro_batch_size": 3},
        {"rank": 0},
        {"warmup": 1.0},
        {"save_steps": 0},
        {"epochs": -1},
    ],
)
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(reversed(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type]  # on purpose
