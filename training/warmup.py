"""Warm-up: supervised fine-tuning from easy to hard, before any preferences (iTool, arXiv 2501.09766).

Tasks are ordered by difficulty and cut into stages of equal size; each stage is an SFT that goes on from the
stage before, on its own tasks and a share of the easier ones, so that what was learned first is not the
first to be forgotten. How difficult a task is, is told by its computed features
(`strop.training.difficulty`), by the policy's own loss on its gold, or by the mean of its ranks in both.
iTool states neither measure nor number of stages; these are ours.

Tasks that offer the same tools stay together, unless a stage has no room for all of them: they share their
prompt's beginning, which is computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from strop.agent.chat import Template
from strop.tools.bounds import require
from strop.tools.errors import DataError
from strop.tools.files import json_text
from strop.tools.task import Task
from strop.training.datasets import SftRow
from strop.training.difficulty import difficulty
from strop.training.job import Base
from strop.training.recipe import TrainSummary
from strop.training.sft import SftConfig, measure_loss, train_sft
from strop.training.trackers import require_trackers

if TYPE_CHECKING:
    from strop.training.journal import OnLog

MEASURES = ("features", "loss", "both")
"""What `WarmupConfig.by` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupConfig:
    """How to warm up. Raises UsageError where a value is out of range."""

    stages: int = 2
    """How many; 1 is an SFT in no order."""
    replay: float = 0.25
    """Tasks of earlier stages that a stage repeats, as a share of its own."""
    by: str = "features"
    """What difficulty is: ``features`` costs nothing, ``loss`` and ``both`` a forward pass of every task."""
    seed: int = 0
    """Of what is repeated."""

    def __post_init__(self) -> None:
        bounds = (
            ("stages", self.stages >= 1, "at least 1"),
            ("replay", self.replay >= 0, "0 or more"),
            ("by", self.by in MEASURES, f"one of {', '.join(MEASURES)}"),
        )
        require(self, bounds)


def train_warmup(
    model_path: Path,
    tasks: Sequence[Task],
    template: Template,
    out: Path,
    config: WarmupConfig,
    train: SftConfig,
    *,
    base_adapter: Path | None = None,
    model_name: str | None = None,
    on_log: OnLog | None = None,
    track: Collection[str] = (),
    screening: Mapping[str, Any] | None = None,
) -> TrainSummary:
    """Train an adapter on `tasks`' gold, stage by stage, and put the last stage's at `out`.

    The first goes on from `base_adapter`, where one is given; those before the last stay beside `out`, in
    ``OUT.stage-N``. A call that was killed goes on in the stage it was in. Difficulty by loss is that of the
    policy the first stage goes on from. Raises DataError for a task without gold to train on, or where there
    is no task, and what `train_sft` raises.
    """
    require_trackers(track)
    if not tasks:
        raise DataError("nothing to warm up on: there is no task with gold to learn")
    rows = {task.id: SftRow.from_task(task, template) for task in tasks}
    base = Base(model_path, model_name or model_path.name, base_adapter)
    loss = {} if config.by == "features" else _losses(base, rows, out, train)
    stages = curriculum(tasks, scores(tasks, config.by, loss), config)
    adapter = base_adapter
    for number, stage in enumerate(stages, start=1):
        place = out if number == len(stages) else out.with_name(f"{out.name}.stage-{number}")
        demonstrations = [rows[task.id] for task in stage]
        summary = train_sft(
            model_path,
            demonstrations,
            place,
            train,
            base_adapter=adapter,
            model_name=model_name,
            on_log=on_log,
            track=track,
            screening=screening,
        )
        adapter = place
    return summary


def scores(tasks: Sequence[Task], by: str, loss: Mapping[str, float]) -> dict[str, float]:
    """Difficulty of each task by its id: the features' score, the loss, or the mean of the ranks in both."""
    if by == "loss":
        return {task.id: loss[task.id] for task in tasks}
    features = {task.id: difficulty(task).score for task in tasks}
    if by == "features":
        return features
    ranks = _ranks(features), _ranks(loss)
    return {task.id: (ranks[0][task.id] + ranks[1][task.id]) / 2 for task in tasks}


def curriculum(tasks: Sequence[Task], score: Mapping[str, float], config: WarmupConfig) -> list[list[Task]]:
    """The tasks of each stage, easiest stage first, each with what it repeats of those before.

    Tasks with the same tools are in one stage, that of their mean score, unless they are more than a stage's
    share of all tasks: then each goes by its own score. Stages are of equal size as far as that allows; fewer
    tasks than stages give as many stages as tasks.
    """
    groups = _kept_together(tasks, len(tasks) / config.stages)
    ordered = sorted(groups, key=lambda group: sum(score[one.id] for one in group) / len(group))
    own: list[list[Task]] = []
    left, remaining = len(tasks), min(config.stages, len(ordered))
    for at, group in enumerate(ordered):
        full = not own or (len(own[-1]) >= left / remaining and remaining > 1)
        # With no more groups than stages to come each has one, or the last stages would have none.
        if full or len(ordered) - at < remaining:
            left, remaining = (left - len(own[-1]), remaining - 1) if own else (left, remaining)
            own.append([])
        own[-1] += group
    rng = Random(config.seed)
    return [
        stage + _repeated(own[:number], len(stage), config.replay, rng) for number, stage in enumerate(own)
    ]


def tools_shown(task: Task) -> str:
    """Equal for tasks that offer the same tools in the same order."""
    return json_text([tool.to_openai() for tool in task.tools])


def _kept_together(tasks: Sequence[Task], share: float) -> list[list[Task]]:
    """The tasks by the tools they offer; those of more than `share` tasks, by themselves."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(tools_shown(task), []).append(task)
    parts = ([group] if len(group) <= share else [[task] for task in group] for group in groups.values())
    return [part for group in parts for part in group]


def _repeated(earlier: Sequence[Sequence[Task]], size: int, share: float, rng: Random) -> list[Task]:
    known = [task for stage in earlier for task in stage]
    return rng.sample(known, min(len(known), round(share * size)))


def _ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Place of each value among all, in [0, 1]; equal values share the place of the first."""
    order = sorted(values.values())
    first: dict[float, int] = {}
    for place, value in enumerate(order):
        first.setdefault(value, place)
    return {name: first[value] / max(1, len(order) - 1) for name, value in values.items()}


def _losses(base: Base, rows: Mapping[str, SftRow], out: Path, train: SftConfig) -> dict[str, float]:
    kept = out.with_name(f"{out.name}.losses.jsonl")
    return measure_loss(base, list(rows.values()), kept, train)
