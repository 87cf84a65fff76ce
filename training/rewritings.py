"""A file of paraphrases, and the file beside it that says what became of every rewriting.

FILE.jsonl               tasks: what was kept, whole or not at all
FILE.rewritings.jsonl    a row a task, as it was done: a later run goes on from there
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from strop.agent.crowd import each
from strop.agent.loading import known_by
from strop.agent.lock import held
from strop.agent.policy import Policy
from strop.tools.errors import DataError, UsageError
from strop.tools.files import JsonlWriter, json_text, read_jsonl, write_jsonl
from strop.tools.task import Task, tasks_to_rows
from strop.training.paraphrase import KEPT, Fate, ParaphraseConfig, Rewriting, paraphrase, reworded


async def write_paraphrases(
    tasks: Sequence[Task], policy: Policy, config: ParaphraseConfig, out: Path, concurrency: int
) -> Counter[Fate]:
    """Paraphrase all tasks, `concurrency` at a time, and write `out`. Returns how many rewritings fared how.

    Tasks done earlier by the same policy in the same way are not done again. Raises UsageError for a task
    that cannot be asked, EngineError where the engine fails, DataError for a broken row, RunError where the
    disk refuses or another process is at it.
    """
    log = out.with_suffix(".rewritings.jsonl")
    with held(out.with_name(f".{out.name}.lock"), f"paraphrases for {out}"), JsonlWriter(log) as writer:
        keys = {task.id: _key(task, policy, config) for task in tasks}
        done = _read(log, set(keys.values()))

        async def one(task: Task) -> None:
            rewritings = await paraphrase(task, policy, config)
            writer.write(_row(task, keys[task.id], rewritings))
            done[keys[task.id]] = rewritings

        await each("paraphrasing", [task for task in tasks if keys[task.id] not in done], one, concurrency)
        found = {task.id: done[keys[task.id]] for task in tasks}
        write_jsonl(out, tasks_to_rows(paraphrases_of(tasks, found, policy.name)))
    return Counter(one.fate for rewritings in found.values() for one in rewritings)


def require_place(out: Path, tasks: Path) -> None:
    """Raises UsageError where `out` is no ``.jsonl`` file, or the file the tasks come from."""
    if out.suffix != ".jsonl":
        raise UsageError(f"--out wants a .jsonl file, got {out}")
    if out.resolve() == tasks.resolve():
        raise UsageError(f"--out {out} is the file of tasks itself: give another")


def paraphrases_of(tasks: Iterable[Task], found: Mapping[str, Sequence[Rewriting]], by: str) -> list[Task]:
    """What was kept, as tasks ``ID~1``, ``ID~2``…; a conversation that is there already is left out."""
    tasks = list(tasks)
    seen = {json_text(list(task.messages)) for task in tasks}
    kept = []
    for task in tasks:
        texts = [one.text for one in found[task.id] if one.fate in KEPT]
        for number, text in enumerate(texts, start=1):
            new = reworded(task, text)
            said = json_text(list(new.messages))
            if said not in seen:
                seen.add(said)
                source = ", ".join(filter(None, (task.source, f"paraphrased by {by}")))
                kept.append(replace(new, id=f"{task.id}~{number}", source=source))
    return kept


def _key(task: Task, policy: Policy, config: ParaphraseConfig) -> str:
    """Of all that the rewritings of a task depend on."""
    told = [task.to_json(), policy.name, known_by(policy), asdict(config)]
    return hashlib.sha256(json_text(told).encode()).hexdigest()[:16]


def _row(task: Task, key: str, rewritings: Sequence[Rewriting]) -> dict[str, Any]:
    rows = [{"text": one.text, "fate": str(one.fate)} for one in rewritings]
    return {"id": task.id, "key": key, "rewritings": rows}


def _read(log: Path, keys: set[str]) -> dict[str, tuple[Rewriting, ...]]:
    """The rewritings with these keys; others are of other tasks, policies or settings, and stay there."""
    rows, bad = read_jsonl(log)
    if bad:
        raise DataError(f"{bad[0].reason}; delete the line", path=log, line=bad[0].line)
    found = {}
    for line, row in rows:
        if row.get("key") not in keys:
            continue
        try:
            found[row["key"]] = tuple(Rewriting(one["text"], Fate(one["fate"])) for one in row["rewritings"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("no row of rewritings; delete the line", path=log, line=line) from error
    return found
