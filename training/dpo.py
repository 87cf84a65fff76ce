"""Direct preference optimisation (arXiv 2305.18290) of a LoRA adapter, through TRL's trainer.

The ids that were sampled are the ids that are trained: nothing is tokenised again, no end-of-text token is
added to a cut-off answer, and the prompt of a pair is computed once (`strop.training.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.tools.errors import UsageError
from strop.training.datasets import PairRow
from strop.training.job import Base, TrainJob, digest, identity
from strop.training.recipe import Recipe, TrainSummary

if TYPE_CHECKING:
    from strop.training.trainers import OnLog, PairTrainer

LOSSES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "nca_pair", "apo_zero", "apo_down", "sft")
"""TRL's names of the losses that need nothing but a beta, and do not depend on a batch's other pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig(Recipe):
    """How to train on preferences."""

    learning_rate: float = 2e-5
    """Peak of the schedule; preferences want a lower one than demonstrations."""
    beta: float = 0.1
    """Strength of the pull towards the reference."""
    losses: tuple[tuple[str, float], ...] = (("sigmoid", 1.0), ("sft", 0.2))
    """Names of `LOSSES` and their weights; ``sft`` is the chosen answer's negative log-likelihood a token."""

    def __post_init__(self) -> None:
        # Named, because a slotted dataclass is another class than the one `super()` remembers.
        Recipe.__post_init__(self)
        if not self.beta > 0:
            raise UsageError(f"beta must be above 0, got {self.beta}")
        unknown = [name for name, _ in self.losses if name not in LOSSES]
        if unknown:
            raise UsageError(f"losses: no loss called {unknown[0]!r}; there are {', '.join(LOSSES)}")
        if not self.losses or any(weight < 0 for _, weight in self.losses):
            raise UsageError(
                f"losses must name at least one loss, none with a weight below 0, got {self.losses}"
            )


def train_dpo(
    model_path: Path,
    pairs: Sequence[PairRow],
    out: Path,
    config: DpoConfig | None = None,
    *,
    base_adapter: Path | None = None,
    model_name: str | None = None,
    on_log: OnLog | None = None,
) -> TrainSummary:
    """Train an adapter on `pairs` and put it at `out`, ready for peft and vLLM.

    Goes on from the adapter `base_adapter` where one is given; it is then the reference, too. A call that was
    killed goes on from its last checkpoint in ``OUT.part`` when it is made again, and one that had finished
    returns at once. `model_name` is recorded as the adapter's base model (default: the directory's name).
    `on_log` is given every row of the log.

    Raises DataError where no pair fits or the ids are another model's, ModelError where the model or adapter
    cannot be loaded, UsageError where `out` holds something else, RunError where disk, memory or the loss
    gives out.
    """
    config = config or DpoConfig()
    data = digest([pair.prompt_ids, pair.chosen_ids, pair.rejected_ids] for pair in pairs)
    with TrainJob.opened(out, identity("dpo", asdict(config), data, model_path, base_adapter)) as job:
        if not job.finished:
            from strop.training import trainers

            base = Base(model_path, model_name or model_path.name, base_adapter)
            trainers.train(job, base, pairs, config, pair_trainer, on_log)
        return job.summary()


def pair_trainer(
    model: Any,
    model_path: Path,
    pairs: Sequence[PairRow],
    config: DpoConfig,
    work: Path,
    *,
    arguments: Any = None,
) -> PairTrainer:
    """TRL's DPO trainer over these pairs; a new LoRA adapter is added to a model that has none.

    Checkpoints go to `work`. `arguments`, a trl.DPOConfig, takes the place of what `config` says.
    """
    from datasets import Dataset
    from trl import DPOConfig
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from strop.training import adapter, trainers

    tokenizer = adapter.load_tokenizer(model_path)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    ours = trainers.arguments(config, work, adapter.hardware(config.dtype), len(pairs))
    return trainers.PairTrainer(
        model=model,
        args=arguments
        or DPOConfig(
            **ours,
            beta=config.beta,
            loss_type=[name for name, _ in config.losses],
            loss_weights=[weight for _, weight in config.losses],
        ),
        data_collator=DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_dict(
            {key: [list(getattr(pair, key)) for pair in pairs] for key in columns}
        ),
        processing_class=tokenizer,
        peft_config=None if hasattr(model, "peft_config") else adapter.lora(config, model),
    )
