"""The page shows what the trees hold, and text is never markup."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.engines.scripted import Entry, ScriptedTemplate
from strop.agent.engines.scripted_model import END_ID
from strop.refine.collect import CollectConfig, collect
from strop.refine.gate import GateConfig
from strop.refine.golden import gold_answer
from strop.refine.joints import Joint
from strop.refine.pairs import GoldUse, candidates
from strop.refine.sample import Outcome
from strop.refine.search import SearchConfig
from strop.refine.store import CollectionDir, TreeFile
from strop.refine.tree import Fragment, SearchTree
from strop.refine.tree_page import Gallery, gallery, node_rows, trail, write_gallery
from strop.tools.errors import DataError, UsageError
from strop.tools.task import Task
from strop.tools.verdict import Verdict
from tests.refine.test_search import grown, mixtures
from tests.refine.worlds import BOTH, PARIS, SIMPLE, TASKS, WORLD, call, fenced, policy, task

TEMPLATE = ScriptedTemplate()
HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)> & "it\'s" \u2028 <!--'
CONFIG = CollectConfig(
    samples=12,
    search=SearchConfig(simulations=6, max_tokens=600),
    gate=GateConfig(per_task=20),
    gold=GoldUse.ALWAYS,
)


def pages_gallery(out: Path, limit: int = 500) -> Gallery:
    return gallery(out, TEMPLATE, {one.id: one for one in TASKS}, model="scripted", limit=limit)


class Page(HTMLParser):
    """Elements, and the data of scripts by id."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.data: dict[str, Any] = {}
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = json.loads(data)

    def handle_endtag(self, _: str) -> None:
        self._open = None


def page_of(world: dict[str, Entry], tasks: tuple[Task, ...], out: Path) -> tuple[Page, Path]:
    asyncio.run(collect(tasks, policy(world), CONFIG, out))
    shown = gallery(out, TEMPLATE, {one.id: one for one in tasks}, model="scripted", limit=500)
    write_gallery(out / "trees.html", shown)
    return Page((out / "trees.html").read_text()), out / "trees.html"


def test_the_page_holds_every_tree_and_pair(tmp_path: Path) -> None:
    page, _ = page_of(WORLD, TASKS, tmp_path)
    listed = page.data["trees"]
    assert [one["id"] for one in listed] == ["dir/both", "neither", "simple"]
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [pair["id"] for one in listed for pair in one["pairs"]] == [row["id"] for row in rows]
    for place, one in enumerate(listed):
        tree = CollectionDir(tmp_path).read_tree(one["id"])
        nodes = page.data[f"nodes-{place}"]
        assert len(nodes) == one["nodes"] == len(tree.nodes)
        assert one["answers"] == sum(node[3] for node in nodes if node[8])
        assert sum(one["errors"].values()) == one["answers"] - one["right"]
        for leaf in tree.leaves():
            assert leaf.outcome is not None
            whole = "".join(nodes[step.index][1] for step in tree.path(leaf))
            assert whole.removesuffix("<|end|>") == leaf.outcome.text
            assert nodes[leaf.index][8][0] == str(leaf.outcome.verdict.error or "")
    assert listed[2]["gold"] == 'get_weather(city="Paris", days=3)'
    assert listed[0]["selection"] == "unsolved"


def test_nothing_a_model_or_a_task_says_is_markup(tmp_path: Path) -> None:
    question = f"Weather {HOSTILE}?"
    asked = task(question, PARIS, task_id=f"id {HOSTILE}", category=HOSTILE)
    world: dict[str, Entry] = {question: [fenced(PARIS), HOSTILE, fenced(call("get_weather", city=HOSTILE))]}
    plain, _ = page_of(WORLD, (SIMPLE,), tmp_path / "plain")
    page, file = page_of(world, (asked,), tmp_path / "hostile")
    assert page.tags == plain.tags
    assert "<script>document" not in file.read_text()
    assert page.data["trees"][0]["id"] == asked.id
    assert any(node[1].startswith("</script>") for node in page.data["nodes-0"])


@settings(deadline=None, max_examples=40)
@given(mixtures, st.integers(0, 3), st.sampled_from([SIMPLE, BOTH]))
def test_the_path_of_a_side_spells_it(mixture: list[tuple[str, float]], seed: int, asked: Task) -> None:
    tree = asyncio.run(grown(asked, policy({str(asked.messages[0]["content"]): mixture}), seed=seed))
    texts = [row[1] for row in node_rows(tree, lambda ids: TEMPLATE.decode(ids, skip_special=False))]
    sampled = {tree.prefix_ids(leaf) for leaf in tree.leaves()}
    for pair in candidates(tree, TEMPLATE, gold_answer(asked, TEMPLATE), GoldUse.ALWAYS):
        for side in (pair.chosen, pair.rejected):
            ids = pair.prefix_ids + side.ids
            path = trail(tree, ids)
            if not path:
                assert pair.source == "gold"
                assert ids not in sampled
                continue
            assert [tree.nodes[one].parent for one in path[1:]] == list(path[:-1])
            spelled = "".join(texts[one] for one in path)
            assert spelled.startswith(TEMPLATE.decode(ids, skip_special=False))
            if ids[-1] == END_ID:
                assert tree.nodes[path[-1]].outcome is not None


def test_those_with_pairs_come_first_where_there_are_too_many(tmp_path: Path) -> None:
    asyncio.run(collect(TASKS, policy(WORLD), CONFIG, tmp_path))
    kept = [
        line
        for line in (tmp_path / "pairs.jsonl").read_text().splitlines()
        if json.loads(line)["task_id"] == "simple"
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(kept) + "\n")
    shown = pages_gallery(tmp_path, limit=1)
    assert [one["id"] for one in shown.trees] == ["simple"]
    assert (shown.left_out, shown.totals["trees"]) == (2, 3)


def test_a_collection_that_is_not_done_can_be_looked_at(tmp_path: Path) -> None:
    asyncio.run(collect(TASKS, policy(WORLD), CONFIG, tmp_path))
    for name in ("pairs.jsonl", "summary.json", "trees/index.jsonl"):
        (tmp_path / name).unlink()
    shown = pages_gallery(tmp_path)
    assert len(shown.trees) == 3
    assert not (tmp_path / "trees" / "index.jsonl").exists()  # looking changes nothing


def test_what_is_no_collection_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no collection"):
        CollectionDir(tmp_path).model()
    with pytest.raises(DataError, match="holds no search tree"):
        pages_gallery(tmp_path)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def drawn(file: Path, script: str) -> str:
    """The document after the page's own scripts and `script`, as Chromium has it."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    tried = file.with_name("tried.html")
    tried.write_text(file.read_text() + f"<script>{script}</script>")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", tried.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return dom[dom.index("<main>") : dom.index("</main>")]


def test_a_browser_shows_the_paths_of_a_pair_and_runs_nothing(tmp_path: Path) -> None:
    question = "Weather?"
    world: dict[str, Entry] = {question: [(fenced(PARIS), 1.0), (HOSTILE, 1.0)]}
    _, file = page_of(world, (task(question, PARIS, task_id="hostile"),), tmp_path)
    main = drawn(file, "document.querySelector('.pairs button').click(); $('count').append(document.title)")
    assert "Trees of" in main
    assert "they part here" in main
    for path in ("shared", "chosen", "rejected"):
        assert f'class="row {path}"' in main
    assert "&lt;/script&gt;&lt;script&gt;document.title" in main
    assert "<img" not in main


def test_a_browser_opens_a_tree_of_five_hundred_nodes(tmp_path: Path) -> None:
    asyncio.run(collect([SIMPLE], policy(WORLD), CONFIG, tmp_path))
    tree = SearchTree.rooted("simple", "simple", (1,))
    right = Outcome("", (), Verdict.right(), 1.0, complete=True)
    for one in range(20):
        for other in range(25):
            ends = [Fragment((65 + one,), Joint.NAME, -1.0), Fragment((65 + other, END_ID), Joint.END, -1.0)]
            tree.backup(tree.graft(tree.root, ends, right))
    CollectionDir(tmp_path).write_tree(TreeFile.of(tree))
    (tmp_path / "pairs.jsonl").unlink()
    write_gallery(tmp_path / "trees.html", pages_gallery(tmp_path))
    main = drawn(tmp_path / "trees.html", "")
    opened = drawn(
        tmp_path / "trees.html",
        "[...document.querySelectorAll('.tool')].find((b) => b.textContent === 'Expand all').click();",
    )
    assert main.count('role="treeitem"') < 60
    assert opened.count('role="treeitem"') == len(tree.nodes) == 521
