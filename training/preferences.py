"""The stage of a round that learns preference pairs, where they are fit for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.agent.models import ModelStore
from strop.refine.audit import Thresholds, audit_file
from strop.tools.errors import RunError
from strop.tools.task import Task
from strop.training.config import RoundConfig
from strop.training.launch import Order, launch
from strop.training.memory import give_memory_back


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
        order.carry_out()
        give_memory_back()


def refuse_unsound(collection: Path, config: RoundConfig, tasks: Sequence[Task]) -> None:
    """Raises RunError where the collection's pairs are not to be trained on, with every reason."""
    thresholds = Thresholds(
        **config.check.model_dump(),
        min_margin=config.collect.gate.min_margin,
        max_length=config.train.max_length,
    )
    known, worlds = {task.id: task for task in tasks}, config.collect.search.worlds
    found = audit_file(collection, thresholds, tasks=known, worlds=worlds)
    if not found.accepted:
        reasons = "; ".join(objection.reason for objection in found.objections)
        raise RunError(
            f"{collection / 'pairs.jsonl'} is not trained on: {reasons}. 'strop pairs check {collection}' "
            "shows the rows; [collect.gate] decides which pairs there are, [check] how many may be like that"
        )
