"""Builds a run directory as a round would have left it, finished or cut off, without any model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from strop.tools.files import write_json, write_jsonl
from strop.tools.task import Task, tasks_to_rows
from strop.training.synth import CATEGORIES, synthesise

STAGES = ("serve", "tasks", "1.before", "1.collect", "1.train", "1.after")
"""In the order they are run."""
BEFORE: Mapping[str, float] = dict(zip(CATEGORIES, (0.75, 0.72, 0.08, 0.05, 0.45), strict=True))
"""Accuracy by category before training."""
ERRORS = {
    "simple": ("wrong_value", "wrong_type", "missing_argument"),
    "multiple": ("wrong_value", "wrong_name"),
    "parallel": ("missing_call", "unparsable"),
    "parallel_multiple": ("missing_call", "wrong_value"),
    "irrelevance": ("should_not_call",),
}


def build_run(
    path: Path,
    *,
    change: Mapping[str, float] | None = None,
    until: str = "1.after",
    asked: int = 60,
    suite: str = "demo",
    decided: bool = True,
    seed: int = 0,
) -> Path:
    """A run directory at `path`, complete up to and with stage `until`.

    `change` is added to the accuracy of each category; `asked` tasks a category are measured.
    """
    rng = Random(seed)
    done = STAGES[: STAGES.index(until) + 1]
    held, train = _split(synthesise(200, seed))
    round_one = path / "rounds" / "1"
    after = {name: min(1.0, BEFORE[name] + (change or {}).get(name, 0.0)) for name in CATEGORIES}
    _record(path, done)
    if "serve" in done:
        write_json(path / "serve.json", {"request": {"model": "m"}, "reply": {"choices": []}, "seconds": 1.5})
    if "tasks" in done:
        write_jsonl(path / "tasks" / "train.jsonl", tasks_to_rows(train))
        write_jsonl(path / "tasks" / "held_out.jsonl", tasks_to_rows(held))
    bench = [f"{name}_{at}" for name in CATEGORIES for at in range(asked)]
    names = [name for name in CATEGORIES for _ in range(asked)]
    for when, accuracy in (("before", BEFORE), ("after", after)):
        if f"1.{when}" in done:
            _measured(round_one / when, bench, names, accuracy, suite, Random(seed))
            ids, categories = [task.id for task in held], [task.category for task in held]
            _measured(round_one / f"held_out_{when}", ids, categories, accuracy, "held-out", Random(seed + 1))
    if "1.collect" in done:
        _collected(round_one / "collect", train, rng)
    if "1.train" in done:
        _trained(round_one / "train" / "adapter", rng)
    if "1.after" in done and decided:
        gain = sum((change or {}).values())
        reason = (
            "accepted: held-out accuracy +9.0%" if gain > 0 else "refused: held-out accuracy changed by -4.0%"
        )
        write_json(round_one / "decision.json", {"accepted": gain > 0, "reason": reason})
    return path


def _split(tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    return list(tasks[:50]), list(tasks[50:])


def _record(path: Path, done: Sequence[str]) -> None:
    config: dict[str, Any] = {
        "model": "qwen2.5-coder-0.5b",
        "adapter": None,
        "rounds": 1,
        "seed": 0,
        "engine": {"kind": "auto", "max_model_len": 4096, "args": {}},
        "tasks": {"file": None, "synthesise": 200, "held_out": 50, "categories": []},
        "bench": {"categories": ["simple_python", "multiple"], "limit": 60, "refine": "off"},
        "train": {"learning_rate": 2e-05, "objective": "dpo_sft", "beta": 0.1, "sft_weight": 0.2},
    }
    write_json(path / "config.json", config)
    write_json(path / "versions.json", {"python": "3.11.9", "strop": "0.1.0", "torch": "2.13.0"})
    took = dict(zip(STAGES, (41.2, 0.3, 214.0, 388.5, 301.7, 229.1), strict=True))
    clock = 1767225600.0
    events: list[dict[str, Any]] = [{"time": clock, "event": "started", "stage": ""}]
    for stage in done:
        events.append({"time": clock, "event": "stage_start", "stage": stage})
        clock += took[stage]
        events.append({"time": clock, "event": "stage_end", "stage": stage, "seconds": took[stage]})
    write_jsonl(path / "events.jsonl", events)


def _measured(
    out: Path,
    ids: Sequence[str],
    names: Sequence[str],
    accuracy: Mapping[str, float],
    suite: str,
    rng: Random,
) -> None:
    rows = [_answer(task_id, name, accuracy[name], rng) for task_id, name in zip(ids, names, strict=True)]
    write_jsonl(out / "answers.jsonl", rows)
    scores = {
        name: {
            "correct": sum(row["correct"] for row in rows if row["category"] == name),
            "total": sum(row["category"] == name for row in rows),
        }
        for name in CATEGORIES
    }
    write_json(out / "summary.json", {"suite": suite, "model": "m", "refine": "off", "categories": scores})


def _answer(task_id: str, category: str, accuracy: float, rng: Random) -> dict[str, Any]:
    # One draw for the task and a little noise for the run, so that most verdicts agree between two runs.
    correct = rng.random() < accuracy
    error = None if correct else rng.choice(ERRORS[category])
    call = {"name": "length_converter", "arguments": {"value": 3, "from_unit": "feet", "to_unit": "meters"}}
    return {
        "category": category,
        "id": task_id,
        "calls": [call],
        "content": None,
        "correct": correct,
        "error": error,
        "detail": "" if correct else "length_converter: argument 'value' should be 4, got 3.",
        "text": "```json\n" + json.dumps(call, indent=2) + "\n```",
    }


def _collected(out: Path, tasks: Sequence[Task], rng: Random) -> None:
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for task in tasks:
        passes = sum(rng.random() < BEFORE[task.category] for _ in range(4))
        errors = Counter(rng.choice(ERRORS[task.category]) for _ in range(4 - passes))
        selection = "solved" if passes == 4 else "band" if passes else "unsolved"
        rows.append(
            {
                "task_id": task.id,
                "category": task.category,
                "samples": 4,
                "passes": passes,
                "errors": dict(errors),
                "mean_reward": passes / 4,
                "selection": selection,
            }
        )
        if passes < 4:
            pairs.append(_pair(task, rng.choice(sorted(errors)), len(pairs)))
    write_jsonl(out / "deficiencies.jsonl", rows)
    write_jsonl(out / "pairs.jsonl", pairs)
    summary = {"searched": len(pairs), "generated_tokens": 48211, "refused": {"margin": 31, "duplicate": 4}}
    write_json(out / "summary.json", summary)


def _pair(task: Task, error: str, number: int) -> dict[str, Any]:
    assert task.gold is not None
    right = [call.to_json() for call in task.gold.calls]
    text = f"```json\n{json.dumps(right if len(right) > 1 else right[0], indent=2)}\n```" if right else ""
    wrong = json.dumps({"name": task.tools[0].name, "arguments": {}}, indent=2)
    return {
        "id": f"{task.id}#full-{number}",
        "task_id": task.id,
        "category": task.category,
        "kind": "fragment" if number % 4 == 3 else "full",
        "prompt_ids": [1, 2, 3],
        "prefix_ids": [4, 5] if number % 4 == 3 else [],
        "chosen_ids": [6],
        "rejected_ids": [7],
        "chosen_text": text or task.gold.response,
        "rejected_text": f"```json\n{wrong}\n```",
        "evidence": {
            "chosen_value": 1.0,
            "rejected_value": 0.25,
            "chosen_visits": 3,
            "rejected_visits": 9,
            "chosen_verdict": "correct",
            "rejected_verdict": error,
            "source": "gold" if number % 3 == 0 else "policy",
        },
    }


def _trained(out: Path, rng: Random) -> None:
    log = [
        {
            "step": step,
            "loss": 0.69 * 0.96**step + rng.random() * 0.08,
            "margin": 0.045 * step + rng.random() * 0.2,
            "accuracy": min(1.0, 0.5 + step / 60 + rng.random() * 0.1),
        }
        for step in range(1, 41)
    ]
    write_jsonl(out / "train_log.jsonl", log)
    summary = {
        "examples": 96,
        "seconds": 288.0,
        "device": "cpu float32",
        "shared_prefix": "on",
        "refused": [],
    }
    write_json(out / "train_summary.json", summary)
