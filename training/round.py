"""Rounds: evaluate → find deficiencies → search → pairs → train → load → evaluate → accept or refuse.

The loop of iterative preference optimisation (iTool, arXiv 2501.09766) with model-aware selection of what to
train on (ToolACE-R, arXiv 2504.01400). Each step is a stage of the run directory: done once, skipped when the
run is started again, redone when a setting it depends on has changed.

Acceptance (`strop.training.acceptance`) looks only at held-out tasks of the training distribution. The
benchmark is reported, never used to decide: a policy picked by its benchmark score would have been fitted to
it.
"""

from __future__ import annotations

import ctypes
import gc
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from strop.agent.bench import run_bench
from strop.agent.embedding import Embedder
from strop.agent.engines.base import Sampling
from strop.agent.loading import Loaded, PolicySource, known_by, weights_of
from strop.agent.models import ModelStore
from strop.agent.paired import compare
from strop.agent.refinement import parse_refine
from strop.agent.rows import read_answers
from strop.refine.audit import Thresholds, audit_file
from strop.refine.choice import answerer_for
from strop.refine.collect import collect_with
from strop.refine.ray_workers import RayPlan
from strop.refine.selection import grew
from strop.refine.store import selected_ids
from strop.tools.bfcl.suite import load_suite
from strop.tools.case import judged_suite
from strop.tools.corpus import data_here
from strop.tools.errors import RunError
from strop.tools.files import file_digest, read_json, write_json, write_jsonl
from strop.tools.suite import Suite
from strop.tools.task import Task, digest, read_tasks, tasks_to_rows
from strop.training.acceptance import decide
from strop.training.config import RoundConfig
from strop.training.copies import refuse_copies
from strop.training.datasets import read_pairs
from strop.training.dpo import train_dpo
from strop.training.greeting import greet
from strop.training.layouts import read_layout
from strop.training.report import render_report
from strop.training.run import RunDirectory, stage_key
from strop.training.synth import synthesise
from strop.training.workbench import Workbench

NOTHING_TO_LEARN: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no preference pair came of the tasks (solved already, or stopped by the gate), so "
    "that nothing was trained",
}
"""The row of ``decision.json`` where a round ends for want of pairs."""


SCREENING = "screening.json"
"""In the run's directory: which benchmarks the tasks were compared with."""

SELECTION_STOPPED: Mapping[str, Any] = {
    "accepted": False,
    "reason": "refused: no task was selected that earlier rounds had not, so that nothing was trained",
}
"""Likewise where a round ends because its selection does not grow."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The policy the next round starts from."""

    adapter: Path | None
    """None is the model as it came."""
    key: str
    """Content address of how it came about."""


class Rounds:
    """One run of as many rounds as configured."""

    def __init__(self, config: RoundConfig, run: RunDirectory, console: Console):
        self._config = config
        self._run = run
        self._console = console
        engine = config.engine
        self._bench = Workbench(
            PolicySource(config.model, None, engine.kind, engine.max_model_len, engine.args)
        )

    async def execute(self) -> Path:
        """Run what is not done yet; returns the report's path."""
        config = self._config
        self._run.begin(config.model_dump(mode="json"))
        # What is wrong with the benchmark or the tasks is told before anything slow begins.
        suite = load_suite(config.bench.categories, limit=config.bench.limit)
        train_on, held_out = self.tasks()
        weights = weights_of(ModelStore().resolve(config.model).path, config.adapter)
        self.screen([*train_on, *held_out])
        policy = Accepted(config.adapter, stage_key("model", [weights, config.engine.generates_with()]))
        try:
            await self._serve(policy)
            for number in range(1, config.rounds + 1):
                trained = await self._round(number, policy, suite, train_on, held_out)
                if trained is None:
                    break
                policy = trained
        finally:
            await self._bench.close()
        self._run.event("finished")
        return render_report(self._run.path)

    async def _round(
        self, number: int, policy: Accepted, suite: Suite, train_on: list[Task], held_out: list[Task]
    ) -> Accepted | None:
        """One round; the new policy where it was accepted, else None."""
        folder = self._folder(number)
        await self._evaluate(number, "before", policy, suite, held_out)
        pairs, key = await self._collect(number, policy, train_on)
        ended = SELECTION_STOPPED if self.stopped_growing(number) else NOTHING_TO_LEARN
        if ended is SELECTION_STOPPED or not pairs.stat().st_size:
            self._run.forget(f"{number}.train", folder / "train")
            self._run.forget(f"{number}.after", folder / "after", folder / "held_out_after")
            self._decided(number, ended)
            return None
        trained = await self._train(number, policy, pairs, key, train_on)
        await self._evaluate(number, "after", trained, suite, held_out)
        comparison = compare(_verdicts(folder / "held_out_before"), _verdicts(folder / "held_out_after"))
        decision = decide(comparison, self._config.accept)
        self._decided(number, decision)
        return trained if decision["accepted"] else None

    def _decided(self, number: int, decision: Mapping[str, Any]) -> None:
        write_json(self._folder(number) / "decision.json", decision)
        self._run.event("decided", f"{number}.decide", **decision)

    async def _serve(self, policy: Accepted) -> None:
        """Put the server in front of the engine and get a tool call through it, as a client would."""
        if not self._todo("serve", policy.key, "serve: one tool call over HTTP"):
            return
        with self._run.stage("serve", policy.key):
            loaded = await self._bench.policy(policy.adapter)
            write_json(self._run.path / "serve.json", await greet(loaded))

    def tasks(self) -> tuple[list[Task], list[Task]]:
        """Tasks to train on and tasks held out, written once and read back ever after."""
        settings, seed = self._config.tasks, self._config.seed
        folder = self._run.path / "tasks"
        content = file_digest(settings.file) if settings.file else None
        key = stage_key(
            "tasks", [settings.model_dump(mode="json", exclude={"file", "allow_copies"}), seed, content]
        )
        if self._todo("tasks", key, "tasks to train on, and held-out ones"):
            with self._run.stage("tasks", key, folder):
                tasks = self._source_tasks()
                train_on, held_out = split(tasks, settings.held_out, seed)
                write_jsonl(folder / "train.jsonl", tasks_to_rows(train_on))
                write_jsonl(folder / "held_out.jsonl", tasks_to_rows(held_out))
        return read_tasks(folder / "train.jsonl")[0], read_tasks(folder / "held_out.jsonl")[0]

    def screen(self, tasks: Sequence[Task]) -> None:
        """Compare tasks with every benchmark whose data are here; anew where others are than before.

        Raises UsageError where one repeats a benchmark, unless the configuration allows it.
        """
        allowed = self._config.tasks.allow_copies
        key = stage_key("screen", [digest(tasks), data_here(), allowed])
        if self._todo("screen", key, "tasks compared with benchmarks"):
            with self._run.stage("screen", key):
                screening = refuse_copies(tasks, allowed=allowed, lifted_by="tasks.allow_copies = true")
                write_json(self._run.path / SCREENING, screening)
                self._run.event("screened", "screen", **screening)

    def _source_tasks(self) -> list[Task]:
        settings = self._config.tasks
        if settings.file is None:
            return synthesise(settings.synthesise, self._config.seed, settings.categories or None)
        loaded = read_layout(settings.file)
        for row in loaded.bad:
            self._console.print(f"{settings.file}:{row.line}: skipped: {row.reason}", style="yellow")
            self._run.event("row_skipped", "tasks", line=row.line, reason=row.reason)
        return [task for _, task in loaded.tasks]

    async def _evaluate(
        self, number: int, when: str, policy: Accepted, suite: Suite, held_out: list[Task]
    ) -> None:
        """Measure a policy on the benchmark and on the held-out tasks."""
        stage = f"{number}.{when}"
        folders = self._folder(number) / when, self._folder(number) / f"held_out_{when}"
        table = self._config.bench.model_dump(mode="json", exclude={"concurrency"})
        key = stage_key(stage, [table, suite.version, digest(held_out)], policy.key)
        if not self._todo(stage, key, f"round {number}: benchmark {when} training"):
            return
        with self._run.stage(stage, key, *folders):
            loaded = await self._bench.policy(policy.adapter)
            await self._ask(suite, loaded, folders[0])
            await self._ask(judged_suite("held-out", held_out), loaded, folders[1])

    async def _ask(self, suite: Suite, loaded: Loaded, out: Path) -> None:
        table = self._config.bench
        await run_bench(
            suite,
            answerer_for(loaded.policy, loaded.profile, parse_refine(table.refine)),
            out,
            refine=table.refine,
            asked=known_by(loaded.policy),
            sampling=Sampling(max_tokens=table.max_tokens),
            concurrency=table.concurrency,
        )

    async def _collect(self, number: int, policy: Accepted, tasks: list[Task]) -> tuple[Path, str]:
        """Deficiencies, trees and pairs; returns the pairs' file and the stage's key."""
        folder = self._folder(number) / "collect"
        settings = self._config.collect
        stage, asked = f"{number}.collect", digest(tasks)
        key = stage_key(stage, [asdict(replace(settings, concurrency=1)), asked], policy.key)
        sampled = stage_key(stage, [settings.sampled_with(), asked], policy.key)
        if self._todo(stage, key, f"round {number}: deficiencies, search, preference pairs"):
            with self._run.stage(stage, key, folder, kept_by=sampled):
                async with self._bench.executor(
                    policy.adapter, self._plan(), settings.concurrency
                ) as executor:
                    embed = Embedder(self._config.model)
                    await collect_with(executor, tasks, settings, folder, embed)
        return folder / "pairs.jsonl", key

    def _plan(self) -> RayPlan | None:
        """Who collects; None is the engine that is there."""
        table = self._config.engine
        if table.executor == "local":
            return None
        return RayPlan(table.workers, self._config.collect.concurrency, spread=self._bench.source.gpus)

    def stopped_growing(self, number: int) -> bool:
        """Whether round `number` selected nothing that earlier rounds had not, where that ends the run."""
        if number == 1 or not self._config.while_selection_grows:
            return False
        folders = (self._folder(one) / "collect" for one in range(1, number + 1))
        *earlier, now = (selected_ids(folder) for folder in folders)
        return not grew(set().union(*earlier), now)

    async def _train(
        self, number: int, policy: Accepted, pairs: Path, collected: str, tasks: Sequence[Task]
    ) -> Accepted:
        """Train on the pairs, where they are fit for it; the engine gives its memory back first."""
        folder = self._folder(number) / "train"
        settings = self._config.train
        key = stage_key(f"{number}.train", asdict(settings), collected)
        if self._todo(f"{number}.train", key, f"round {number}: train an adapter on the pairs"):
            with self._run.stage(f"{number}.train", key, folder):
                refuse_unsound(pairs.parent, self._config, tasks)
                await self._bench.close()
                rows, bad = read_pairs(pairs)
                if bad:
                    raise RunError(f"{pairs}:{bad[0].line}: {bad[0].reason}")
                model = ModelStore().resolve(self._config.model)
                train_dpo(
                    model.path,
                    rows,
                    folder / "adapter",
                    settings,
                    base_adapter=policy.adapter,
                    model_name=model.name,
                    screening=read_json(self._run.path / SCREENING),
                )
                give_memory_back()
        return Accepted(folder / "adapter", key)

    def _todo(self, stage: str, key: str, what: str) -> bool:
        """Say what comes, and whether it is still to be done."""
        done = self._run.is_done(stage, key)
        self._console.print(
            f"[green]✓[/green] {what} [dim](done before)[/dim]" if done else f"[bold]▸ {what}[/bold]"
        )
        return not done

    def _folder(self, number: int) -> Path:
        return self._run.path / "rounds" / str(number)


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


def give_memory_back() -> None:
    """Return what a training held to the system, before an engine starts beside it.

    Trainers are full of reference cycles, and glibc keeps what it has freed.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def split(tasks: Sequence[Task], held_out: int, seed: int) -> tuple[list[Task], list[Task]]:
    """(to train on, held out), shuffled by `seed`. Raises RunError where nothing is left to train on."""
    if len(tasks) <= held_out:
        raise RunError(f"{len(tasks)} tasks are too few to hold {held_out} out: lower tasks.held_out")
    shuffled = list(tasks)
    random.Random(seed).shuffle(shuffled)
    return shuffled[held_out:], shuffled[:held_out]


def _verdicts(folder: Path) -> dict[str, bool]:
    return {row["id"]: row["correct"] for row in read_answers(folder)}
