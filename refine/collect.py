"""Tasks in, preference pairs out: sample, search, pair; see `strop.refine.store` for the files.

All tasks run concurrently over one engine, or over those of many workers (`strop.refine.crew`). The search
waits for the last sample only where the selection does: the default does not.
A kill loses the samples and trees in flight and nothing else. With an engine that honours seeds, equal
arguments give equal bytes in pairs.jsonl, interrupted or not: every task has its own random numbers, and
pairs are ordered by task, not by who finished first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from strop.agent.chat import Template
from strop.agent.crowd import each
from strop.agent.lock import held
from strop.agent.policy import Policy
from strop.refine.deficiency import Deficiency, summarise
from strop.refine.executor import Executor, Here
from strop.refine.forest import Forest
from strop.refine.gate import GateConfig, GateReport, gate
from strop.refine.golden import gold_answer
from strop.refine.pairs import GoldAnswer, GoldUse, PreferencePair, candidates, verdict_name
from strop.refine.sampling import SampleConfig, sample_all, sampled_by
from strop.refine.search import SearchConfig
from strop.refine.selection import (
    DEFAULT,
    Embed,
    judges_apart,
    needs_perplexity,
    parse_selection,
    select_tasks,
)
from strop.refine.store import CollectionDir, Diagnosis, tree_name
from strop.refine.tree_index import TreeEntry
from strop.tools.bounds import require
from strop.tools.errors import UsageError
from strop.tools.files import write_json, write_jsonl
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """How to collect. The defaults are for minutes on two CPU cores; give GPUs more of everything."""

    samples: int = 4
    """k: answers sampled of every task to find deficiencies, and to start its tree from; ≥ 1."""
    temperature: float = 0.8
    """Of those samples."""
    top_p: float = 1.0
    """Of those samples."""
    seed: int = 0
    select: tuple[str, ...] = DEFAULT
    """Which tasks are searched: strategies of `strop.refine.selection`, one after the other."""
    search: SearchConfig = field(default_factory=SearchConfig)
    gold: GoldUse = GoldUse.UNSOLVED
    """When the gold answer may be the chosen one."""
    gate: GateConfig = field(default_factory=GateConfig)
    concurrency: int = 16
    """Tasks in flight over one engine; each has up to `samples` or `search.width` answers in flight. ≥ 1."""

    def __post_init__(self) -> None:
        bounds = (
            ("samples", self.samples >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
            ("concurrency", self.concurrency >= 1, "at least 1"),
        )
        require(self, bounds)
        parse_selection(self.select)

    @property
    def sampling(self) -> SampleConfig:
        """How the first stage samples."""
        return SampleConfig(
            self.samples,
            self.temperature,
            self.top_p,
            self.search.max_tokens,
            self.seed,
            self.search.worlds,
        )

    def sampled_with(self) -> dict[str, Any]:
        """What a collection's samples and trees depend on; the rest may change when one is resumed."""
        return {**asdict(self.sampling), "search": asdict(self.search)}


@dataclass(frozen=True, slots=True)
class CollectSummary:
    """summary.json."""

    tasks: int
    searched: int
    """Tasks that were selected."""
    pairs: int
    by_kind: dict[str, int]
    by_source: dict[str, int]
    """Chosen side from the ``policy`` or from ``gold``."""
    by_category: dict[str, int]
    by_error: dict[str, int]
    """Pairs by the rejected side's error."""
    refused: dict[str, int]
    """Candidates by `Refusal`."""
    tasks_without_candidates: int
    """Searched tasks all of whose answers are worth the same."""
    deficiencies: dict[str, dict[str, Any]]
    """`summarise`'s table."""
    generated_tokens: int
    """Ids sampled in both stages, earlier starts included."""
    pairs_per_1000_tokens: float
    seconds: float
    """Of this start."""


async def collect(
    tasks: Sequence[Task], policy: Policy, config: CollectConfig, out: Path, embed: Embed | None = None
) -> CollectSummary:
    """`collect_with` one policy in this process."""
    return await collect_with(Here(policy, config.concurrency), tasks, config, out, embed)


async def collect_with(
    executor: Executor, tasks: Sequence[Task], config: CollectConfig, out: Path, embed: Embed | None = None
) -> CollectSummary:
    """Sample, select, search, pair; writes DIR and returns what summary.json says.

    What is written depends on the executor's policy and not on who carries it out: what was begun in one
    process can be gone on with by many. `embed` makes vectors of tasks where the selection needs them
    (``diverse``).

    Going on after an interruption, or from a directory of `strop.refine.survey`, is calling it. Raises
    UsageError where DIR was begun with other settings or a task of it has changed, EngineError where the
    engine fails, RunError where the disk refuses.
    """
    with held(out / ".lock", f"a collection in {out}"):
        return await _collect(tasks, executor, config, CollectionDir(out), embed)


async def _collect(
    tasks: Sequence[Task],
    executor: Executor,
    config: CollectConfig,
    store: CollectionDir,
    embed: Embed | None,
) -> CollectSummary:
    started = time.monotonic()
    store.claim(sampled_by(executor, config.sampling), asdict(config.search))
    forest = Forest(executor, config.search, store, config.seed)
    diagnoses = await _sample(tasks, config, forest)
    found = [diagnoses[task.id].deficiency for task in tasks]
    selected = await asyncio.to_thread(
        select_tasks, tasks, found, config.select, seed=config.seed, embed=embed
    )
    write_json(store.selection, selected.to_json())
    searched = [task for task in tasks if task.id in selected.reasons]
    if not judges_apart(config.select):
        await _search(searched, diagnoses, forest)
    grown = store.index_trees()
    pairs, report = _pair_all(searched, executor.template, config, store)
    write_jsonl(store.pairs, [pair.to_json() for pair in pairs])
    sampled = sum(_sampled(diagnoses[task.id], grown.get(tree_name(task.id))) for task in tasks)
    seconds = time.monotonic() - started
    summary = _summary(found, len(searched), pairs, report, sampled, seconds)
    write_json(store.summary, asdict(summary))
    return summary


def _sampled(diagnosis: Diagnosis, tree: TreeEntry | None) -> int:
    """Ids sampled for a task: its tree's, whose first answers they are, or its samples'."""
    return tree.generated_tokens if tree else sum(len(sample.ids) for sample in diagnosis.samples)


async def _sample(tasks: Sequence[Task], config: CollectConfig, forest: Forest) -> dict[str, Diagnosis]:
    """Stage 1. Where a task's selection depends on no other task, its tree is grown at once: nobody waits
    for the last sample."""

    async def go_on(task: Task, diagnosis: Diagnosis) -> None:
        if select_tasks([task], [diagnosis.deficiency], config.select, seed=config.seed).reasons:
            await forest.grow(task, diagnosis.samples)

    return await sample_all(
        tasks,
        forest.executor,
        config.sampling,
        forest.store,
        score_gold=needs_perplexity(config.select),
        then=go_on if judges_apart(config.select) else None,
    )


async def _search(tasks: Sequence[Task], diagnoses: Mapping[str, Diagnosis], forest: Forest) -> None:
    """Stage 2, where the selection has to see all tasks first: the trees that are not there yet."""

    async def grow(task: Task) -> None:
        await forest.grow(task, diagnoses[task.id].samples)

    await each("searching", tasks, grow, forest.executor.slots)


def _pair_all(
    tasks: Sequence[Task], template: Template, config: CollectConfig, store: CollectionDir
) -> tuple[list[PreferencePair], GateReport]:
    """Stage 3: accepted pairs by task id, and the gate's report."""
    by_task: dict[str, list[PreferencePair]] = {}
    for task in sorted(tasks, key=lambda task: task.id):
        tree = store.read_tree(task.id)
        by_task[task.id] = candidates(tree, template, _gold(task, template), config.gold)
    return gate(by_task, config.gate, template.end_ids)


def _gold(task: Task, template: Template) -> GoldAnswer | None:
    """The task's gold; none, and a line that says so, where the model's call format cannot write it."""
    try:
        return gold_answer(task, template)
    except UsageError as error:
        text = f"task {task.id!r}: its gold cannot be preferred: {error}"
        Console(stderr=True).print(text, markup=False, soft_wrap=True)
        return None


def _summary(
    rows: Sequence[Deficiency],
    searched: int,
    pairs: Sequence[PreferencePair],
    report: GateReport,
    tokens: int,
    seconds: float,
) -> CollectSummary:
    def count(name: Callable[[PreferencePair], str]) -> dict[str, int]:
        return dict(sorted(Counter(name(pair) for pair in pairs).items()))

    return CollectSummary(
        tasks=len(rows),
        searched=searched,
        pairs=len(pairs),
        by_kind=count(lambda pair: str(pair.kind)),
        by_source=count(lambda pair: pair.source),
        by_category=count(lambda pair: pair.category or "uncategorised"),
        by_error=count(lambda pair: verdict_name(pair.rejected.outcome)),
        refused={str(reason): number for reason, number in sorted(report.refused.items())},
        tasks_without_candidates=report.empty_tasks,
        deficiencies=summarise(rows),
        generated_tokens=tokens,
        pairs_per_1000_tokens=round(1000 * len(pairs) / tokens, 3) if tokens else 0.0,
        seconds=round(seconds, 1),
    )
