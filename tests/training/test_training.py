"""Adapters train, resume after SIGKILL, load elsewhere, and fail with one clear line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM

from strop.agent.profile import Profile, read_profile
from strop.tools.errors import UsageError
from strop.training.datasets import IGNORED, PairRow
from strop.training.dpo import DpoConfig, train_dpo
from strop.training.sft import SftConfig, train_sft
from strop.training.weighting import answer_weights
from tests.training.killed import train
from tests.training.tiny import QUICK, demonstrations, log_of, pairs, weights

pytestmark = pytest.mark.usefixtures("one_thread")


def test_dpo_learns_the_preferences_and_leaves_a_whole_adapter(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    summary = train_dpo(
        checkpoint,
        pairs(12),
        tmp_path / "out",
        replace(QUICK, epochs=4),
        model_name="tiny",
        on_log=lambda row: seen.append(row["loss"]),
    )
    assert sorted(path.name for path in summary.adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "strop.json",
        "train_log.jsonl",
        "train_summary.json",
    ]
    assert read_profile(summary.adapter) == Profile(call_format="fenced_json")
    config = json.loads((summary.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert str(tmp_path) not in json.dumps(config)
    layers = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert config["target_modules"] == layers
    rows = log_of(summary.adapter)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["loss"] for row in rows] == seen
    assert {"margin", "accuracy", "lr", "seconds"} <= rows[0].keys()
    assert rows[-1]["margin"] > 0.5
    assert rows[-1]["accuracy"] == 1.0
    assert (summary.steps, summary.examples, summary.shared_prefix) == (12, 12, "on")
    assert not (tmp_path / "out.part").exists()


def test_the_adapter_loads_in_peft_and_prefers_what_was_chosen(checkpoint: Path, tmp_path: Path) -> None:
    out = train_dpo(checkpoint, pairs(6), tmp_path / "out", replace(QUICK, epochs=8)).adapter
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    before = [margin(base, pair) for pair in pairs(6)]
    tuned = PeftModel.from_pretrained(base, out)
    after = [margin(tuned, pair) for pair in pairs(6)]
    assert all(late > early for early, late in zip(before, after, strict=True))


def of_one_prompt(count: int) -> list[PairRow]:
    return [replace(pair, prompt_ids=pairs(1)[0].prompt_ids) for pair in pairs(count, seed=8)]


def margin(model: torch.nn.Module, pair: PairRow) -> float:
    """log p(chosen) − log p(rejected)."""
    answers = (pair.chosen_ids, pair.rejected_ids)
    chosen, rejected = (log_probability(model, pair.prompt_ids, answer) for answer in answers)
    return chosen - rejected


def log_probability(model: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    tokens = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        scores = model(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    return float(scores.gather(1, tokens[0, 1:, None])[len(prompt) - 1 :].sum())


@pytest.mark.model
def test_the_sampled_ids_are_the_trained_ids(checkpoint: Path, tmp_path: Path) -> None:
    """Before anything is learned, log-probabilities are those of exactly these ids: no end added."""
    (pair,) = pairs(1)
    train_dpo(checkpoint, [pair], tmp_path / "out", replace(QUICK, batch_size=1, epochs=1))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    (row,) = log_of(tmp_path / "out")
    chosen = log_probability(model, pair.prompt_ids, pair.chosen_ids)
    rejected = log_probability(model, pair.prompt_ids, pair.rejected_ids)
    assert (row["logp_chosen"], row["logp_rejected"]) == pytest.approx((chosen, rejected), abs=1e-4)


@pytest.mark.model
def test_going_on_from_an_adapter_makes_it_the_reference(checkpoint: Path, tmp_path: Path) -> None:
    first = train_dpo(checkpoint, pairs(8), tmp_path / "first", QUICK).adapter
    second = train_dpo(checkpoint, pairs(8), tmp_path / "second", QUICK, base_adapter=first).adapter
    start = log_of(second)[0]
    assert start["margin"] == pytest.approx(0.0, abs=1e-4)
    assert start["logp_chosen"] > log_of(first)[0]["logp_chosen"]
    assert sorted(weights(second)) == sorted(weights(first))
    assert all(not torch.equal(weights(second)[name], one) for name, one in weights(first).items())
    assert read_profile(second) == Profile(call_format="fenced_json")


def test_sft_lowers_the_loss_on_the_answers(checkpoint: Path, tmp_path: Path) -> None:
    config = SftConfig(
        dtype="float32", learning_rate=5e-3, batch_size=4, micro_batch_size=2, epochs=12, save_steps=50
    )
    summary = train_sft(checkpoint, demonstrations(8), tmp_path / "out", config)
    rows = log_of(summary.adapter)
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["token_accuracy"] > rows[0]["token_accuracy"]
    assert summary.shared_prefix == "on"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0, 1), st.integers(1, 5))
def test_every_answer_weighs_the_same_and_its_opening_its_share(
    lengths: list[int], share: float, opening: int
) -> None:
    labels = torch.full((len(lengths), 14), IGNORED)
    for row, length in enumerate(lengths):
        labels[row, 3 : 3 + length] = 7
    weights = answer_weights(labels, share, opening)
    assert weights.sum(dim=1).tolist() == pytest.approx([1.0] * len(lengths))
    openings = [1.0 if length <= opening else share for length in lengths]
    assert weights[:, 2 : 2 + opening].sum(dim=1).tolist() == pytest.approx(openings)
    assert weights[:, 2].tolist() == pytest.approx(
        [whole / min(length, opening) for whole, length in zip(openings, lengths, strict=True)]
    )
    assert bool((weights[labels[:, 1:] == IGNORED] == 0).all())


@pytest.mark.model
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_the_weighted_loss_is_a_mean_over_answers_however_they_are_batched(
    micro: int, checkpoint: Path, tmp_path: Path
) -> None:
    rows = demonstrations(4)
    rows[0] = replace(rows[0], answer_ids=(*rows[0].answer_ids, 9, 8, 7, 6, 5))
    config = SftConfig(
        dtype="float32",
        batch_size=4,
        micro_batch_size=micro,
        opening_share=0.4,
        opening_ids=1,
        learning_rate=1e-6,
    )
    (step,) = log_of(train_sft(checkpoint, rows, tmp_path / "out", config).adapter)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    losses = []
    for row in rows:
        first = -log_probability(model, row.prompt_ids, row.answer_ids[:1])
        whole = -log_probability(model, row.prompt_ids, row.answer_ids)
        losses.append(0.4 * first + 0.6 * (whole - first) / (len(row.answer_ids) - 1))
    assert step["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(UsageError, match="opening_share"):
        SftConfig(opening_share=1.5)
    with pytest.raises(UsageError, match="opening_ids"):
        SftConfig(opening_ids=0)


@pytest.mark.model
@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_sft_and_dpo_are_the_same_with_and_without_sharing(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Whole trainings, optimiser and all, share one trajectory."""
    curves = []
    for shared in (True, False):
        out = tmp_path / f"shared-{shared}"
        settings = {
            "learning_rate": 1e-3,
            "batch_size": 4,
            "micro_batch_size": 4,
            "shared_prefix": shared,
            "dtype": "float32",
        }
        if kind == "dpo":
            train_dpo(checkpoint, [*pairs(9), *of_one_prompt(3)], out, DpoConfig(**settings))  # type: ignore[arg-type]  # mixed values
        else:
            train_sft(checkpoint, demonstrations(12), out, SftConfig(**settings))  # type: ignore[arg-type]  # mixed values
        curves.append([row["loss"] for row in log_of(out)])
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


@pytest.mark.model
def test_recomputing_activations_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    curves = []
    for recompute in (True, False):
        out = tmp_path / f"recompute-{recompute}"
        train_dpo(checkpoint, pairs(4), out, replace(QUICK, gradient_checkpointing=recompute))
        curves.append([row["loss"] for row in log_of(out)])
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)


@pytest.mark.model
@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_a_killed_training_goes_on_where_it_was(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.killed", kind, str(checkpoint), str(out), "0.15"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / "killed.part"
    wait_for(part / "checkpoint-4" / "whole.json", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    before = log_of(part)
    newest = max(int(mark.parent.name.rpartition("-")[2]) for mark in part.glob("checkpoint-*/whole.json"))

    summary = train(kind, checkpoint, out)
    rows = log_of(out)
    assert summary.resumed_from == newest
    assert rows[:newest] == before[:newest], "finished steps were done again"
    assert [row["step"] for row in rows] == list(range(1, 11))

    train(kind, checkpoint, tmp_path / "unbroken")
    unbroken = log_of(tmp_path / "unbroken")
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in unbroken], abs=1e-5)
    for name, value in weights(tmp_path / "unbroken").items():
        torch.testing.assert_close(weights(out)[name], value)


@pytest.mark.model
@pytest.mark.parametrize("objective", ["dpo_sft", "simpo"])
def test_an_interrupted_second_round_goes_on_from_its_own_weights(
    objective: str, checkpoint: Path, tmp_path: Path
) -> None:
    first = train_dpo(checkpoint, pairs(8), tmp_path / "first", QUICK).adapter
    config = DpoConfig(
        objective=objective, learning_rate=1e-3, batch_size=4, epochs=3, save_steps=1, dtype="float32"
    )
    unbroken = train_dpo(checkpoint, pairs(8), tmp_path / "unbroken", config, base_adapter=first).adapter

    def interrupt(row: Mapping[str, float]) -> None:
        if row["step"] == 4:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_dpo(checkpoint, pairs(8), out, config, base_adapter=first, on_log=interrupt)
    summary = train_dpo(checkpoint, pairs(8), out, config, base_adapter=first)
    assert summary.resumed_from == 3
    for name, value in weights(unbroken).items():
        torch.testing.assert_close(weights(out)[name], value)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.model
def test_a_finished_training_is_not_done_again(checkpoint: Path, tmp_path: Path) -> None:
    first = train_dpo(checkpoint, pairs(4), tmp_path / "out", QUICK)
    calls: list[object] = []
    assert train_dpo(checkpoint, pairs(4), tmp_path / "out", QUICK, on_log=calls.append) == first
    assert calls == []
    with pytest.raises(UsageError, match="holds something else already"):
        train_dpo(checkpoint, pairs(5), tmp_path / "out", QUICK)


@pytest.mark.model
def test_a_training_goes_on_in_the_number_format_it_began_with(checkpoint: Path, tmp_path: Path) -> None:
    """What ``auto`` means is another on another machine; its reference and steps are of the first."""
    as_it_comes = replace(QUICK, dtype="auto", save_steps=1)

    def stop(row: Mapping[str, float]) -> None:
        if row["step"] == 2:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        train_dpo(checkpoint, pairs(8), tmp_path / "out", as_it_comes, on_log=stop)
    mark = tmp_path / "out.part" / "job.json"
    begun = json.loads(mark.read_text())
    other = "float32" if begun["dtype"] == "bfloat16" else "bfloat16"
    mark.write_text(json.dumps(begun | {"dtype": other}))
    assert train_dpo(checkpoint, pairs(8), tmp_path / "out", as_it_comes).device == f"cpu {other}"


@pytest.mark.model
def test_a_part_of_an_epoch_is_not_trained_on_beyond_its_end(checkpoint: Path, tmp_path: Path) -> None:
    half = replace(QUICK, epochs=0.5, save_steps=2)

    def stop(row: Mapping[str, float]) -> None:
        if row["step"] == 2:
            raise RuntimeError("stopped")

    whole = train_dpo(checkpoint, pairs(16), tmp_path / "whole", half)
    with pytest.raises(RuntimeError, match="stopped"):
        train_dpo(checkpoint, pairs(16), tmp_path / "out", half, on_log=stop)
    assert train_dpo(checkpoint, pairs(16), tmp_path / "out", half).steps == whole.steps == 2
