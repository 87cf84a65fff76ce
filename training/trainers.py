"""The trainers themselves: TRL's, on token ids as they are, with a log, whole checkpoints and clear failures.

The edge that imports trl and transformers' Trainer. `strop.training.dpo` and `strop.training.sft` say what
each does; here is what both share.
"""

from __future__ import annotations

import math
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOTrainer, SFTTrainer

from strop.agent.profile import read_profile, write_profile
from strop.tools.errors import ModelError, RunError, UsageError
from strop.tools.files import JsonlWriter
from strop.training.adapter import (
    Hardware,
    hardware,
    load_model,
    longest_row,
    save_adapter,
    stacked_experts,
    vocabulary_size,
)
from strop.training.datasets import IGNORED, Row, usable
from strop.training.failures import MEASURING, clear_failures
from strop.training.job import Base, TrainJob, step_of
from strop.training.journal import Journal, OnLog
from strop.training.neighbours import GroupedOrder, groups, slices
from strop.training.progress import bar, say
from strop.training.ranks import Ranks
from strop.training.recipe import Recipe, Refused, TrainSummary
from strop.training.sharding import is_sharded, require_same_holding, still_whole, whole_weights
from strop.training.shared_prefix import share_prefixes
from strop.training.trackers import watch
from strop.training.weighting import answer_weights, one_label_each

AnyRow = TypeVar("AnyRow", bound=Row)
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


class _AsTheyAre:
    """What both trainers do differently from TRL's: no tokenising, no telemetry, no model card, no NaN."""

    state: Any
    args: Any
    train_dataset: Any
    processing_class: Any
    _order: GroupedOrder | None = None
    """Of micro-batches of more than one row."""

    def __init__(self, *, args: Any, **others: Any):
        if Ranks.here().world == 1 and args.n_gpu > 1:
            # transformers would share a batch out to every GPU it sees (nn.DataParallel), which TRL refuses;
            # several GPUs are for as many processes. Before the rest: what a batch is depends on it.
            args._n_gpu = 1
        super().__init__(args=args, **others)  # type: ignore[call-arg]  # TRL's, by the mro

    def _prepare_dataset(self, dataset: Dataset, *_args: Any, **_kwargs: Any) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        """Nothing is reported to anyone."""

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """Checkpoints are for resuming, not for readers."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        if self.args.per_device_train_batch_size == 1:
            return super()._get_train_sampler(*args, **kwargs)  # type: ignore[misc]  # TRL's, by the mro
        lengths = [len(sequence) for sequence in self._sequences()]
        width = self.args.per_device_train_batch_size
        self._order = GroupedOrder(self.groups(), lengths, self.args.seed, width)
        return self._order

    def _run_epoch(self, model: Any, epoch: int, *args: Any, **kwargs: Any) -> Any:
        # Where several processes go on within an epoch, nobody else tells the order which one it is: it lies
        # deeper among their samplers than transformers and accelerate look.
        if self._order is not None:
            self._order.set_epoch(epoch)
        if self.state.global_step >= self.state.max_steps:
            return None  # gone on from the last checkpoint: transformers would do one more step of this epoch
        return super()._run_epoch(model, epoch, *args, **kwargs)  # type: ignore[misc]  # TRL's, by the mro

    def prepare(self, _job: TrainJob, *, together: int) -> float:  # noqa: ARG002  # what PairTrainer needs it for
        """What is to be done before the first step; returns the seconds it took."""
        return 0.0

    def groups(self) -> list[list[int]]:
        """Rows of the training data that share their beginning, those without their kind included."""
        return groups(self._sequences())

    def _sequences(self) -> list[list[int]]:
        """The prompts of pairs; of demonstrations, prompt and answer."""
        column = "prompt_ids" if "prompt_ids" in self.train_dataset.column_names else "input_ids"
        return list(self.train_dataset[column])

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]  # TRL's, by the mro
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss became {float(loss)} in step {self.state.global_step + 1}: training stopped, and "
                "the checkpoints before it are kept. Try a lower learning rate or a longer warm-up"
            )
        return loss


class PairTrainer(_AsTheyAre, DPOTrainer):  # type: ignore[misc]  # TRL is untyped here
    """Preferences on rows of prompt_ids, chosen_ids and rejected_ids, none of them touched."""

    def prepare(self, job: TrainJob, *, together: int) -> float:
        if is_sharded(self):
            if "ref" in self.model.peft_config:
                raise UsageError(
                    "FSDP and DeepSpeed cannot go on from an adapter: train with the whole model in every "
                    "process (DDP), or with an objective without a reference"
                )
            return 0.0  # no process has the whole model: every step computes its reference with LoRA off
        return self.attach_reference(job, together=together)

    def attach_reference(self, job: TrainJob, *, together: int = 1) -> float:
        """Give each pair its reference log-probabilities, after adding to the job's those that are missing.

        The reference is the model as it is before training. At most `together` pairs with a common beginning
        are computed at once, and by each process its share. Returns the seconds it took.
        """
        started = time.monotonic()
        known, ranks = job.reference(), job.ranks
        missing = [[row for row in group if row not in known] for group in self.groups()]
        ranks.wait()  # until all have read what there is, for all are to share out the same
        share = list(slices(missing, together))[ranks.rank :: ranks.world]
        with JsonlWriter(job.reference_path) as file, bar("reference", sum(map(len, share))) as advance:
            for rows in share:
                for row, (chosen, rejected) in zip(rows, self._reference(rows), strict=True):
                    file.write({"row": row, "chosen": chosen, "rejected": rejected})
                advance(len(rows))
        ranks.wait()
        known = job.reference()
        columns = [known[row] for row in range(len(self.train_dataset))]
        dataset = self.train_dataset.add_column("ref_chosen_logps", [chosen for chosen, _ in columns])
        self.train_dataset = dataset.add_column("ref_rejected_logps", [rejected for _, rejected in columns])
        self.precompute_ref_logps = True
        self.forget_reference()
        return time.monotonic() - started

    def forget_reference(self) -> None:
        """Drop TRL's copy of the adapter that training goes on from.

        In a checkpoint its mere presence keeps transformers from restoring the adapter that is being trained.
        """
        if "ref" in getattr(self.model, "peft_config", {}):
            self.model.delete_adapter("ref")

    def _reference(self, rows: Sequence[int]) -> list[tuple[float, float]]:
        batch = self._prepare_inputs(self.data_collator([self.train_dataset[row] for row in rows]))
        self.model.eval()
        chosen, rejected = self.compute_ref_log_probs(self.model, batch)
        return list(zip(chosen.tolist(), rejected.tolist(), strict=True))


class DemonstrationTrainer(_AsTheyAre, SFTTrainer):  # type: ignore[misc]  # TRL is untyped here
    """SFT on rows of input_ids and labels, none of them touched."""

    opening: tuple[float, int] | None = None
    """Part of an answer's weight that its first so many ids have, as `strop.training.sft.SftConfig` says."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's, or with `opening` the mean over answers; then `num_items_in_batch` counts answers."""
        if self.opening is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        kept: list[Any] = []

        def forward(**call: Any) -> Any:
            kept.append(model(**call))
            return kept[-1]

        super().compute_loss(forward, inputs, num_items_in_batch=num_items_in_batch)  # for its metrics
        weights = answer_weights(inputs["labels"], *self.opening)
        answers = len(weights) if num_items_in_batch is None else num_items_in_batch
        loss = -(kept[-1].log_probs * weights).sum() / answers
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # DDP takes the mean of the processes' gradients
        return (loss, kept[-1]) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Of all processes and micro-batches of a step; answers instead of ids, with `opening`."""
        if self.opening is not None:
            batch_samples = [{"labels": one_label_each(batch["labels"])} for batch in batch_samples]
        return super()._get_num_items_in_batch(batch_samples, device)

    def losses(self, rows: Sequence[int]) -> list[float]:
        """Mean negative log-likelihood a labelled id of each of these rows, in nats."""
        batch = self._prepare_inputs(self.data_collator([self.train_dataset[row] for row in rows]))
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager(), still_whole(self):
            output = self.model(**batch, fused_lm_head=True, use_cache=False)
        labelled = (batch["labels"][:, 1:] != IGNORED).sum(dim=1)
        return (-output.log_probs.float().sum(dim=1) / labelled.clamp_min(1)).tolist()  # type: ignore[no-any-return]


def arguments(recipe: Recipe, work: Path, where: Hardware, examples: int) -> dict[str, Any]:
    """What both trainers are told, as keyword arguments of their configurations."""
    steps = math.ceil(math.ceil(examples / recipe.batch_size) * recipe.epochs)
    world = Ranks.here().world
    return {
        "output_dir": str(work),
        "learning_rate": recipe.learning_rate,
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.micro_batch_size,
        "gradient_accumulation_steps": recipe.micro_batches(world),
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup * steps),
        "max_grad_norm": recipe.max_grad_norm,
        "weight_decay": recipe.weight_decay,
        "optim": "adamw_torch",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "max_length": None,
        "bf16": where.bf16,
        "use_cpu": where.device == "cpu",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": where.device != "cpu",
        "save_strategy": "steps",
        "save_steps": recipe.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }


REFERENCE_TOGETHER = 8
"""Pairs of one prompt whose reference is computed at once where prefixes are shared."""


def fit(trainer: Any, job: TrainJob, on_log: OnLog | None) -> int:
    """Train to the end from the newest whole checkpoint. Returns the step it began at.

    Raises RunError where memory, disk or the loss's finiteness gives out; checkpoints stay. Raises UsageError
    where the checkpoint is of another way to share a model out.
    """
    if job.discarded:
        say(f"[yellow]deleted the beginning of another training[/] in {job.work}")
    checkpoint = job.ranks.from_first(lambda: _newest_checkpoint(trainer, job))
    start = step_of(checkpoint) if checkpoint else 0
    if start:
        say(f"going on after step {start}")
    # Saved with every checkpoint otherwise, and never needed again.
    trainer.processing_class = None
    trainer.remove_callback(PrinterCallback)
    journal = JsonlWriter(job.log_path) if job.ranks.first else nullcontext()
    with journal as log, bar("training", None) as advance, clear_failures(job.work):
        trainer.add_callback(Journal(job, log, advance, on_log))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return start


def _newest_checkpoint(trainer: Any, job: TrainJob) -> Path | None:
    checkpoint = job.newest_checkpoint()
    if checkpoint is not None:
        require_same_holding(trainer, checkpoint)
    return checkpoint


def peak_memory(where: Hardware) -> int:
    """Most bytes held so far: of the GPU where there is one, else of this process."""
    if where.device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def summary(
    trainer: Any, job: TrainJob, where: Hardware, *, shared: str, start: int, refused: tuple[Refused, ...]
) -> TrainSummary:
    """What came of a training that has reached its end."""
    rows = job.log_rows()
    return TrainSummary(
        adapter=job.out,
        examples=len(trainer.train_dataset),
        steps=trainer.state.global_step,
        seconds=rows[-1]["seconds"],
        reference_seconds=0.0,
        device=f"{job.ranks.world} × {where}" if job.ranks.world > 1 else str(where),
        shared_prefix=shared,
        resumed_from=start,
        peak_memory=peak_memory(where),
        last=rows[-1],
        refused=refused,
    )


def losses(
    base: Base,
    rows: Sequence[AnyRow],
    config: AnyRecipe,
    build: Callable[[Any, Path, list[AnyRow], AnyRecipe, Path], Any],
    together: int,
    file: Path,
) -> Iterator[tuple[AnyRow, float]]:
    """Each row, and the policy's loss on it as it is, at most `together` of one beginning at once.

    Several processes share the work, and all of them have every loss. `file`, in which the caller keeps
    them, is named where memory or disk gives out.
    """
    ranks = Ranks.here()
    model = load_model(base.path, hardware(config.dtype), base_adapter=base.adapter)
    kept, _ = _fitting(model, rows, config)
    with tempfile.TemporaryDirectory() as work, clear_failures(file, MEASURING):
        trainer = build(model, base.path, kept, config, Path(work))
        pieces = list(slices(trainer.groups(), together if share_prefixes(trainer, config) == "on" else 1))
        with bar("loss", len(kept)) as advance:
            for at in range(0, len(pieces), ranks.world):
                own = [*pieces[at + ranks.rank]] if at + ranks.rank < len(pieces) else []
                values = trainer.losses(own) if own else []
                measured = ranks.of_all(list(zip(own, values, strict=True)))
                yield from ((kept[index], value) for index, value in measured)
                advance(len(measured))


def _fitting(model: Any, rows: Sequence[AnyRow], config: Recipe) -> tuple[list[AnyRow], tuple[Refused, ...]]:
    """Rows no longer than the configuration and the model allow, and the others."""
    most, longest = config.max_length, longest_row(model)
    if longest is not None and longest < most:
        say(f"max_length is {longest}, what this model takes, not {most}")
        most = longest
    return usable(rows, max_length=most, vocabulary=vocabulary_size(model))


def train(
    job: TrainJob,
    base: Base,
    rows: Sequence[AnyRow],
    config: AnyRecipe,
    build: Callable[[Any, Path, list[AnyRow], AnyRecipe, Path], Any],
    on_log: OnLog | None,
    track: Collection[str],
    screening: Mapping[str, Any],
) -> None:
    """Load the base, train on those rows that fit, and publish the adapter as the job's.

    `build` makes the trainer of a model, its path, the rows, the recipe and the directory of its checkpoints.
    Raises what `strop.training.dpo.train_dpo` says.
    """
    where = hardware(job.ranks.from_first(lambda: job.number_format(hardware(config.dtype).dtype)))
    model = load_model(base.path, where, base_adapter=base.adapter)
    kept, refused = _fitting(model, rows, config)
    with clear_failures(job.work):
        try:
            trainer = build(model, base.path, kept, replace(config, dtype=where.dtype), job.work)
        except ValueError as error:  # what peft and TRL say of a model they cannot do this to
            raise ModelError(f"cannot train {base.name}: {str(error).splitlines()[0]}") from error
        if left_out := stacked_experts(model):
            say(f"[yellow]feed-forward layers get no adapter:[/] {left_out[0]} holds several experts")
        shared = share_prefixes(trainer, config)
        prepared = trainer.prepare(job, together=REFERENCE_TOGETHER if shared == "on" else 1)
    watch(trainer, job, track)
    start = fit(trainer, job, on_log)
    weights = whole_weights(trainer)

    def finish() -> None:
        result = summary(trainer, job, where, shared=shared, start=start, refused=refused)
        final = job.work / "final"
        with clear_failures(job.work):
            shutil.rmtree(final, ignore_errors=True)
            save_adapter(
                trainer.model, final, base=base.path, name=base.name, profile=base.adapter, weights=weights
            )
            if base.teaches is not None:
                write_profile(final, base.teaches.over(read_profile(final)))
        job.publish(final, replace(result, reference_seconds=prepared, screening=screening))

    job.ranks.from_first(finish)
