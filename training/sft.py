"""Supervised fine-tuning of a LoRA adapter on demonstrations, through TRL's trainer.

Loss is taken on the answer alone, its end-of-turn id included. Several answers to one prompt that meet in a
micro-batch compute the prompt once (`strop.training.shared_prefix`).

By default every id weighs the same, as in TRL. Whether to call a tool at all is then one id among the dozens
of an answer, and hardly learned; `SftConfig.opening_share` weighs answers alike, and their openings more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.agent.loading import weights_of
from strop.agent.profile import Profile
from strop.tools.bounds import require
from strop.tools.files import JsonlWriter, read_jsonl
from strop.training.datasets import IGNORED, SftRow
from strop.training.job import Base, TrainJob, digest, identity
from strop.training.ranks import Ranks
from strop.training.recipe import Recipe, TrainSummary
from strop.training.trackers import require_trackers
from strop.training.vocabulary import refuse_unlearnable

if TYPE_CHECKING:
    from strop.training.journal import OnLog
    from strop.training.trainers import DemonstrationTrainer


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig(Recipe):
    """How to train on demonstrations. Raises UsageError where a value is out of range."""

    opening_share: float | None = None
    """Part of an answer's weight that its opening has; its other ids share the rest, and every answer weighs
    the same. None: every id weighs the same, as in TRL."""
    opening_ids: int = 4
    """How many ids an opening is: at the first, calls part from prose; within four, one call from a list of
    them, as the embedded model writes them."""

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # a dataclass with slots has no argumentless super()
        share = self.opening_share
        bounds = (
            ("opening_share", share is None or 0 <= share <= 1, "in [0, 1]"),
            ("opening_ids", self.opening_ids >= 1, "at least 1"),
        )
        require(self, bounds)


def train_sft(
    model_path: Path,
    rows: Sequence[SftRow],
    out: Path,
    config: SftConfig | None = None,
    *,
    base_adapter: Path | None = None,
    model_name: str | None = None,
    teaches: Profile | None = None,
    on_log: OnLog | None = None,
    track: Collection[str] = (),
    screening: Mapping[str, Any] | None = None,
) -> TrainSummary:
    """Train an adapter on `rows` and put it at `out`; arguments, resuming and errors as in `train_dpo`.

    `teaches` is what the rows teach the model about how it talks, a stop token for one: it is saved with the
    adapter, over what is known of the model, and whatever serves the adapter takes it from there. Raises
    DataError, too, where an answer has a token that an adapter cannot learn (`strop.training.vocabulary`).
    """
    require_trackers(track)
    config = config or SftConfig()
    data = digest([row.prompt_ids, row.answer_ids] for row in rows)
    what = identity("sft", config.decides(), data, model_path, base_adapter)
    if teaches is not None:
        what["teaches"] = asdict(teaches)
    with TrainJob.opened(out, what) as job:
        if not job.finished:
            from strop.training import trainers

            refuse_unlearnable(model_path, rows)
            base = Base(model_path, model_name or model_path.name, base_adapter, teaches)
            trainers.train(job, base, rows, config, demonstration_trainer, on_log, track, screening or {})
        return job.summary()


def measure_loss(
    base: Base, rows: Sequence[SftRow], kept: Path, config: SftConfig, *, together: int = 8
) -> dict[str, float]:
    """The policy's mean negative log-likelihood an answer id, in nats, of each row by its id.

    The policy is that of `base`, its adapter included. What is known is kept in the file `kept` and not
    computed again. At most `together` rows with a common beginning are computed at once; several processes
    share the work. Raises what `train_sft` raises.
    """
    ranks = Ranks.here()
    policy = weights_of(base.path, base.adapter)
    keys = {row.id: digest([[policy, row.prompt_ids, row.answer_ids]]) for row in rows}
    known = ranks.from_first(lambda: _losses_in(kept))
    missing = [row for row in rows if keys[row.id] not in known]
    if missing:
        from strop.training import trainers

        unbounded = replace(config, max_length=max(config.max_length, *(row.length for row in missing)))
        with JsonlWriter(kept) if ranks.first else nullcontext() as file:
            for row, loss in trainers.losses(base, missing, unbounded, demonstration_trainer, together, kept):
                known[keys[row.id]] = loss
                if file is not None:
                    file.write({"row": keys[row.id], "id": row.id, "loss": loss})
    return {row.id: known[keys[row.id]] for row in rows}


def _losses_in(kept: Path) -> dict[str, float]:
    """Losses measured before, by what they are of."""
    return {row["row"]: row["loss"] for _, row in read_jsonl(kept)[0]} if kept.exists() else {}


def demonstration_trainer(
    model: Any, model_path: Path, rows: Sequence[SftRow], config: SftConfig, work: Path
) -> DemonstrationTrainer:
    """TRL's SFT trainer over these rows; a new LoRA adapter is added to a model that has none."""
    from datasets import Dataset
    from trl import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from strop.training import adapter, trainers

    tokenizer = adapter.load_tokenizer(model_path)
    trainer = trainers.DemonstrationTrainer(
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
    trainer.opening = None if config.opening_share is None else (config.opening_share, config.opening_ids)
    return trainer
