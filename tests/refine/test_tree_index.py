"""The index says what the files say, whatever became of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from strop.refine.collect import CollectConfig, collect
from strop.refine.search import SearchConfig
from strop.refine.store import CollectionDir, TreeFile
from strop.refine.tree_index import INDEX, entries, refresh
from tests.refine.worlds import BOTH, SIMPLE, TASKS, WORLD, policy

CONFIG = CollectConfig(samples=6, search=SearchConfig(simulations=4, max_tokens=400), concurrency=2)


def collected(out: Path, config: CollectConfig = CONFIG) -> CollectionDir:
    asyncio.run(collect(TASKS, policy(WORLD), config, out))
    return CollectionDir(out)


def test_a_line_says_what_is_in_its_tree(tmp_path: Path) -> None:
    store = collected(tmp_path)
    found = entries(store.trees)
    assert [entry.task_id for entry in found] == ["dir/both", "neither", "simple"]
    for entry in found:
        tree = store.read_tree(entry.task_id)
        assert (store.trees / entry.file) == store.tree_file(entry.task_id)
        assert entry.nodes == len(tree.nodes)
        assert entry.answers == tree.root.visits
        assert entry.right == sum(
            leaf.visits for leaf in tree.leaves() if leaf.outcome and leaf.outcome.verdict.correct
        )
        assert entry.generated_tokens == tree.generated_tokens
        assert 0 <= entry.worst <= tree.root.value <= entry.best <= 1


def test_the_same_trees_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one = collected(tmp_path / "one")
    other = collected(tmp_path / "other", replace(CONFIG, concurrency=16))
    assert (one.trees / INDEX).read_bytes() == (other.trees / INDEX).read_bytes()


@pytest.mark.parametrize("damage", ["no index", "no tree", "half a line", "nonsense", "another tree", "lies"])
def test_whatever_became_of_the_index_the_next_start_repairs_it(tmp_path: Path, damage: str) -> None:
    store = collected(tmp_path)
    index = store.trees / INDEX
    whole = index.read_bytes()
    lines = whole.splitlines(keepends=True)
    match damage:
        case "no index":
            index.unlink()
        case "no tree":
            store.tree_file(BOTH.id).unlink()
        case "half a line":
            index.write_bytes(whole[: len(lines[0]) + 10])
        case "nonsense":
            index.write_bytes(b'{"task_id": 1}\n[]\n' + lines[1] + lines[1] + b'{"task_id": "gone"}\n')
        case "another tree":  # its line is of a tree that is there no longer
            store.write_tree(TreeFile.of(replace(store.read_tree(SIMPLE.id), generated_tokens=7)))
            assert {e.task_id: e.generated_tokens for e in entries(store.trees)}[SIMPLE.id] == 7
            store.tree_file(SIMPLE.id).unlink()
        case "lies":
            row = json.loads(lines[0]) | {"sha256": "0" * 64, "nodes": 1}
            index.write_bytes(json.dumps(row).encode() + b"\n" + lines[1] + lines[2])
    collected(tmp_path)
    assert index.read_bytes() == whole


def test_a_tree_whose_line_holds_is_not_opened(tmp_path: Path) -> None:
    store = collected(tmp_path)
    known = entries(store.trees)
    marked = [replace(entry, nodes=-1) for entry in known]
    assert entries(store.trees, {entry.file: entry for entry in marked}) == marked


def test_a_collection_without_trees_has_no_index(tmp_path: Path) -> None:
    assert refresh(tmp_path / "trees") == []
    assert not (tmp_path / "trees").exists()


def test_the_index_of_trees_that_are_all_gone_is_empty(tmp_path: Path) -> None:
    store = collected(tmp_path)
    for file in store.trees.glob("*.gz"):
        file.unlink()
    assert refresh(store.trees) == []
    assert (store.trees / INDEX).read_bytes() == b""
