"""What training cannot take, or cannot go on with, is said in one clear line, and nothing is lost."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
)

from strop.agent.lock import held
from strop.tools.errors import DataError, ModelError, RunError, UsageError
from strop.training.adapter import lora, stacked_experts
from strop.training.datasets import PairRow
from strop.training.dpo import train_dpo
from tests.training.tiny import QUICK, VOCABULARY, log_of, pairs, tiny_checkpoint, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.model
def test_long_pairs_are_counted_and_named(checkpoint: Path, tmp_path: Path) -> None:
    rows = [*pairs(4), PairRow("endless", (5,) * 100, (6,), (7,))]
    summary = train_dpo(checkpoint, rows, tmp_path / "out", replace(QUICK, max_length=64, epochs=1))
    assert summary.examples == 4
    assert [(one.id, one.reason) for one in summary.refused] == [("endless", "101 ids, max_length is 64")]


@pytest.mark.model
def test_a_loss_that_is_no_number_stops_at_once(checkpoint: Path, tmp_path: Path) -> None:
    adapter = train_dpo(checkpoint, pairs(4), tmp_path / "sound", QUICK).adapter
    broken = {name: torch.full_like(value, torch.nan) for name, value in weights(adapter).items()}
    save_file(broken, adapter / "adapter_model.safetensors")
    with pytest.raises(RunError, match=r"the loss became nan in step 1: training stopped"):
        train_dpo(checkpoint, pairs(4), tmp_path / "out", QUICK, base_adapter=adapter)
    assert not (tmp_path / "out").exists()
    assert log_of(tmp_path / "out.part") == []


@pytest.mark.model
def test_a_full_disk_stops_with_one_line_and_keeps_what_was_there(checkpoint: Path, tmp_path: Path) -> None:
    often = replace(QUICK, save_steps=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the first checkpoint's weights are larger
    try:
        with pytest.raises(RunError, match=r"cannot write to .*out\.part.*checkpoints.*Make room there"):
            train_dpo(checkpoint, pairs(8), tmp_path / "out", often)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(log_of(tmp_path / "out.part")) == 2
    assert train_dpo(checkpoint, pairs(8), tmp_path / "out", often).steps == 4


@pytest.mark.model
@pytest.mark.parametrize("kept", [20_000, 60_000, 100_000])
def test_a_disk_that_fills_up_anywhere_in_a_checkpoint_stops_with_one_line(
    kept: int, checkpoint: Path, tmp_path: Path
) -> None:
    """The optimiser's file is larger than the weights', and torch says otherwise what safetensors says."""
    often = replace(QUICK, save_steps=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kept, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write to .*out\.part.*checkpoints.*Make room there"):
            train_dpo(checkpoint, pairs(8), tmp_path / "out", often)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.model
def test_two_at_once_on_one_adapter_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held(tmp_path / ".out.lock", "the other"), pytest.raises(RunError, match="another process"):
        train_dpo(checkpoint, pairs(2), out, QUICK)
    assert train_dpo(checkpoint, pairs(2), out, QUICK).examples == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_rank_beyond_the_models_width_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rank must be at most 32"):
        train_dpo(checkpoint, pairs(2), tmp_path / "out", replace(QUICK, rank=33))


def test_what_cannot_be_loaded_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ModelError, match=r"cannot load .*nothing for training"):
        train_dpo(tmp_path / "nothing", pairs(4), tmp_path / "out", QUICK)
    with pytest.raises(ModelError, match=r"nothing is no adapter"):
        train_dpo(checkpoint, pairs(4), tmp_path / "out", QUICK, base_adapter=tmp_path / "nothing")
    with pytest.raises(DataError, match="made with another model"):
        train_dpo(checkpoint, [PairRow("far", (1,), (900,), (2,))], tmp_path / "out", QUICK)


def test_a_model_without_linear_layers_is_named(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "old")
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "old")
    with pytest.raises(ModelError, match="gpt2 has no linear layers"):
        train_dpo(tmp_path / "old", pairs(4), tmp_path / "out", QUICK)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("llama", {"target_modules": ["q_proj", "lm_head"]}), ("qwen2", {"trainable_token_indices": [5]})],
)
def test_training_does_not_go_on_from_another_output_head(
    architecture: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    base = tiny_checkpoint(tmp_path / "base", architecture)
    config = LoraConfig(**{"r": 2, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], **changes})
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    with pytest.raises(ModelError, match="adapter changes the output head"):
        train_dpo(base, pairs(4), tmp_path / "out", QUICK, base_adapter=tmp_path / "adapter")


def test_rows_longer_than_the_model_takes_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [PairRow("endless", (5,) * 300, (6,), (7,))]
    with pytest.raises(DataError, match="1 rows are too long; endless: 301 ids, max_length is 256"):
        train_dpo(checkpoint, rows, tmp_path / "out", QUICK)
    assert "max_length is 256, what this model takes, not 2048" in capsys.readouterr().err


def test_experts_of_one_tensor_are_left_alone_with_the_layers_called_like_them() -> None:
    config = DeepseekV3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, first_k_dense_replace=1, kv_lora_rank=8, q_lora_rank=8, qk_nope_head_dim=8,
        qk_rope_head_dim=8, v_head_dim=8,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    assert stacked_experts(model)
    adapted = get_peft_model(model, lora(replace(QUICK, rank=4), model))
    names = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert names
    assert all("self_attn" in name for name in names)


def test_a_model_that_peft_refuses_is_named(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "mamba")
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path / "mamba")
    with pytest.raises(ModelError, match=r"cannot train mamba: .*incompatible"):
        train_dpo(tmp_path / "mamba", pairs(4), tmp_path / "out", QUICK)


@pytest.mark.model
def test_a_damaged_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    often = replace(QUICK, save_steps=1)

    def stop(row: Mapping[str, float]) -> None:
        if row["step"] == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        train_dpo(checkpoint, pairs(8), tmp_path / "out", often, on_log=stop)
    newest = max((tmp_path / "out.part").glob("checkpoint-*"))
    optimizer = newest / "optimizer.pt"
    optimizer.write_bytes(b"x" * optimizer.stat().st_size)
    with pytest.raises(RunError, match=r"newest checkpoint in .*out\.part cannot be read.*delete it"):
        train_dpo(checkpoint, pairs(8), tmp_path / "out", often)
    shutil.rmtree(newest)
    assert train_dpo(checkpoint, pairs(8), tmp_path / "out", often).steps == 4
