"""Seconds a row and peak memory of training: TRL as it comes, set up as we do, and prefixes computed once.

    python benchmarks/training.py MODEL [--objective dpo] [--prompt 400] [--answer 40] [--together 1]

All train the same random rows with the same LoRA, `together` rows of one prompt at a time, each way in a
process of its own, so that none sees another's memory. ``defaults`` is TRL's own configuration (gradient
checkpointing, bfloat16 autocast; for ``dpo`` alone); ``stock`` is TRL with ours (neither, on a CPU without
AMX); ``shared`` adds shared prefixes. The time counts the forward and backward pass of training and, where
the objective has a reference, its log-probabilities. Rows are preference pairs, or for ``--objective sft``
demonstrations: with ``--together 4`` four answers to one prompt.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from strop.training.datasets import PairRow, SftRow
from strop.training.objectives import OBJECTIVES

WAYS = ("defaults", "stock", "shared")


def main() -> None:
    options = parser().parse_args()
    if options.only:
        print(json.dumps(measure(options, options.only)))
        return
    rows = {way: in_own_process(way) for way in (WAYS if options.objective == "dpo" else WAYS[1:])}
    size = f"{options.objective}, {options.prompt} prompt ids, {options.answer} answer ids, r={options.rank}"
    size += f", {options.together} rows a prompt"
    print(f"{size}, {rows['shared']['device']}")
    print(f"{'':9}{'s/row':>8}{'reference':>11}{'training':>10}{'peak GiB':>10}{'loss':>10}{'speed':>8}")
    for way, row in rows.items():
        total = row["reference"] + row["training"]
        speed = (rows["stock"]["reference"] + rows["stock"]["training"]) / total
        print(
            f"{way:9}{total:8.2f}{row['reference']:11.2f}{row['training']:10.2f}"
            f"{row['memory'] / 2**30:10.2f}{row['loss']:10.5f}{speed:7.1f}x"
        )


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    options.add_argument("model", type=Path, help="a checkpoint directory")
    options.add_argument("--objective", default="dpo", choices=(*OBJECTIVES, "sft"))
    options.add_argument("--prompt", type=int, default=400)
    options.add_argument("--answer", type=int, default=40)
    options.add_argument("--batches", type=int, default=2, help="timed, after one to warm up")
    options.add_argument("--together", type=int, default=1, help="rows of one prompt in a batch")
    options.add_argument("--rank", type=int, default=16)
    options.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    options.add_argument("--only", choices=WAYS)
    return options


def in_own_process(way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", way]
    result: dict[str, Any] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return result


def measure(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """One batch to warm up, then the timed ones; reference log-probabilities and training apart."""
    from strop.training import adapter, trainers

    where = adapter.hardware(options.dtype)
    with tempfile.TemporaryDirectory() as work:
        trainer = build(options, way, Path(work))
        rows = list(trainer.train_dataset)
        starts = range(0, len(rows), options.together)
        together = [trainer.data_collator(rows[start : start + options.together]) for start in starts]
        batches = [trainer._prepare_inputs(batch) for batch in together]
        trainer.model.train()
        seconds = {"reference": 0.0}
        parts = {"reference": reference_of, "training": train_on}
        if options.objective == "sft" or not OBJECTIVES[options.objective].reference:
            del parts["reference"]
        for part, work_on in parts.items():
            work_on(trainer, batches[0])
            started = time.monotonic()
            for batch in batches[1:]:
                loss = work_on(trainer, batch)
            seconds[part] = (time.monotonic() - started) / (options.batches * options.together)
    return {**seconds, "memory": trainers.peak_memory(where), "loss": loss, "device": str(where)}


def build(options: argparse.Namespace, way: str, work: Path) -> Any:
    from trl import DPOConfig

    from strop.training import adapter, shared_prefix
    from strop.training.dpo import DpoConfig, pair_trainer
    from strop.training.sft import SftConfig, demonstration_trainer

    where = adapter.hardware(options.dtype)
    model = adapter.load_model(options.model, where)
    recipe: dict[str, Any] = {
        "batch_size": 1,
        "rank": options.rank,
        "alpha": 2 * options.rank,
        "shared_prefix": way == "shared",
        "dtype": options.dtype,
    }
    pairs = random_pairs(options, adapter.vocabulary_size(model))
    if options.objective == "sft":
        rows = [SftRow(pair.id, pair.prompt_ids, pair.chosen_ids) for pair in pairs]
        config = SftConfig(**recipe)
        trainer: Any = demonstration_trainer(model, options.model, rows, config, work)
        shared_prefix.share_prefixes(trainer, config)
        return trainer
    preferences = DpoConfig(objective=options.objective, **recipe)
    if way == "defaults":
        cpu = where.device == "cpu"
        theirs = DPOConfig(output_dir=str(work), report_to="none", use_cpu=cpu, disable_tqdm=True)
        return pair_trainer(model, options.model, pairs, preferences, work, arguments=theirs)
    trainer = pair_trainer(model, options.model, pairs, preferences, work)
    shared_prefix.share_prefixes(trainer, preferences)
    return trainer


def reference_of(trainer: Any, batch: Any) -> float:
    chosen, _ = trainer.compute_ref_log_probs(trainer.model, batch)
    return float(chosen[0])


def train_on(trainer: Any, batch: Any) -> float:
    import torch

    inputs = batch
    if "completion_mask" in batch:
        # Reference log-probabilities at hand, as in training; which ones makes no difference to the time.
        trainer.precompute_ref_logps = True
        zeros = torch.zeros(len(batch["input_ids"]) // 2)
        known = {"ref_chosen_logps": zeros, "ref_rejected_logps": zeros}
        inputs = trainer._prepare_inputs({**batch, **known})
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, inputs)
    trainer.accelerator.backward(loss)
    return float(loss.detach())


def random_pairs(options: argparse.Namespace, vocabulary: int) -> list[PairRow]:
    dice = random.Random(0)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(dice.randrange(min(vocabulary, 10_000)) for _ in range(length))

    pairs = []
    for _ in range(options.batches + 1):
        prompt = ids(options.prompt)
        for _ in range(options.together):
            pairs.append(PairRow(f"pair-{len(pairs)}", prompt, ids(options.answer), ids(options.answer)))
    return pairs


if __name__ == "__main__":
    main()
