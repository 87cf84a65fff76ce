"""Several processes train as one does, and as safely: one lock, one log, one adapter."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from strop.agent.lock import held
from strop.tools.errors import RunError, UsageError
from strop.tools.files import read_jsonl
from strop.training.failures import clear_failures
from strop.training.ranks import Ranks
from strop.training.recipe import Recipe
from strop.training.sharding import FSDP, WHOLE, held_by_checkpoint
from tests.training.launches import EXAMPLES, ended, launched, log_of, log_when_killed, same_training
from tests.training.tiny import tiny_checkpoint
from tests.training.together import measure, train


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some clusters have it in every shell
    assert Ranks.here() == Ranks(0, 1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("RANK", "6")
    assert Ranks.here() == Ranks(6, 8)
    assert not Ranks.here().first


def test_a_step_is_shared_out_evenly_or_refused() -> None:
    recipe = Recipe(batch_size=16, micro_batch_size=2)
    assert [recipe.micro_batches(world) for world in (1, 2, 8)] == [8, 4, 1]
    with pytest.raises(UsageError, match=r"batch_size 16 .* to 3 .* multiple of 6"):
        recipe.micro_batches(3)


def test_a_lost_process_is_told_of_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match="another process of this training has ended"),
        clear_failures(tmp_path),
    ):
        raise RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:34121")


def test_only_what_disks_say_is_told_of_as_a_disk(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write to .*Make room"), clear_failures(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    for error in (ConnectionError("tracker.example: unknown"), FileNotFoundError(errno.ENOENT, "none", "x")):
        with pytest.raises(type(error)), clear_failures(tmp_path):
            raise error


@pytest.mark.parametrize(
    ("files", "holder"),
    [
        (["optimizer.pt", "scheduler.pt"], WHOLE),
        (["optimizer.bin", "pytorch_model_fsdp.bin"], FSDP),
        (["optimizer_0/__0_0.distcp", "pytorch_model_fsdp_0/__0_0.distcp"], FSDP),
        (
            ["global_step4/mp_rank_00_model_states.pt"]
            + [f"global_step4/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(8)],
            "DeepSpeed's ZeRO-2 in 8 processes",
        ),
        (
            [
                f"global_step4/zero_pp_rank_{rank}_mp_rank_00_{part}_states.pt"
                for rank in range(4)
                for part in ("model", "optim")
            ],
            "DeepSpeed's ZeRO-3 in 4 processes",
        ),
    ],
    ids=["whole", "fsdp", "fsdp, sharded", "zero2", "zero3"],
)
def test_a_checkpoint_shows_who_can_go_on_from_it(files: list[str], holder: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert held_by_checkpoint(tmp_path) == holder


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_examples(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes >= 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.model
@pytest.mark.parametrize("kind", ["dpo", "sft", "openings"])
@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_what_one_does(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    train(kind, checkpoint, tmp_path / "one")
    printed = ended(launched("tests.training.together", kind, checkpoint, tmp_path / "two", "0"))
    same_training(tmp_path / "one", tmp_path / "two")
    assert printed.count("training ━") == 1
    assert json.loads((tmp_path / "two" / "train_summary.json").read_text())["device"] == "2 × cpu float32"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
def test_two_processes_measure_each_row_once_and_both_know_all(checkpoint: Path, tmp_path: Path) -> None:
    """A row is measured by one of them, and the file, which the first writes, has them all."""
    alone, file = measure(checkpoint, tmp_path / "one.jsonl"), tmp_path / "two.jsonl"
    ended(launched("tests.training.together", "losses", checkpoint, file, "0"))
    rows = [row for _, row in read_jsonl(file)[0]]
    assert len(rows) == len(alone)
    assert {row["id"]: row["loss"] for row in rows} == pytest.approx(alone, abs=1e-4)
    # What they know they do not measure again: not one of them waits for another that does.
    written = file.read_text()
    ended(launched("tests.training.together", "losses", checkpoint, file, "0"))
    assert file.read_text() == written


@pytest.mark.model
@pytest.mark.parametrize("kind", ["dpo", "sft"])
@pytest.mark.usefixtures("one_thread")
def test_sharded_over_two_processes_a_model_trains_as_a_whole_one_does(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Shared prefixes included: the hooks of FSDP and of `SharedPrefix` get on."""
    gpus = (EXAMPLES / "fsdp.yaml").read_text()
    config = tmp_path / "fsdp.yaml"
    config.write_text(gpus.replace("num_processes: 8", "num_processes: 2") + "use_cpu: true\n")
    train(kind, checkpoint, tmp_path / "one")
    ended(launched("tests.training.sharded", kind, checkpoint, tmp_path / "two", "0", config=config))
    same_training(tmp_path / "one", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "train_summary.json").read_text())["shared_prefix"] == "on"


@pytest.mark.model
@pytest.mark.parametrize("kind", ["dpo", "sft"])
@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    """The others end, too, be it by the launcher's signal, and the same command goes on: also in the middle
    of a later epoch, whose order of micro-batches is another."""
    out = tmp_path / "out"
    process = launched("tests.training.together", kind, checkpoint, out, "0.3")
    before = log_when_killed(process, out)

    ended(launched("tests.training.together", kind, checkpoint, out, "0"))
    resumed = json.loads((out / "train_summary.json").read_text())["resumed_from"]
    assert resumed >= 4
    assert log_of(out)[:resumed] == before[:resumed], "finished steps were done again"
    train(kind, checkpoint, tmp_path / "unbroken")
    same_training(tmp_path / "unbroken", out)


@pytest.mark.model
def test_what_the_first_process_refuses_ends_all(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held(tmp_path / ".out.lock", "the other"):
        process = launched("tests.training.together", "sft", checkpoint, out, "0")
        printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert f"another process is running a training in {out}" in printed
    assert not (tmp_path / "out.part").exists()
