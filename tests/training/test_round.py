from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from strop.agent.cli.pairs import app
from strop.agent.loading import Loaded
from strop.agent.profile import Profile
from strop.refine.collect import CollectConfig
from strop.refine.executor import Executor, Here
from strop.refine.gate import GateConfig
from strop.refine.ray_workers import RayPlan
from strop.refine.search import SearchConfig
from strop.tools.case import judged_suite
from strop.tools.errors import DataError, RunError, StropError
from strop.tools.files import read_json, read_jsonl, write_json, write_jsonl
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task, tasks_to_rows
from strop.training.config import (
    BenchTable,
    CheckTable,
    CorpusTable,
    EngineTable,
    RoundConfig,
    TasksTable,
    WarmupTable,
)
from strop.training.corpus import CorpusConfig
from strop.training.demonstrations import lessons
from strop.training.preferences import refuse_unsound
from strop.training.regrouping import usable
from strop.training.round import Accepted, Collected, Rounds
from strop.training.run import RunDirectory
from strop.training.run_view import read_run
from strop.training.sft import SftConfig
from strop.training.split import split, without_conversations_of
from strop.training.synth import synthesise
from strop.training.workbench import Workbench
from tests.refine.worlds import TASKS, WORLD, policy
from tests.training.fake_run import build_run
from tests.training.tiny import talking_checkpoint, tiny_checkpoint


@given(held_out=st.integers(1, 19), seed=st.integers(0, 99))
def test_a_split_loses_and_repeats_nothing(held_out: int, seed: int) -> None:
    tasks = synthesise(20, 0)
    train_on, kept = split(tasks, held_out, seed)
    assert len(kept) == held_out
    assert sorted(task.id for task in (*train_on, *kept)) == sorted(task.id for task in tasks)


def test_a_conversation_is_on_one_side_of_the_split() -> None:
    talks = [
        (
            f"{talk}#{turn}",
            [{"role": "user", "content": f"{talk}"}, *({"role": "user", "content": n} for n in "ab"[:turn])],
        )
        for talk in range(12)
        for turn in (2, 0, 1)
    ]
    tasks = [replace(TASKS[0], id=name, messages=tuple(said)) for name, said in talks]
    for held_out in (8, 9):
        train_on, kept = split(tasks, held_out, 3)
        assert [len(train_on), len(kept)] == [30, 6] if held_out == 8 else [27, 9]
        sides = [{task.id.split("#")[0] for task in side} for side in (train_on, kept)]
        assert sides[0].isdisjoint(sides[1])
        # Whoever asks for less of a conversation, or for more, gives it away.
        assert without_conversations_of(kept[:1], tasks) == [
            task for task in tasks if task.id.split("#")[0] != kept[0].id.split("#")[0]
        ]
    with pytest.raises(RunError, match="no conversation has as few as 2 tasks"):
        split(tasks, 2, 3)


def test_what_comes_before_anybody_asks_is_no_conversation() -> None:
    opening = ({"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hello!"})
    asked = [
        replace(TASKS[0], id=str(n), messages=(*opening, {"role": "user", "content": str(n)}))
        for n in range(9)
    ]
    greeting = replace(TASKS[0], id="greeting", messages=opening[:1])
    train_on, kept = split([greeting, *asked], 4, 0)
    assert (len(train_on), len(kept)) == (6, 4)
    assert without_conversations_of([greeting], asked) == asked


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(RunError, match="held_out"):
        split(synthesise(8, 0), 8, 0)


def collected(folder: Path, tasks: list[Task], right: int) -> Path:
    """Pairs of which the first `right` prefer what is right, the others what is wrong."""
    rows = []
    for number, task in enumerate(tasks):
        assert task.gold is not None
        text = FORMATS["fenced_json"].render(task.gold.calls)
        texts = (text, "I cannot do that.") if number < right else ("I cannot do that.", text)
        verdicts = ("correct", "missing_call")
        rows.append(
            {
                "id": task.id, "task_id": task.id, "kind": "full", "prompt_ids": [number + 1],
                "chosen_ids": [5, 2], "rejected_ids": [6, 2],
                "chosen_text": texts[0], "rejected_text": texts[1],
                "evidence": {"chosen_value": 1.0, "rejected_value": 0.0, "chosen_verdict": verdicts[0],
                             "rejected_verdict": verdicts[1]},
            }
        )  # fmt: skip
    write_jsonl(folder / "pairs.jsonl", rows)
    return folder


def test_pairs_that_are_not_sound_stop_the_stage_with_the_reason(tmp_path: Path) -> None:
    tasks = synthesise(6, 0, ["simple"])
    config, file = RoundConfig(tasks=TasksTable(synthesise=200)), tmp_path / "all tasks.jsonl"
    write_jsonl(file, tasks_to_rows(tasks))
    refuse_unsound(collected(tmp_path / "sound", tasks, 6), config, tasks, file)
    unsound = collected(tmp_path / "unsound", tasks, 5)
    with pytest.raises(RunError, match=r"not trained on: chosen fails: 1 of 6 rows.*rejected passes.*stale"):
        refuse_unsound(unsound, config, tasks, file)
    refuse_unsound(unsound, config.model_copy(update={"check": CheckTable(allow=0.2)}), tasks, file)
    short = config.model_copy(update={"train": replace(config.train, max_length=2)})
    with pytest.raises(RunError, match="length: 6 of 6 rows") as refused:
        refuse_unsound(tmp_path / "sound", short, tasks, file)
    # The command that it names shows the same.
    command = str(refused.value).split("'strop pairs ")[1].split("' shows the rows")[0]
    shown = CliRunner().invoke(app, shlex.split(command))
    assert shown.exit_code == 1
    assert "length: 6 of 6 rows" in shown.output
    assert "6 of 6 judged anew" in shown.output


class Scripted(Workbench):
    """Collects with a policy that answers from `WORLD`."""

    @asynccontextmanager
    async def executor(
        self, adapter: Path | None, plan: RayPlan | None, concurrency: int
    ) -> AsyncIterator[Executor]:
        del adapter, plan
        yield Here(policy(WORLD), concurrency)

    async def policy(self, adapter: Path | None) -> Loaded:
        del adapter
        return Loaded(policy(WORLD), Profile(), self.source.adapter or Path())


def scripted(config: RoundConfig, run: RunDirectory) -> Rounds:
    rounds = Rounds(config, run, Console(quiet=True))
    rounds._bench = Scripted(rounds._bench.source)
    return rounds


async def test_a_round_collects_no_pair_that_is_too_long_to_train_on(tmp_path: Path) -> None:
    collect = CollectConfig(samples=6, search=SearchConfig(simulations=4, max_tokens=400))
    config, keys = RoundConfig(tasks=TasksTable(synthesise=50), collect=collect), []
    for longest in (4096, 3000, 1000):
        train = replace(config.train, max_length=longest)
        fitting = config.model_copy(update={"train": train})
        with RunDirectory(tmp_path, resume=True) as run:
            found = await scripted(fitting, run)._collect(1, Accepted(None, "-"), list(TASKS))
        refuse_unsound(found.pairs.parent, fitting, TASKS, tmp_path / "tasks.jsonl")
        keys.append(found.key)
    assert read_json(found.pairs.parent / "summary.json")["refused"]["length"] > 0
    # Above the gate's own length nothing changes, and nothing is collected again.
    assert keys[0] == keys[1] != keys[2]
    events = [row for _, row in read_jsonl(tmp_path / "events.jsonl")[0]]
    assert sum(row["event"] == "stage_start" for row in events) == 2


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
async def test_a_round_without_pairs_learns_what_its_samples_teach(tmp_path: Path) -> None:
    train = SftConfig(batch_size=2, rank=2, dtype="float32")
    taught = CorpusTable(rows=CorpusConfig(drafts=0), train=train, stop_token=False)
    config = RoundConfig(
        model=str(talking_checkpoint(tmp_path / "tiny")),
        tasks=TasksTable(synthesise=50),
        # No two answers differ by so much, so that the gate lets no pair through.
        collect=CollectConfig(samples=4, search=SearchConfig(simulations=0), gate=GateConfig(max_length=2)),
    )
    bench, tasks = judged_suite("bench", TASKS), list(TASKS)
    for corpus in (None, taught):
        with RunDirectory(tmp_path / "run", resume=corpus is not None) as run:
            rounds = scripted(config.model_copy(update={"corpus": corpus}), run)
            rounds.screen(tasks)
            assert await rounds._round(1, Accepted(None, "-"), bench, tasks, tasks) is None
        folder = tmp_path / "run/rounds/1"
        assert not (folder / "collect/pairs.jsonl").stat().st_size
        reason = read_json(folder / "decision.json")["reason"]
        assert ("no preference pair came" in reason) is (corpus is None)
        assert (folder / "after").exists() is (corpus is not None)
    assert "0 of 4 tasks turned right" in reason
    view = read_run(tmp_path / "run").rounds[0]
    assert view.trained["examples"] == 3
    assert len(view.log) == view.trained["steps"]


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
async def test_another_gate_does_not_train_on_the_samples_again(tmp_path: Path) -> None:
    train = SftConfig(batch_size=2, rank=2, dtype="float32")
    taught = CorpusTable(rows=CorpusConfig(drafts=0), train=train, stop_token=False)
    model, tasks = str(talking_checkpoint(tmp_path / "tiny")), list(TASKS)
    times, trees = list[int](), list[dict[str, int]]()
    for length, samples in ((2, 4), (3, 4), (3, 5)):
        search, gate = SearchConfig(simulations=2, max_tokens=400), GateConfig(max_length=length)
        collect = CollectConfig(samples=samples, search=search, gate=gate)
        config = RoundConfig(model=model, tasks=TasksTable(synthesise=50), collect=collect, corpus=taught)
        with RunDirectory(tmp_path / "run", resume=bool(times)) as run:
            rounds = scripted(config, run)
            rounds.screen(tasks)
            assert (
                await rounds._round(1, Accepted(None, "-"), judged_suite("bench", TASKS), tasks, tasks)
                is None
            )
        folder = tmp_path / "run/rounds/1"
        times.append((folder / "corpus/adapter/train_summary.json").stat().st_mtime_ns)
        trees.append({path.name: path.stat().st_mtime_ns for path in (folder / "collect/trees").glob("*.gz")})
        assert not (folder / "collect/pairs.jsonl").stat().st_size
        assert "held-out accuracy" in read_json(folder / "decision.json")["reason"]
        assert not (folder / "train").exists()
    assert times[0] == times[1] != times[2]
    assert trees[0]
    assert trees[0] == trees[1] != trees[2]


def test_an_engines_settings_do_not_decide_what_is_learned_from_gold(tmp_path: Path) -> None:
    table = WarmupTable(families=2)
    config = RoundConfig(tasks=TasksTable(synthesise=50), warmup=table)
    longer = config.model_copy(update={"engine": EngineTable(max_model_len=8192)})
    often = replace(table.train, save_steps=1, gradient_checkpointing=True)
    other = replace(table.train, micro_batch_size=2, batch_size=4)
    with RunDirectory(tmp_path, resume=False) as run:
        key, same, same_again, changed = (
            Rounds(one, run, Console(quiet=True))._warm_up_key(learned, Accepted(None, "-"), list(TASKS))
            for one, learned in (
                (config, table),
                (longer, table),
                (config, table.model_copy(update={"train": often})),
                (config, table.model_copy(update={"train": other})),
            )
        )
    assert key == same == same_again != changed


@pytest.mark.parametrize("redone", ["collect", "train"])
async def test_what_a_round_came_to_goes_where_what_it_rests_on_is_done_again(
    redone: str, tmp_path: Path
) -> None:
    path = build_run(tmp_path / "run", change={"parallel": 0.5})
    (before,) = read_run(path).rounds
    assert before.decision["accepted"]
    with RunDirectory(path, resume=True) as run:
        config = RoundConfig(model="nowhere", tasks=TasksTable(synthesise=50))
        rounds = Rounds(config, run, Console(quiet=True))
        with run.stage(f"1.{redone}", "key"):
            pass
        assert not rounds._todo(f"1.{redone}", "key", "", 1)
        assert read_run(path).rounds == (before,)
        changed, pairs = Accepted(None, "of other settings"), path / "rounds/1/collect/pairs.jsonl"
        if redone == "train":
            again: Awaitable[object] = rounds._train(1, changed, Collected(pairs, "-", "-"), [])
        else:
            again = rounds._collect(1, changed, [])
        with pytest.raises(StropError, match=r"nowhere|is not trained on"):
            await again
    (now,) = read_run(path).rounds
    assert now.before == before.before
    assert not now.decision
    assert not now.after.exists
    assert not now.held_after.exists


def test_with_other_tasks_nothing_is_left_of_what_the_rounds_came_to(tmp_path: Path) -> None:
    path = build_run(tmp_path / "run", change={"parallel": 0.5})
    with RunDirectory(path, resume=True) as run:
        Rounds(RoundConfig(tasks=TasksTable(synthesise=50)), run, Console(quiet=True)).tasks()
    assert not any(one.decision or one.after.exists for one in read_run(path).rounds)


@pytest.mark.parametrize(
    ("selections", "stopped"),
    [
        ([["a"]], False),
        ([["a"], ["a", "b"]], False),
        ([["a", "b"], ["a"]], True),
        ([["a"], ["b"], ["a"]], True),
        ([["a"], ["b"], ["c"]], False),
    ],
)
def test_a_selection_stops_growing_where_nothing_in_it_is_new(
    selections: list[list[str]], stopped: bool, tmp_path: Path
) -> None:
    for number, ids in enumerate(selections, start=1):
        tasks = {task_id: ["so"] for task_id in ids}
        write_json(tmp_path / f"rounds/{number}/collect/selection.json", {"steps": [], "tasks": tasks})
    with RunDirectory(tmp_path, resume=False) as run:
        for wanted in (True, False):
            config = RoundConfig(tasks=TasksTable(synthesise=50), while_selection_grows=wanted)
            rounds = Rounds(config, run, Console())
            assert rounds.stopped_growing(len(selections)) is (stopped and wanted)


def test_a_rounds_tasks_may_be_of_another_layout(tmp_path: Path) -> None:
    tool = {"name": "find", "parameters": {"where": {"type": "str"}}}
    row = {"tools": json.dumps([tool]), "answers": '[{"name": "find", "arguments": {"where": "Bern"}}]'}
    file = tmp_path / "flats.jsonl"
    write_jsonl(
        file, [*({**row, "id": number, "query": f"A flat? {number}"} for number in range(9)), {**row}]
    )
    config = RoundConfig(tasks=TasksTable(file=file, held_out=8, allow_copies=True))
    with RunDirectory(tmp_path / "run", resume=False) as run:
        train_on, held_out = Rounds(config, run, Console()).tasks()
    assert sorted(task.id for task in (*train_on, *held_out)) == [str(number) for number in range(9)]
    assert all(task.gold == Gold((ToolCall("find", {"where": "Bern"}),)) for task in train_on)
    (skipped,) = (
        event for event in read_jsonl(tmp_path / "run" / "events.jsonl")[0] if "row_skipped" in str(event)
    )
    assert skipped[1]["line"] == 10


async def test_a_warm_up_whose_tasks_are_not_there_is_refused_before_anything_slow(tmp_path: Path) -> None:
    config = RoundConfig(
        model=str(tiny_checkpoint(tmp_path / "tiny")),
        tasks=TasksTable(synthesise=12, held_out=8),
        bench=BenchTable(categories=("simple_python",), limit=1),
        warmup=WarmupTable(file=tmp_path / "missing.jsonl", regroup=3),
    )
    with (
        RunDirectory(tmp_path / "run", resume=False) as run,
        pytest.raises(DataError, match=r"missing\.jsonl: cannot be read"),
    ):
        await Rounds(config, run, Console()).execute()
    begun = [
        event["stage"] for _, event in read_jsonl(tmp_path / "run" / "events.jsonl")[0] if "stage" in event
    ]
    assert "serve" not in begun


def test_a_warm_up_regroups_its_files_tasks_and_says_how_many_could_be(tmp_path: Path) -> None:
    kinds = ("simple", "multiple", "irrelevance")
    tasks = synthesise(24, 4, kinds)
    write_jsonl(tmp_path / "tasks.jsonl", [task.to_json() for task in tasks])
    table = WarmupTable(file=tmp_path / "tasks.jsonl", regroup=4)
    config = RoundConfig(tasks=TasksTable(synthesise=12, held_out=8, allow_copies=True), warmup=table)
    told = Console(record=True, width=200)
    taught = lessons(config, table, [], told).tasks
    assert {task.id.split("/")[0] for task in taught} == {"regrouped"}
    assert len({task.id.split("/")[1] for task in taught}) <= 4
    assert f"{sum(map(usable, tasks))} of" in told.export_text()
    left = lessons(config, table, taught[:1], told).tasks
    assert [task.messages for task in left] == [
        task.messages for task in taught if task.messages != taught[0].messages
    ]


def test_only_a_files_tasks_can_be_regrouped() -> None:
    with pytest.raises(ValueError, match="'regroup' needs a 'file'"):
        WarmupTable(families=2, regroup=3)
