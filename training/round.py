"""Rounds: evaluate → find deficiencies → search → pairs → train → load → evaluate → accept or refuse.

The loop of iterative preference optimisation (iTool, arXiv 2501.09766) with model-aware selection of what to
train on (ToolACE-R, arXiv 2504.01400). Each step is a stage of the run directory: done once, skipped when the
run is started again, redone when a setting it depends on has changed.

Acceptance (`strop.training.acceptance`) looks only at held-out tasks of the training distribution. The
benchmark is reported, never used to decide: a policy picked by its benchmark score would have been fitted to
it.
"""

from __future__ import annotations

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
from strop.refine.choice import answerer_for
from strop.refine.collect import collect_with
from strop.refine.ray_workers import RayPlan
from strop.refine.selection import grew
from strop.refine.store import selected_ids
from strop.tools.bfcl.suite import load_suite
from strop.tools.case import judged_suite
from strop.tools.corpus import data_here
from strop.tools.files import BadRow, file_digest, read_json, write_json, write_jsonl, write_text
from strop.tools.suite import Suite
from strop.tools.task import Task, digest, read_tasks, tasks_to_rows
from strop.training.acceptance import NOTHING_TO_LEARN, SELECTION_STOPPED, decide
from strop.training.config import RoundConfig, WarmupTable
from strop.training.copies import refuse_copies
from strop.training.demonstrations import Lessons, Student, learn_from_samples, lessons, warm_up
from strop.training.evaluation import copy_measures, verdicts
from strop.training.greeting import greet
from strop.training.in_process import in_this_process
from strop.training.preferences import collects_with, refuse_unsound, train_on_pairs
from strop.training.replay import Replay, replay
from strop.training.report import render_report
from strop.training.run import RunDirectory, stage_key
from strop.training.split import source_tasks, split
from strop.training.workbench import Workbench

SCREENING = "screening.json"
"""In the run's directory: which benchmarks the tasks were compared with."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The policy the next round starts from."""

    adapter: Path | None
    """None is the model as it came."""
    key: str
    """Content address of how its weights came about, the engine included only where they were trained on what
    it wrote."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a round has to learn from."""

    pairs: Path
    """File of the preference pairs, in the collection's directory."""
    key: str
    """Content address of the pairs."""
    sampled: str
    """And of the samples they were found in."""


class Rounds:
    """One run of as many rounds as configured."""

    def __init__(self, config: RoundConfig, run: RunDirectory, console: Console):
        self._config = config
        self._run = run
        self._console = console
        self._measured: dict[str, Path] = {}
        """Folder of the evaluation of each policy measured so far, by the policy's key."""
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
        policy = Accepted(config.adapter, stage_key("model", weights))
        learned = self._lessons(policy, held_out)
        try:
            await self._serve(policy)
            policy = await self._warm_up(policy, learned, suite, held_out)
            for number in range(1, config.rounds + 1):
                trained = await self._round(number, policy, suite, train_on, held_out)
                if trained is None:
                    break
                policy = trained
        finally:
            await self._bench.close()
        self._run.event("finished")
        return render_report(self._run.path)

    def _warm_up_key(self, table: WarmupTable, policy: Accepted, held_out: list[Task]) -> str:
        settings = [
            table.model_dump(mode="json", exclude={"file", "train"}),
            table.train.decides(),
            self._config.seed,
            file_digest(table.file) if table.file else None,
            digest(held_out),
            # What of a benchmark its tasks repeat is refused or left out, as far as data are here to compare.
            self._config.tasks.allow_copies,
            data_here(),
        ]
        return stage_key("0.train", settings, policy.key)

    def _lessons(self, policy: Accepted, held_out: list[Task]) -> Lessons | None:
        """What the warm-up is to train on; None where there is none, or it was done before."""
        table = self._config.warmup
        if table is None or self._run.is_done("0.train", self._warm_up_key(table, policy, held_out)):
            return None
        return lessons(self._config, table, held_out, self._console)

    async def _warm_up(
        self, policy: Accepted, learned: Lessons | None, suite: Suite, held_out: list[Task]
    ) -> Accepted:
        """What comes before the first round, as round 0; the policy that the first round starts from."""
        table = self._config.warmup
        if table is None:
            return policy
        await self._evaluate(0, "before", policy, suite, held_out)
        key = self._warm_up_key(table, policy, held_out)
        out = self._folder(0) / "train"
        if self._todo("0.train", key, "warm-up: train an adapter on gold, easy to hard", 0):
            assert learned is not None  # by the same key
            with self._run.stage("0.train", key, out):
                await self._bench.close()
                with in_this_process():
                    warm_up(self._config, table, learned, out / "adapter")
        trained = Accepted(out / "adapter", key)
        return trained if await self._judged(0, trained, suite, held_out) else policy

    async def _judged(self, number: int, trained: Accepted, suite: Suite, held_out: list[Task]) -> bool:
        """Measure a trained policy, and decide whether it replaces the one before."""
        folder = self._folder(number)
        await self._evaluate(number, "after", trained, suite, held_out)
        comparison = compare(verdicts(folder / "held_out_before"), verdicts(folder / "held_out_after"))
        decision = decide(comparison, self._config.accept)
        self._decided(number, decision)
        return bool(decision["accepted"])

    async def _round(
        self, number: int, policy: Accepted, suite: Suite, train_on: list[Task], held_out: list[Task]
    ) -> Accepted | None:
        """One round; the new policy where it was accepted, else None."""
        folder = self._folder(number)
        await self._evaluate(number, "before", policy, suite, held_out)
        found = await self._collect(number, policy, train_on)
        if self.stopped_growing(number):
            self._run.forget(f"{number}.corpus", folder / "corpus")
            self._end(number, SELECTION_STOPPED)
            return None
        trained = await self._learn(number, Accepted(policy.adapter, found.sampled), found.pairs, train_on)
        if found.pairs.stat().st_size:
            trained = await self._train(number, trained, found, train_on)
        elif trained.adapter == policy.adapter:
            self._end(number, NOTHING_TO_LEARN)
            return None
        else:
            self._run.forget(f"{number}.train", folder / "train")
        return trained if await self._judged(number, trained, suite, held_out) else None

    def _end(self, number: int, decision: Mapping[str, Any]) -> None:
        """Round `number` trains nothing, and the run ends with it."""
        self._run.forget(f"{number}.train", self._folder(number) / "train")
        self._withdraw(number)
        self._decided(number, decision)

    def _decided(self, number: int, decision: Mapping[str, Any]) -> None:
        write_json(self._folder(number) / "decision.json", decision)
        self._run.event("decided", f"{number}.decide", **decision)

    def _withdraw(self, number: int) -> None:
        """Remove what round `number` came to in an earlier start; a report shows no round after it then."""
        folder = self._folder(number)
        (folder / "decision.json").unlink(missing_ok=True)
        self._run.forget(f"{number}.after", folder / "after", folder / "held_out_after")

    async def _serve(self, policy: Accepted) -> None:
        """Put the server in front of the engine and get a tool call through it, as a client would."""
        key = stage_key("serve", self._config.engine.generates_with(), policy.key)
        if not self._todo("serve", key, "serve: one tool call over HTTP", self._first):
            return
        with self._run.stage("serve", key):
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
        if self._todo("tasks", key, "tasks to train on, and held-out ones", self._first):
            with self._run.stage("tasks", key, folder):
                tasks = source_tasks(settings, seed, self._skipped)
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

    def _skipped(self, row: BadRow) -> None:
        text = f"{self._config.tasks.file}:{row.line}: skipped: {row.reason}"
        self._console.print(text, style="yellow", markup=False)
        self._run.event("row_skipped", "tasks", line=row.line, reason=row.reason)

    async def _evaluate(
        self, number: int, when: str, policy: Accepted, suite: Suite, held_out: list[Task]
    ) -> None:
        """Measure a policy on the benchmark and on the held-out tasks."""
        stage = f"{number}.{when}"
        folders = self._folder(number) / when, self._folder(number) / f"held_out_{when}"
        table = self._config.bench.model_dump(mode="json", exclude={"concurrency"})
        engine = self._config.engine.generates_with()
        key = stage_key(stage, [table, engine, suite.version, digest(held_out)], policy.key)
        known = self._measured.setdefault(policy.key, folders[0])
        undecided = number if when == "before" else None
        if not self._todo(stage, key, f"round {number}: benchmark {when} training", undecided):
            return
        with self._run.stage(stage, key, *folders):
            if known != folders[0]:
                copy_measures(known, folders)
                return
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

    async def _collect(self, number: int, policy: Accepted, tasks: list[Task]) -> Collected:
        """Deficiencies, trees and pairs."""
        folder = self._folder(number) / "collect"
        settings = collects_with(self._config)
        stage, asked = f"{number}.collect", [digest(tasks), self._config.engine.generates_with()]
        key = stage_key(stage, [asdict(replace(settings, concurrency=1)), asked], policy.key)
        sampled = stage_key(stage, [settings.sampled_with(), asked], policy.key)
        if self._todo(stage, key, f"round {number}: deficiencies, search, preference pairs", number):
            with self._run.stage(stage, key, folder, kept_by=sampled):
                async with self._bench.executor(
                    policy.adapter, self._plan(), settings.concurrency
                ) as executor:
                    embed = Embedder(self._config.model)
                    await collect_with(executor, tasks, settings, folder, embed)
        samples = stage_key(stage, [asdict(settings.sampling), asked], policy.key)
        return Collected(folder / "pairs.jsonl", key, samples)

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

    async def _learn(self, number: int, policy: Accepted, pairs: Path, tasks: Sequence[Task]) -> Accepted:
        """Train on what the collection's samples teach, where that is asked for; `policy` where they teach
        nothing. Its key is the samples'."""
        table, stage, out = self._config.corpus, f"{number}.corpus", self._folder(number) / "corpus"
        if table is None:
            self._run.forget(stage, out)  # of an earlier start: the report would take it for this round's
            return policy
        asked = [table.model_dump(mode="json", exclude={"train"}), table.train.decides()]
        key = stage_key(stage, asked, policy.key)
        if self._todo(stage, key, f"round {number}: train on right answers and checks of drafts", number):
            with self._run.stage(stage, key, out):
                await self._bench.close()
                with in_this_process():
                    learn_from_samples(
                        Student(self._config.model, policy.adapter),
                        tasks,
                        pairs.parent,
                        out / "adapter",
                        table.rows,
                        table.train,
                        stop_token=table.stop_token,
                        track=self._config.train_with.track,
                        screening=read_json(self._run.path / SCREENING),
                    )
        return Accepted(out / "adapter", key) if (out / "adapter").exists() else replace(policy, key=key)

    async def _train(
        self, number: int, policy: Accepted, found: Collected, tasks: Sequence[Task]
    ) -> Accepted:
        """Train on the pairs, where they are fit for it; the engine gives its memory back first."""
        pairs = found.pairs
        folder = self._folder(number) / "train"
        replayed = self.replayed(number)
        asked: Any = self._config.train.decides()
        if replayed is not None:
            asked = [asked, self._config.replay.share, [kept.text for kept in replayed.pairs]]
        key = stage_key(f"{number}.train", asked, policy.key, found.key)
        if self._todo(f"{number}.train", key, f"round {number}: train an adapter on the pairs", number):
            with self._run.stage(f"{number}.train", key, folder):
                refuse_unsound(pairs.parent, self._config, tasks, self._run.path / "tasks" / "train.jsonl")
                await self._bench.close()
                if replayed is not None:
                    pairs = self._replay(number, pairs, replayed, folder)
                screening = read_json(self._run.path / SCREENING)
                await train_on_pairs(self._config, policy.adapter, pairs, folder, screening)
        return Accepted(folder / "adapter", key)

    def replayed(self, number: int) -> Replay | None:
        """What round `number` trains on of earlier rounds; None where nothing is asked for, or none was.

        All of them were accepted, for a refused round ends the run. Their own pairs are sampled from, not
        what they replayed themselves.
        """
        table = self._config.replay
        if number == 1 or not table.share:
            return None
        *earlier, now = (self._folder(one) / "collect" for one in range(1, number + 1))
        return replay(now, earlier, table.share, self._config.seed)

    def _replay(self, number: int, own: Path, replayed: Replay, folder: Path) -> Path:
        """Say and write down what is trained on again; the file of all pairs."""
        counts = {"pairs": len(replayed.pairs), "wanted": replayed.wanted, "left_out": replayed.left_out}
        self._run.event("replayed", f"{number}.train", **counts)
        self._console.print(
            f"{len(replayed.pairs)} pairs of earlier rounds are trained on again ({replayed.wanted} wanted)"
        )
        file = folder / "pairs.jsonl"
        again = "".join(f"{kept.text}\n" for kept in replayed.pairs)
        write_text(folder / "replay.jsonl", again)
        write_text(file, own.read_text(encoding="utf-8") + again)
        return file

    def _todo(self, stage: str, key: str, what: str, number: int | None = None) -> bool:
        """Say what comes, and whether it is still to be done: what round `number` came to rested on it."""
        done = self._run.is_done(stage, key)
        self._console.print(
            f"[green]✓[/green] {what} [dim](done before)[/dim]" if done else f"[bold]▸ {what}[/bold]"
        )
        if not done and number is not None:
            self._withdraw(number)
        return not done

    @property
    def _first(self) -> int:
        """The number of what comes first: a warm-up is round 0."""
        return 0 if self._config.warmup else 1

    def _folder(self, number: int) -> Path:
        return self._run.path / "rounds" / str(number)
