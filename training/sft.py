"""Supervised fine-tuning of a LoRA adapter on demonstrations, through TRL's trainer.

Loss is taken on the answer alone, its end-of-turn id included. Several answers to one prompt that meet in a
micro-batch compute the prompt once (`strop.training.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.agent.checkpoint import fingerprint
from strop.training.datasets import SftRow, usable
from strop.training.job import TrainJob, digest
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
) -> TrainSummary:
    """Train an adapter on `rows` and put it at `out`; arguments, resuming and errors as in `train_dpo`."""
    config = config or SftConfig()
    name = model_name or model_path.name
    with TrainJob.opened(out, _identity(model_path, rows, config, base_adapter)) as job:
        if job.finished:
            return job.summary()
        return _train(job, model_path, rows, config, base_adapter, name, on_log)


def _train(
    job: TrainJob,
    model_path: Path,
    rows: Sequence[SftRow],
    config: SftConfig,
    base_adapter: Path | None,
    name: str,
    on_log: OnLog | None,
) -> TrainSummary:
    from strop.training import adapter, trainers

    where = adapter.hardware(config.dtype)
    model = adapter.load_model(model_path, where, base_adapter=base_adapter)
    kept, refused = usable(rows, max_length=config.max_length, vocabulary=model.config.vocab_size)
    with trainers.clear_failures(job.work):
        trainer = demonstration_trainer(model, model_path, kept, config, job.work)
        shared = trainers.share_prefixes(trainer, config)
    start = trainers.fit(trainer, job, on_log)
    summary = trainers.summary(trainer, job, where, shared=shared, start=start, refused=refused)
    return trainers.finish(trainer, job, summary, base=model_path, name=name, profile=base_adapter)


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


def _identity(
    model_path: Path, rows: Sequence[SftRow], config: SftConfig, base_adapter: Path | None
) -> dict[str, Any]:
    return {
        "kind": "sft",
        "config": asdict(config),
        "model": fingerprint(model_path),
        "adapter": fingerprint(base_adapter) if base_adapter else None,
        "data": digest([row.prompt_ids, row.answer_ids] for row in rows),
    }
