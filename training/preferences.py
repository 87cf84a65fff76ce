"""The stage of a round that learns preference pairs, where they are fit for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from strop.agent.models import ModelStore
from strop.refine.audit import Thresholds, audit_file
from strop.refine.collect import CollectConfig
from strop.tools.errors import RunError
from strop.tools.task import Task
from strop.training.config import RoundConfig
from strop.training.in_process import in_this_process
from strop.training.launch import Order, launch


def collects_with(config: RoundConfig) -> CollectConfig:
    """How pairs are collected: a pair longer than training takes would only be refused later, and the file
    with it."""
    gate = config.collect.gate
    longest = min(gate.max_length, config.train.max_length)
    return replace(config.collect, gate=replace(gate, max_length=longest))


async def train_on_pairs(
    config: RoundConfig, adapter: Path | None, pairs: Path, folder: Path, screening: Mapping[str, Any]
) -> None:
    """Train on the rows of `pairs`, going on from `adapter`, and put the new adapter into `folder`.

    `screening` is what the run's tasks were compared with. Trains here, or in the processes of the
    configuration's launcher. Raises what `Order.carry_out` and `launch` do.
    """
    model, table = ModelStore().resolve(config.model), config.train_with
    order = Order(
        model.path, model.name, pairs, folder / "adapter", config.train, adapter, table.track, screening
    )
    if table.launch:
        await launch(table.launch, order, folder)
    else:
        with in_this_process():
            order.carry_out()


def refuse_unsound(collection: Path, config: RoundConfig, tasks: Sequence[Task], file: Path) -> None:
    """Raises RunError where the collection's pairs are not to be trained on, with every reason and a command
    that shows the rows; `file` is where it finds `tasks`."""
    thresholds = Thresholds(
        **config.check.model_dump(),
        min_margin=config.collect.gate.min_margin,
        max_length=config.train.max_length,
    )
    known, worlds = {task.id: task for task in tasks}, config.collect.search.worlds
    found = audit_file(collection, thresholds, tasks=known, worlds=worlds)
    if not found.accepted:
        reasons = "; ".join(objection.reason for objection in found.objections)
        command = _command(collection, file, thresholds, worlds)
        raise RunError(
            f"{collection / 'pairs.jsonl'} is not trained on: {reasons}. '{command}' shows the rows; "
            "[collect.gate] decides which pairs there are, [check] how many may be like that"
        )


def _command(collection: Path, tasks: Path, thresholds: Thresholds, worlds: str) -> str:
    """The command that audits as `refuse_unsound` does."""
    usual = asdict(Thresholds())
    options = {name: value for name, value in asdict(thresholds).items() if value != usual[name]}
    options |= {"tasks": tasks} | ({"worlds": worlds} if worlds else {})
    words = ["strop", "pairs", "check", str(collection)]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
