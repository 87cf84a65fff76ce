"""Supervised fine-tuning of a LoRA adapter on demonstrations, through TRL's trainer.

Loss is taken on the answer alone, its end-of-turn id included. Several answers to one prompt that meet in a
micro-batch compute the prompt once (`strop.training.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.training.datasets import SftRow
from strop.training.job import Base, TrainJob, digest, identity
from strop.training.recipe import Recipe, TrainSummary

if TYPE_CHECKING:
    from strop.training.trainers import DemonstrationTrainer, OnLog

IGNORED = -100
"""TRL's label of ids no loss is taken on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig(Recipe):
    """How to train on demonstrations; the recipe as it stands."""


def train_sft(
    model_path: Path,
    rows: Sequence[SftRow],
    out: Path,
    config: SftConfig | None = None,
    *,
    base_adapter: Path | None = None,
    model_name: str | None = None,
    on_log: OnLog | None = None,
    screening: Mapping[str, Any] | None = None,
) -> TrainSummary:
    """Train an adapter on `rows` and put it at `out`; arguments, resuming and errors as in `train_dpo`."""
    config = config or SftConfig()
    data = digest([row.prompt_ids, row.answer_ids] for row in rows)
    with TrainJob.opened(out, identity("sft", asdict(config), data, model_path, base_adapter)) as job:
        if not job.finished:
            from strop.training import trainers

            base = Base(model_path, model_name or model_path.name, base_adapter)
            trainers.train(job, base, rows, config, demonstration_trainer, on_log, screening or {})
        return job.summary()


def demonstration_trainer(
    model: Any, model_path: Path, rows: Sequence[SftRow], config: SftConfig, work: Path
) -> DemonstrationTrainer:
    """TRL's SFT trainer over these rows; a new LoRA adapter is added to a model that has none."""
    from datasets import Dataset
    from trl import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from strop.training import adapter, trainers

    tokenizer = adapter.load_tokenizer(model_path)
    return trainers.DemonstrationTrainer(
        model=model,
        args=SFTConfig(**trainers.arguments(config, work, adapter.hardware(config.dtype), len(rows))),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_dict(
            {
                "input_ids": [[*row.prompt_ids, *row.answer_ids] for row in rows],
                "labels": [[IGNORED] * len(row.prompt_ids) + list(row.answer_ids) for row in rows],
            }
        ),
        processing_class=tokenizer,
        peft_config=None if hasattr(model, "peft_config") else adapter.lora(config, model),
    )
