"""How long does scoring take, beside the official evaluator, and do both find the same answers right?

    python benchmarks/bfcl_scoring.py --official PYTHON [--repeats 3] [--seed 0]

PYTHON is the interpreter of an environment with bfcl-eval and all it depends on, which cannot be installed
beside vLLM: ``python -m venv E; E/bin/pip install bfcl-eval==2026.3.23 soundfile``. An answer to every
single-turn and multi-turn task is made from its gold, right or mutated, and written as the calls of a model
with native ones (filed as gpt-4.1-nano-2025-04-14-FC, which the official registry knows; its names have no
dots). ``strop bench score`` and ``bfcl evaluate`` score the same files in turns, each in a process of its
own whose start counts. Prints the times, the ratio, the scores of both by category, and every answer that
only one of them finds right; exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bfcl_multi_turn_agreement
from bfcl_mutations import results_near

from strop.tools.bfcl.episodes import BfclEpisode
from strop.tools.bfcl.files import PREFIX
from strop.tools.bfcl.single import BfclCase
from strop.tools.bfcl.suite import load_suite
from strop.tools.files import write_jsonl
from strop.tools.spec import ToolCall

MODEL = "gpt-4.1-nano-2025-04-14-FC"


def write_results(root: Path, seed: int) -> int:
    """An answer to every task, in the official layout; how many."""
    folder = root / "result" / MODEL.replace("/", "_")
    by_category: dict[str, list[dict[str, Any]]] = {}
    for case in load_suite().cases:
        rng = random.Random(f"{seed} {case.task.id}")
        result = _answer(case, rng) if isinstance(case, BfclCase) else _trajectory(case, rng)
        row = {
            "id": case.task.id,
            "result": result,
            "input_token_count": 0,
            "output_token_count": 0,
            "latency": 0,
        }
        by_category.setdefault(case.task.category, []).append(row)
    for category, rows in by_category.items():
        group = next((name for name in ("multi_turn", "live") if name in category), "non_live")
        write_jsonl(folder / group / f"{PREFIX}_{category}_result.json", rows)
    return sum(map(len, by_category.values()))


def _answer(case: BfclCase, rng: random.Random) -> Any:
    """Of one task in two the gold, else one of its mutations."""
    gold = case.task.gold.calls if case.task.gold else ()
    near = list(results_near(case, rng))
    calls, content = (gold, "I cannot.") if rng.random() < 0.5 else rng.choice(near)
    result = _native(calls) if calls else content or ""
    # The official command ends with a traceback at an integer too large for a float.
    return result if "0" * 300 not in str(result) else _native(gold)


def _trajectory(case: Any, rng: random.Random) -> list[list[Any]]:
    assert isinstance(case, BfclEpisode)
    mutated = next(bfcl_multi_turn_agreement.mutations(case, rng))
    turns = bfcl_multi_turn_agreement.gold_turns(case) if rng.random() < 0.5 else mutated
    return [[*(_native(step) for step in turn if step), "Done."] for turn in turns]


def _native(calls: Sequence[ToolCall]) -> list[dict[str, str]]:
    return [{call.name.replace(".", "_"): json.dumps(dict(call.arguments))} for call in calls]


def official(python: str, root: Path) -> float:
    """Seconds of one ``bfcl evaluate``."""
    began = time.monotonic()
    command = [
        str(Path(python).parent / "bfcl"),
        "evaluate",
        "--model",
        MODEL,
        "--test-category",
        "single_turn,multi_turn",
    ]
    # Its handler opens a client, which wants a key; scoring sends nothing.
    environment = {**os.environ, "BFCL_PROJECT_ROOT": str(root), "OPENAI_API_KEY": "none"}
    subprocess.run(command, check=True, env=environment, cwd=root, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def ours(root: Path) -> float:
    """Seconds of one ``strop bench score``."""
    began = time.monotonic()
    results = root / "result" / MODEL.replace("/", "_")
    command = [
        sys.executable,
        "-m",
        "strop.agent.cli",
        "bench",
        "score",
        str(results),
        "--out",
        str(root / "strop"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def official_wrong(root: Path) -> Iterator[str]:
    """Ids the official evaluator finds wrong: its score files name them after a first line of totals."""
    for path in (root / "score").rglob(f"{PREFIX}_*_score.json"):
        yield from (json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()[1:])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", required=True, help="interpreter with bfcl-eval installed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bfcl-scoring-") as folder:
        root = Path(folder)
        count = write_results(root, options.seed)
        times: dict[str, list[float]] = {"bfcl evaluate": [], "strop bench score": []}
        for _ in range(options.repeats):
            times["bfcl evaluate"].append(official(options.official, root))
            times["strop bench score"].append(ours(root))
        for name, seconds in times.items():
            each = ", ".join(f"{one:.2f}" for one in seconds)
            print(f"{name:18} {statistics.median(seconds):7.2f} s  ({each})")
        ratio = statistics.median(times["bfcl evaluate"]) / statistics.median(times["strop bench score"])
        print(f"{ratio:.1f} x faster, {count:,} answers")
        rows = [
            json.loads(line) for line in (root / "strop" / "answers.jsonl").read_text("utf-8").splitlines()
        ]
        theirs, own = set(official_wrong(root)), {row["id"] for row in rows if not row["correct"]}
        print(f"wrong: {len(theirs):,} by the official evaluator, {len(own):,} by Strop")
        different = sorted(theirs ^ own)
        for task_id in different:
            print(f"only {'Strop' if task_id in own else 'the official evaluator'} finds {task_id} wrong")
        return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
