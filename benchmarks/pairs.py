"""How long a check of pairs takes, and how long a browser takes over the page of a large tree.

    python benchmarks/pairs.py [--pairs 10000] [--nodes 500] [--browser chromium]

Pairs and tree are made up: answers of one call each over the scripted engine's ids, a byte an id. The browser
runs headless; its times are those of the script and the layout it causes, without painting.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from strop.agent.answer import Draft
from strop.agent.engines.scripted import ScriptedTemplate
from strop.refine.audit import Knowledge, Thresholds, audit
from strop.refine.joints import cuts
from strop.refine.record import PairRecord
from strop.refine.sample import Sample, assess
from strop.refine.search import grow
from strop.refine.store import CollectionDir
from strop.refine.tree import SearchTree
from strop.refine.tree_page import gallery, write_gallery
from strop.tools.formats import FORMATS, read_calls
from strop.tools.spec import ToolCall
from strop.tools.task import Task

TEMPLATE = ScriptedTemplate()
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
TIMED = """
const said = {}, time = (what, act) => { const t = performance.now(); act(); document.body.offsetHeight;
  said[what] = Math.round(10 * (performance.now() - t)) / 10; };
time("open", () => go(0));
const all = [...document.querySelectorAll(".tool")].find((b) => b.textContent === "Expand all");
time("expand all", () => all.click());
time("close a node", () => document.querySelectorAll("#tree .twist")[2].click());
time("choose a node", () => document.querySelectorAll("#tree .frag")[1].click());
time("search", () => { $("text").value = "paris"; list(); });
document.body.append("TIMES" + JSON.stringify(said) + "END");
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500, help="least nodes of the tree")
    parser.add_argument("--browser", default="chromium")
    options = parser.parse_args()
    check(options.pairs)
    browse(options.nodes, options.browser)


def question(days: int) -> Task:
    row = {
        "id": f"days/{days}",
        "messages": [{"role": "user", "content": f"Weather in Paris for {days} days?"}],
        "tools": [TOOL],
        "calls": [{"name": "get_weather", "arguments": {"city": "Paris", "days": days}}],
    }
    return Task.from_json(row)


def answer(city: str, days: int) -> str:
    return FORMATS["fenced_json"].render([ToolCall("get_weather", {"city": city, "days": days})])


def check(count: int) -> None:
    """An audit of `count` sound pairs, every one judged anew."""
    tasks = {task.id: task for task in map(question, range(1, 200))}
    records = [PairRecord.from_json(pair(number), number) for number in range(1, count + 1)]
    started = time.perf_counter()
    found = audit(records, [], Thresholds(), Knowledge(tasks))
    seconds = time.perf_counter() - started
    assert not found.findings
    print(f"{count:,} pairs of about {len(records[0].chosen.ids)} ids a side checked in {seconds:.1f} s")


def pair(number: int) -> dict[str, Any]:
    days = number % 199 + 1
    right, wrong = answer("Paris", days), answer("Rome", days + 1)
    return {
        "id": str(number),
        "task_id": f"days/{days}",
        "kind": "full",
        "prompt_ids": [1000 + number, *range(300)],
        "chosen_ids": list(TEMPLATE.answer_ids(right)),
        "rejected_ids": list(TEMPLATE.answer_ids(wrong)),
        "chosen_text": right,
        "rejected_text": wrong,
        "evidence": {
            "chosen_value": 1.0,
            "rejected_value": 0.3,
            "chosen_verdict": "correct",
            "rejected_verdict": "wrong_value",
        },
    }


def tree_of(nodes: int) -> SearchTree:
    """At least `nodes` nodes, of random answers."""
    task, rng = question(3), random.Random(0)
    tree = SearchTree.rooted(task.id, "simple", TEMPLATE.prompt_ids(task.messages, task.tools))
    while len(tree.nodes) < nodes:
        text = answer(rng.choice(("Paris", "Rome", "Oslo", "Lima")), rng.randrange(nodes))
        ids, reading = TEMPLATE.answer_ids(text), read_calls(text)
        outcome = assess(task, Draft((), ids, text, reading.calls, reading.content))
        sample = Sample(ids, (-0.1,) * len(ids), outcome)
        grow(tree, tree.root, [sample], lambda ids: cuts(ids, TEMPLATE.decode, "fenced_json", depth=12))
    return tree


def browse(nodes: int, browser: str) -> None:
    """The page of one tree in a real browser."""
    if shutil.which(browser) is None:
        print(f"no {browser}: the page was not tried")
        return
    tree = tree_of(nodes)
    with tempfile.TemporaryDirectory() as folder:
        CollectionDir(Path(folder)).write_tree(tree)
        page = Path(folder) / "trees.html"
        write_gallery(page, gallery(Path(folder), TEMPLATE, {}, model="made up", limit=1))
        with page.open("a") as file:
            file.write(f"<script>{TIMED}</script>")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
        drawn = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.findall("TIMES({.*?})END", drawn)
    times = ", ".join(f"{what} {ms} ms" for what, ms in json.loads(found[-1]).items())
    print(f"a tree of {len(tree.nodes)} nodes: {times}")


if __name__ == "__main__":
    main()
