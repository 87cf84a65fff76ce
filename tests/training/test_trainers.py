"""What the trainers make of the machine they find and of the checkpoint they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Gemma3Config, Gemma3ForConditionalGeneration
from trl import DPOConfig, SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from strop.tools.errors import DataError
from strop.training.adapter import load_model, load_tokenizer, lora
from strop.training.datasets import SftRow
from strop.training.dpo import DpoConfig, pair_trainer, train_dpo
from strop.training.job import Base
from strop.training.recipe import Recipe
from strop.training.sft import SftConfig as Settings
from strop.training.sft import measure_loss, train_sft
from strop.training.trainers import DemonstrationTrainer, arguments
from tests.training.tiny import CPU, PAD, VOCABULARY, demonstrations, pairs, tiny_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def seen_by_one_process(gpus: int, kind: Any, recipe: Recipe, work: Path) -> Any:
    """TRL's settings as transformers fills them in on a machine with so many GPUs."""
    settings = kind(**arguments(recipe, work, CPU, 4))
    settings._n_gpu = gpus
    return settings


@pytest.mark.parametrize("objective", ["dpo", "simpo"])
def test_of_several_gpus_one_process_takes_one_for_pairs(objective: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    config = DpoConfig(objective=objective, batch_size=4, micro_batch_size=2, dtype="float32")
    settings = seen_by_one_process(2, DPOConfig, config, tmp_path)
    trainer = pair_trainer(
        load_model(checkpoint, CPU), checkpoint, pairs(4), config, tmp_path, arguments=settings
    )
    assert trainer.args.n_gpu == 1
    assert trainer.args.train_batch_size == 2, "a batch was made wider for GPUs that are not used"


def test_of_several_gpus_one_process_takes_one_for_demonstrations(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    model, recipe = load_model(checkpoint, CPU), Settings(dtype="float32")
    trainer = DemonstrationTrainer(
        model=model,
        args=seen_by_one_process(2, SFTConfig, recipe, tmp_path),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=PAD),
        train_dataset=Dataset.from_dict({"input_ids": [[4, 5, 6]], "labels": [[-100, 5, 6]]}),
        processing_class=load_tokenizer(checkpoint),
        peft_config=lora(recipe, model),
    )
    assert trainer.args.n_gpu == 1
    assert trainer.args.train_batch_size == 1


def test_a_cpu_stays_without_gpus(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    config = DpoConfig(batch_size=4, dtype="float32")
    trainer = pair_trainer(
        load_model(checkpoint, CPU),
        checkpoint,
        pairs(4),
        config,
        tmp_path,
        arguments=seen_by_one_process(0, DPOConfig, config, tmp_path),
    )
    assert trainer.args.n_gpu == 0


def seeing_checkpoint(directory: Path) -> Path:
    """A random Gemma 3 that has eyes, too: what its configuration says of text stands in a part of it."""
    tiny_checkpoint(directory)
    torch.manual_seed(7)
    config = Gemma3Config(
        text_config={
            "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": PAD,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=60,
        boi_token_index=61,
        eoi_token_index=62,
    )  # fmt: skip
    Gemma3ForConditionalGeneration(config).save_pretrained(directory)
    return directory


@pytest.mark.model
def test_a_model_that_sees_is_trained_on_text(tmp_path: Path) -> None:
    checkpoint = seeing_checkpoint(tmp_path / "gemma")
    recipe, rows = Settings(batch_size=4, dtype="float32"), demonstrations(4)
    before = measure_loss(Base(checkpoint, "gemma", None), rows, tmp_path / "losses.jsonl", recipe)
    assert len(before) == 4
    assert train_sft(checkpoint, rows, tmp_path / "sft", recipe).examples == 4
    preferred = DpoConfig(batch_size=4, dtype="float32")
    assert train_dpo(checkpoint, pairs(4), tmp_path / "dpo", preferred).examples == 4
    with pytest.raises(DataError, match=f"vocabulary ends at {VOCABULARY - 1}"):
        train_sft(checkpoint, [SftRow("far", (1,), (VOCABULARY,))], tmp_path / "far", recipe)
