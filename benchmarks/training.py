"""Seconds a pair and peak memory of DPO: TRL as it comes, TRL set up as we do, and prefixes computed once.

    python benchmarks/training.py MODEL [--prompt 400] [--answer 40] [--pairs 2]

All three train the same random pairs with the same LoRA, one pair at a time, each in a process of its own, so
that none sees another's memory. ``defaults`` is TRL's own configuration (gradient checkpointing, bfloat16
autocast); ``stock`` is TRL with ours (neither, on a CPU without AMX); ``shared`` adds shared prefixes.
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

from strop.training.datasets import PairRow

WAYS = ("defaults", "stock", "shared")


def main() -> None:
    options = parser().parse_args()
    if options.only:
        print(json.dumps(measure(options, options.only)))
        return
    rows = {way: in_own_process(way) for way in WAYS}
    print(
        f"{options.prompt} prompt ids, {options.answer} answer ids, r={options.rank}, {rows['shared']['device']}"
    )
    print(f"{'':9}{'s/pair':>8}{'reference':>11}{'training':>10}{'peak GiB':>10}{'loss':>10}{'speed':>8}")
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
    options.add_argument("--prompt", type=int, default=400)
    options.add_argument("--answer", type=int, default=40)
    options.add_argument("--pairs", type=int, default=2)
    options.add_argument("--rank", type=int, default=16)
    options.add_argument("--only", choices=WAYS)
    return options


def in_own_process(way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", way]
    result: dict[str, Any] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return result


def measure(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """One pair to warm up, then the timed ones; reference log-probabilities and training apart."""
    from strop.training import adapter, trainers

    where = adapter.hardware()
    with tempfile.TemporaryDirectory() as work:
        trainer = build(options, way, Path(work))
        batches = [trainer._prepare_inputs(trainer.data_collator([row])) for row in trainer.train_dataset]
        trainer.model.train()
        seconds = {}
        for part, work_on in (("reference", reference_of), ("training", train_on)):
            work_on(trainer, batches[0])
            started = time.monotonic()
            for batch in batches[1:]:
                loss = work_on(trainer, batch)
            seconds[part] = (time.monotonic() - started) / (len(batches) - 1)
    return {**seconds, "memory": trainers.peak_memory(where), "loss": loss, "device": str(where)}


def build(options: argparse.Namespace, way: str, work: Path) -> Any:
    from trl import DPOConfig

    from strop.training import adapter, trainers
    from strop.training.dpo import DpoConfig, pair_trainer

    where = adapter.hardware()
    model = adapter.load_model(options.model, where)
    config = DpoConfig(
        batch_size=1,
        rank=options.rank,
        alpha=2 * options.rank,
        losses=(("sigmoid", 1.0),),
        shared_prefix=way == "shared",
    )
    pairs = random_pairs(options, model.config.vocab_size)
    if way == "defaults":
        cpu = where.device == "cpu"
        theirs = DPOConfig(output_dir=str(work), report_to="none", use_cpu=cpu, disable_tqdm=True)
        return pair_trainer(model, options.model, pairs, config, work, arguments=theirs)
    trainer = pair_trainer(model, options.model, pairs, config, work)
    trainers.share_prefixes(trainer, config)
    return trainer


def reference_of(trainer: Any, batch: Any) -> float:
    chosen, _ = trainer.compute_ref_log_probs(trainer.model, batch)
    return float(chosen)


def train_on(trainer: Any, batch: Any) -> float:
    # Reference log-probabilities at hand, as in training; which ones makes no difference to the time.
    import torch

    trainer.precompute_ref_logps = True
    known = {"ref_chosen_logps": torch.tensor([-1.0]), "ref_rejected_logps": torch.tensor([-2.0])}
    inputs = trainer._prepare_inputs({**batch, **known})
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, inputs)
    trainer.accelerator.backward(loss)
    return float(loss.detach())


def random_pairs(options: argparse.Namespace, vocabulary: int) -> list[PairRow]:
    dice = random.Random(0)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(dice.randrange(min(vocabulary, 10_000)) for _ in range(length))

    return [
        PairRow(f"pair-{number}", ids(options.prompt), ids(options.answer), ids(options.answer))
        for number in range(options.pairs + 1)
    ]


if __name__ == "__main__":
    main()
