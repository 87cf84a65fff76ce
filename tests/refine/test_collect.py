"""The whole collection: what it writes, going on after a kill, and refusing to mix."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.policy import Policy
from strop.refine.collect import CollectConfig, CollectSummary, collect
from strop.refine.gate import GateConfig
from strop.refine.pairs import GoldUse
from strop.refine.search import SearchConfig
from strop.refine.store import CollectionDir
from strop.refine.tree import SearchTree, violations
from strop.tools.errors import DataError, EngineError, RunError, UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from tests.refine.worlds import BOTH, EASY, NEITHER, SIMPLE, TASKS, WORLD, files, policy

CONFIG = CollectConfig(samples=6, search=SearchConfig(simulations=4, max_tokens=400), concurrency=2)


async def collected(out: Path, config: CollectConfig = CONFIG, **options: Any) -> CollectSummary:
    return await collect(TASKS, policy(WORLD, **options), config, out)


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_collection_is_whole(tmp_path: Path) -> None:
    summary = await collected(tmp_path)
    pairs = rows(tmp_path / "pairs.jsonl")
    assert summary.pairs == len(pairs) > 0
    assert [pair["task_id"] for pair in pairs] == sorted(pair["task_id"] for pair in pairs)
    assert len({pair["id"] for pair in pairs}) == len(pairs)
    assert {row["task_id"] for row in rows(tmp_path / "deficiencies.jsonl")} == {task.id for task in TASKS}
    trees = [
        SearchTree.from_json(json.loads(gzip.decompress(f.read_bytes())))
        for f in (tmp_path / "trees").glob("*.gz")
    ]
    assert {tree.task_id for tree in trees} == {SIMPLE.id, BOTH.id, NEITHER.id}  # EASY is always solved
    assert [violations(tree) for tree in trees] == [[]] * 3
    stored = json.loads((tmp_path / "summary.json").read_text())
    assert (
        stored["pairs"]
        == sum(stored["by_category"].values())
        == sum(stored["by_kind"].values())
        == len(pairs)
    )
    assert stored["by_error"] == summary.by_error
    assert stored["deficiencies"]["all"]["selection"]["solved"] == 1
    assert stored["generated_tokens"] == sum(tree.generated_tokens for tree in trees) + sum(
        len(attempt["ids"])
        for row in rows(tmp_path / "deficiencies.jsonl")
        if row["task_id"] == EASY.id
        for attempt in row["attempts"]
    )


async def test_halves_of_surrogate_pairs_in_an_id_are_no_obstacle(tmp_path: Path) -> None:
    odd = replace(SIMPLE, id="q\ud83d")
    summary = await collect([odd], policy(WORLD), CONFIG, tmp_path)
    assert summary.searched == 1
    assert {pair["task_id"] for pair in rows(tmp_path / "pairs.jsonl")} == {odd.id}


async def test_the_same_seed_gives_the_same_bytes_at_any_concurrency(tmp_path: Path) -> None:
    await collected(tmp_path / "a")
    await collected(tmp_path / "b", replace(CONFIG, concurrency=16))
    await collected(tmp_path / "c", replace(CONFIG, seed=1))
    texts = [(tmp_path / name / "pairs.jsonl").read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


async def test_trees_do_not_wait_for_other_tasks_samples_unless_the_selection_does(tmp_path: Path) -> None:
    waited = {}
    for name, select in (("apart", ("band",)), ("together", ("band", "random:99"))):
        own = policy(WORLD)
        assert isinstance(own.engine, ScriptedEngine)
        await collect(TASKS, own, replace(CONFIG, select=select, concurrency=1), tmp_path / name)
        asked = [request.prompt_ids for request in own.engine.requests]
        last_sample = next(place for place, ids in enumerate(asked) if ids == own.prompt_ids(EASY))
        waited[name] = len({asked[place] for place in range(last_sample)}) == len(TASKS) - 1
    assert waited == {"apart": False, "together": True}
    assert files(tmp_path / "apart") == files(tmp_path / "together")


async def test_a_second_start_asks_nothing(tmp_path: Path) -> None:
    await collected(tmp_path)
    before = (tmp_path / "pairs.jsonl").read_bytes()
    engine = ScriptedEngine({})
    await collect(TASKS, Policy(engine, policy({}).template), CONFIG, tmp_path)
    assert engine.requests == []
    assert (tmp_path / "pairs.jsonl").read_bytes() == before


async def test_pairs_can_be_chosen_anew_from_the_same_trees(tmp_path: Path) -> None:
    first = await collected(tmp_path, replace(CONFIG, gold=GoldUse.NEVER))
    more = await collected(tmp_path, replace(CONFIG, gate=GateConfig(per_task=10)))
    assert more.pairs > first.pairs
    assert "gold" in more.by_source
    assert "gold" not in first.by_source


async def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    await collected(tmp_path)
    with pytest.raises(UsageError, match=r"other settings \(temperature 0.8, now 0.5\)"):
        await collected(tmp_path, replace(CONFIG, temperature=0.5))
    with pytest.raises(UsageError, match=r"other settings \(.*model .*, now .another.\)"):
        await collected(tmp_path, model="another")
    trained = policy(WORLD)
    trained.weights = "of another adapter"
    with pytest.raises(UsageError, match=r"other settings \(weights\)"):
        await collect(TASKS, trained, CONFIG, tmp_path)
    changed = Task.from_json({**SIMPLE.to_json(), "calls": []})
    with pytest.raises(UsageError, match="task 'simple' has changed"):
        await collect([changed], policy(WORLD), CONFIG, tmp_path)


async def test_trees_without_the_samples_they_grew_from_are_nobodys(tmp_path: Path) -> None:
    """Else they were taken for those of whoever collects there next."""
    await collected(tmp_path)
    (tmp_path / "deficiencies.jsonl").unlink()
    with pytest.raises(UsageError, match=r"trees holds trees.* none of the samples"):
        await collected(tmp_path, model="another")


async def test_ids_that_were_sampled_count_whatever_is_selected_later(tmp_path: Path) -> None:
    first = await collected(tmp_path)
    fewer = await collected(tmp_path, replace(CONFIG, select=("band", "random:1")))
    assert fewer.searched < first.searched
    assert fewer.generated_tokens == first.generated_tokens


async def test_a_row_that_cannot_be_read_is_named_and_stays(tmp_path: Path) -> None:
    await collected(tmp_path)
    file = tmp_path / "deficiencies.jsonl"
    broken = b"{broken\n" + file.read_bytes()
    file.write_bytes(broken)
    with pytest.raises(DataError, match=r"deficiencies\.jsonl:1: not JSON.*delete the line"):
        await collected(tmp_path)
    assert file.read_bytes() == broken


async def test_a_failing_engine_is_one_error_and_what_is_done_stays(tmp_path: Path) -> None:
    world = {**WORLD, "Tell me a joke.": EngineError("the engine died")}
    with pytest.raises(EngineError, match="the engine died"):
        await collect(TASKS, policy(world), replace(CONFIG, concurrency=1), tmp_path)
    done = {row["task_id"] for row in rows(tmp_path / "deficiencies.jsonl")}
    assert done == {SIMPLE.id, BOTH.id}
    await collected(tmp_path)
    await collected(tmp_path / "unbroken")
    assert (tmp_path / "pairs.jsonl").read_bytes() == (tmp_path / "unbroken" / "pairs.jsonl").read_bytes()


async def test_a_task_that_does_not_fit_or_has_no_gold_is_counted(tmp_path: Path) -> None:
    live = replace(SIMPLE, id="live", gold=None)
    room = len(policy(WORLD).prompt_ids(BOTH))
    summary = await collect([SIMPLE, BOTH, live], policy(WORLD, context_length=room), CONFIG, tmp_path)
    assert summary.deficiencies["all"]["selection"] == {"no_gold": 1, "no_room": 1, "unsolved": 1}


async def test_gold_that_cannot_be_written_costs_its_task_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = replace(BOTH, gold=Gold((ToolCall("get_weather", {"city": float("nan")}),)))
    summary = await collect([odd, SIMPLE], policy(WORLD), CONFIG, tmp_path)
    assert set(summary.by_category) == {"simple"}
    assert "task 'dir/both': its gold cannot be preferred" in capsys.readouterr().err


async def test_two_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    slow = policy(WORLD, latency=0.01)
    first = asyncio.create_task(collect(TASKS, slow, CONFIG, tmp_path))
    while not (tmp_path / "settings.json").exists():
        await asyncio.sleep(0.001)
    with pytest.raises(RunError, match="another process is running a collection"):
        await collected(tmp_path)
    await first
    assert not list(tmp_path.glob(".*"))


async def test_a_row_cut_off_by_a_kill_is_sampled_again(tmp_path: Path) -> None:
    await collected(tmp_path)
    file = tmp_path / "deficiencies.jsonl"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    await collected(tmp_path)
    assert len(rows(file)) == len(TASKS)


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        (CollectConfig, {"concurrency": 0}),
        (CollectConfig, {"samples": 0}),
        (SearchConfig, {"root_alpha": 0.0}),
        (SearchConfig, {"width": 0}),
        (GateConfig, {"per_task": -1}),
    ],
)
def test_settings_out_of_range_are_named(table: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        table(**wrong)


async def test_a_broken_tree_file_is_named(tmp_path: Path) -> None:
    await collected(tmp_path)
    file = CollectionDir(tmp_path).tree_file(BOTH.id)
    file.write_bytes(gzip.compress(b'{"version": 7}'))
    with pytest.raises(DataError, match=r"both\.json\.gz: not a search tree .*version 7.*delete it"):
        await collected(tmp_path)


def test_tree_files_of_different_tasks_differ(tmp_path: Path) -> None:
    store = CollectionDir(tmp_path)
    ids = ["a/b", "a%2Fb", "a_b", "x" * 300, "x" * 301, "..", ".a", "%2Ea", "", "%", "é"]
    files = {store.tree_file(task_id) for task_id in ids}
    assert len(files) == len(ids)
    assert {file.parent for file in files} == {tmp_path / "trees"}
    assert not any(file.name.startswith(".") for file in files)  # as files that are being written are called


HANGS_AFTER_THE_FIRST_TREE = """
import asyncio, dataclasses, sys, time
from pathlib import Path
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.refine.collect import collect
from tests.refine.test_collect import CONFIG
from tests.refine.worlds import TASKS, WORLD

out = Path(sys.argv[1])

def script(prompt):
    if any((out / "trees").glob("*.gz")):
        time.sleep(600)
    return WORLD[last_turn(prompt)]

policy = Policy(ScriptedEngine(script), ScriptedTemplate())
asyncio.run(collect(TASKS[::-1], policy, dataclasses.replace(CONFIG, concurrency=1), out))
"""


async def test_a_kill_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    await collected(tmp_path / "unbroken")
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS_AFTER_THE_FIRST_TREE, str(out)],
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 60
    while not any((out / "trees").glob("*.gz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "pairs.jsonl").exists()
    finished = {file: file.stat().st_mtime_ns for file in (out / "trees").glob("*.gz")}
    assert 0 < len(finished) < 3
    await collected(out)
    assert len(list((out / "trees").glob("*.gz"))) == 3
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert (out / "pairs.jsonl").read_bytes() == (tmp_path / "unbroken" / "pairs.jsonl").read_bytes()
