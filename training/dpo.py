"""Preference optimisation of a LoRA adapter, DPO (arXiv 2305.18290) and its kin, through TRL's trainer.

`strop.training.objectives` says what can be minimised.

The ids that were sampled are the ids that are trained: nothing is tokenised again, no end-of-text token is
added to a cut-off answer, and the prompt of a pair is computed once (`strop.training.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.tools.bounds import require
from strop.tools.errors import UsageError
from strop.training.datasets import PairRow, SftRow
from strop.training.job import Base, TrainJob, digest, identity
from strop.training.objectives import objective, with_setting
from strop.training.recipe import OPEN, Recipe, TrainSummary
from strop.training.trackers import require_trackers
from strop.training.vocabulary import refuse_unlearnable

if TYPE_CHECKING:
    from strop.training.journal import OnLog
    from strop.training.trainers import PairTrainer


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig(Recipe):
    """How to train on preferences.

    Settings that are not given are filled in from the objective when the object is made, so that what is
    written down is whole. `dataclasses.replace` keeps them: for another objective's, make another object.
    Raises UsageError where a value is out of range, or given for an objective that does not have it.
    """

    objective: str = "dpo_sft"
    """What is minimised: a name in `strop.training.objectives.OBJECTIVES`."""
    beta: float = OPEN
    """How steep the loss is in the difference between two answers: for ``dpo``, ``dpo_norm`` and ``dpo_sft``
    the pull towards the reference, for ``ipo`` the paper's τ, for ``orpo`` the weight λ of the odds ratio."""
    gamma: float | None = None
    """``simpo`` and ``itool``: by how much rewards are to differ, 0 or more; None for the others."""
    sft_weight: float | None = None
    """``dpo_sft``: weight of the chosen answer's negative log-likelihood a token, 0 or more; None for the
    others."""
    learning_rate: float = OPEN
    """Peak of the schedule; preferences want a lower one than demonstrations."""
    epochs: float = OPEN
    """Times every pair is seen; may be a fraction."""
    rank: int = OPEN
    """Of the adapter; ignored where training goes on from an existing one."""

    def __post_init__(self) -> None:
        chosen = objective(self.objective)
        for name in ("gamma", "sft_weight"):
            if getattr(self, name) is not None and name not in chosen.own:
                having = " and ".join(with_setting(name))
                raise UsageError(f"{name} is no setting of objective {self.objective!r}, only of {having}")
        for name, default in chosen.defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        # Named, because a slotted dataclass is another class than the one `super()` remembers.
        Recipe.__post_init__(self)
        bounds = (
            ("beta", self.beta > 0, "above 0"),
            ("gamma", self.gamma is None or self.gamma >= 0, "0 or more"),
            ("sft_weight", self.sft_weight is None or self.sft_weight >= 0, "0 or more"),
        )
        require(self, bounds)

    @property
    def likelihood(self) -> float:
        """Weight of the chosen answer's negative log-likelihood a token."""
        return objective(self.objective).likelihood if self.sft_weight is None else self.sft_weight


def train_dpo(
    model_path: Path,
    pairs: Sequence[PairRow],
    out: Path,
    config: DpoConfig | None = None,
    *,
    base_adapter: Path | None = None,
    model_name: str | None = None,
    on_log: OnLog | None = None,
    track: Collection[str] = (),
    screening: Mapping[str, Any] | None = None,
) -> TrainSummary:
    """Train an adapter on `pairs` and put it at `out`, ready for peft and vLLM.

    Goes on from the adapter `base_adapter` where one is given; it is then the reference, too. A call that was
    killed goes on from its last checkpoint in ``OUT.part`` when it is made again, and one that had finished
    returns at once. `model_name` is recorded as the adapter's base model (default: the directory's name).
    `on_log` is given every row of the log, trackers `track` (`strop.training.trackers`) what they ask for.
    `screening`, what the data were compared with, goes into the summary.

    Where a launcher has started several processes, all make this call, and train together
    (`strop.training.ranks`).

    Raises DataError where no pair fits or the ids are another model's, ModelError where the model or adapter
    cannot be loaded, UsageError where `out` holds something else, RunError where disk, memory or the loss
    gives out.
    """
    require_trackers(track)
    config = config or DpoConfig()
    data = digest([pair.prompt_ids, pair.chosen_ids, pair.rejected_ids] for pair in pairs)
    with TrainJob.opened(out, identity("dpo", config.decides(), data, model_path, base_adapter)) as job:
        if not job.finished:
            from strop.training import trainers

            refuse_unlearnable(
                model_path, [SftRow(pair.id, pair.prompt_ids, pair.chosen_ids) for pair in pairs]
            )

            base = Base(model_path, model_name or model_path.name, base_adapter)
            trainers.train(job, base, pairs, config, pair_trainer, on_log, track, screening or {})
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
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from strop.training import adapter, reference_free, trainers

    tokenizer = adapter.load_tokenizer(model_path)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    parts: dict[str, Any] = {
        "model": model,
        "args": arguments or _arguments(config, work, len(pairs)),
        "data_collator": DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
        "train_dataset": Dataset.from_dict(
            {key: [list(getattr(pair, key)) for pair in pairs] for key in columns}
        ),
        "processing_class": tokenizer,
        "peft_config": None if hasattr(model, "peft_config") else adapter.lora(config, model),
    }
    chosen = objective(config.objective)
    if chosen.reference:
        return trainers.PairTrainer(**parts)
    term = reference_free.TERMS[chosen.loss]
    return reference_free.ReferenceFreeTrainer(**parts, term=term, config=config)


def _arguments(config: DpoConfig, work: Path, pairs: int) -> Any:
    """The configuration in TRL's words; the terms of a loss without a reference are not among them."""
    from trl import DPOConfig

    from strop.training import adapter, trainers

    chosen = objective(config.objective)
    losses = {chosen.loss: 1.0} if chosen.reference else {}
    if config.likelihood or not losses:
        losses["sft"] = config.likelihood
    return DPOConfig(
        **trainers.arguments(config, work, adapter.hardware(config.dtype), pairs),
        beta=config.beta,
        loss_type=list(losses),
        loss_weights=list(losses.values()),
    )
