"""The two stages of a run that learn demonstrations: the warm-up, and what a round's samples teach."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from strop.agent.audit import trained_stop_candidates
from strop.agent.chat import ChatTemplate
from strop.agent.loading import weights_of
from strop.agent.models import ModelStore, ResolvedModel
from strop.agent.profile import Profile, read_profile
from strop.refine.check import STOP_TEXT
from strop.refine.store import CollectionDir
from strop.tools.errors import DataError, UsageError
from strop.tools.task import Task
from strop.training.config import RoundConfig, WarmupTable
from strop.training.copies import refuse_copies, yardsticks_here
from strop.training.corpus import CorpusConfig, Stop, corpus
from strop.training.datasets import is_demonstration
from strop.training.families import families
from strop.training.layouts import read_layout
from strop.training.recipe import TrainSummary
from strop.training.regrouping import regroup, usable
from strop.training.sft import SftConfig, train_sft
from strop.training.split import without_conversations_of
from strop.training.warmup import train_warmup


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a warm-up trains on."""

    tasks: Sequence[Task]
    screening: Mapping[str, Any]
    """What they were compared with, and what was found."""


def lessons(config: RoundConfig, table: WarmupTable, held_out: Sequence[Task], console: Console) -> Lessons:
    """The warm-up's tasks, those of a held-out one's conversation left out.

    Raises DataError where the file cannot be read or no task is left, UsageError where its tasks cannot be
    regrouped or repeat a benchmark.
    """
    tasks = without_conversations_of(held_out, _gold_tasks(config, table, console))
    if not tasks:
        reason = "nothing to warm up on: held-out ones aside, there is no task with gold to learn"
        raise DataError(reason, path=table.file)
    allowed = config.tasks.allow_copies
    return Lessons(tasks, refuse_copies(tasks, allowed=allowed, lifted_by="tasks.allow_copies = true"))


def warm_up(config: RoundConfig, table: WarmupTable, learned: Lessons, out: Path) -> None:
    """Train the warm-up's adapter at `out`. Raises what `train_warmup` raises."""
    model, profile = known(Student(config.model, config.adapter))
    template = ChatTemplate.load(model.path, call_format=profile.call_format)
    train_warmup(
        model.path,
        learned.tasks,
        template,
        out,
        table.stages,
        table.train,
        base_adapter=config.adapter,
        model_name=model.name,
        track=config.train_with.track,
        screening=learned.screening,
    )


def _gold_tasks(config: RoundConfig, table: WarmupTable, console: Console) -> list[Task]:
    """Those of the file, which must not repeat a benchmark, and synthesised ones, of which those that do are
    left out: thousands of made-up requests come near some question that is everybody's."""
    given = _file_tasks(table, console)
    if table.regroup:
        fitting = [task for task in given if usable(task)]
        console.print(f"{len(fitting):,} of {table.file}'s {len(given):,} tasks can be put to other tools")
        given = regroup(fitting, table.regroup, config.seed)
        console.print(f"{len(given):,} tasks of at most {table.regroup:,} families were made of them")
    made = families(table.families, config.seed)
    allowed = config.tasks.allow_copies
    copies = set() if allowed else {hit.task for hit in yardsticks_here().screen(made).hits}
    if copies:
        console.print(f"left out {len(copies)} synthesised tasks that come near a benchmark's")
    return [*given, *(task for task in made if task.id not in copies)]


def _file_tasks(table: WarmupTable, console: Console) -> list[Task]:
    if table.file is None:
        return []
    loaded = read_layout(table.file)
    for row in loaded.bad:
        console.print(f"{table.file}:{row.line}: skipped: {row.reason}", style="yellow", markup=False)
    for line, task in loaded.tasks:
        if not is_demonstration(task):
            console.print(
                f"{table.file}:{line}: skipped: {task.id} has no gold to learn", style="yellow", markup=False
            )
    return [task for _, task in loaded.tasks if is_demonstration(task)]


@dataclass(frozen=True, slots=True)
class Student:
    """Who learns; from samples, it is those of its own."""

    model: str
    """Catalogue name, hub id, checkpoint directory or GGUF file."""
    adapter: Path | None = None


def learn_from_samples(
    student: Student,
    tasks: Sequence[Task],
    collection: Path,
    out: Path,
    rows: CorpusConfig,
    train: SftConfig,
    *,
    stop_token: bool = True,
    track: Collection[str] = (),
    screening: Mapping[str, Any] | None = None,
) -> TrainSummary | None:
    """Train on what the samples of `collection` teach, going on from the student's adapter; put it at `out`.

    With `stop_token` checks of right drafts are answered by a token, where one can be taught; it is noted
    beside the adapter where there was such a check. `track` and `screening`, what the tasks were compared
    with, are as in `strop.training.dpo.train_dpo`. None where the samples teach nothing. Raises UsageError
    where the tasks are not those that were sampled, or the policy is not the one they were sampled from, and
    what `strop.training.sft.train_sft` raises.
    """
    model, profile = known(student)
    store, weights = CollectionDir(collection), weights_of(model.path, student.adapter)
    if store.weights() not in ("", weights):
        raise UsageError(f"{collection} was sampled from another policy than the one that is to learn")
    template = ChatTemplate.load(model.path, call_format=profile.call_format)
    stop = teachable_stop(model, profile) if stop_token else Stop(None, profile.stop_text or STOP_TEXT)
    learned = corpus(tasks, store.diagnoses(tasks), template, stop, rows)
    if not learned:
        return None
    # Whatever serves the adapter relies on it: samples may have no right draft, or none may be kept.
    stops = [row for row in learned if row.answer_ids == (stop.token_id,) and row.length <= train.max_length]
    return train_sft(
        model.path,
        learned,
        out,
        train,
        base_adapter=student.adapter,
        model_name=model.name,
        teaches=Profile(stop_token_id=stop.token_id) if stops else None,
        track=track,
        screening=screening,
    )


def known(student: Student) -> tuple[ResolvedModel, Profile]:
    """The student's model, and what is known of how it talks: by its adapter, completed by the model."""
    model = ModelStore().resolve(student.model)
    own = Profile() if student.adapter is None else read_profile(student.adapter)
    return model, own.over(model.profile)


def teachable_stop(model: ResolvedModel, profile: Profile) -> Stop:
    """The stop this model was taught or can be: of its special tokens whose output row was trained the most
    distinct one, else the text."""
    stop = Stop(profile.stop_token_id, profile.stop_text or STOP_TEXT)
    if stop.token_id is not None:
        return stop
    candidates = trained_stop_candidates(model.path)
    return replace(stop, token_id=candidates[0].id) if candidates else stop
