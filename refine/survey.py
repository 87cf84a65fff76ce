"""A survey of deficiencies: every task sampled and its gold scored, counted, and written as a page.

DIR/deficiencies.jsonl   as of a collection (`strop.refine.store`): `strop collect` goes on from it
DIR/deficiencies.json    counts, findings, and what each selection would keep
DIR/page.html            the same to look at
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.agent.lock import held
from strop.agent.policy import Policy
from strop.refine.deficiency import Deficiency
from strop.refine.executor import Here
from strop.refine.sampling import SampleConfig, sample_all, sampled_by
from strop.refine.selection import DEFAULT, Embed, Selected, needs_perplexity, select_tasks
from strop.refine.store import CollectionDir
from strop.refine.survey_page import write_page
from strop.refine.survey_report import Report, advice, report_on
from strop.tools.bounds import require
from strop.tools.errors import UsageError
from strop.tools.files import write_json
from strop.tools.task import Task

PREVIEW = 20
"""Tasks of an example's ``random``, and of each error of its ``quota``."""


@dataclass(frozen=True, slots=True)
class SurveyConfig:
    """How to survey."""

    sampling: SampleConfig = field(default_factory=SampleConfig)
    score_gold: bool = True
    """Whether to have the engine score every gold: one more prompt a task."""
    select: tuple[str, ...] = DEFAULT
    """A selection to try; nothing is searched here."""
    concurrency: int = 8
    """Tasks in flight; ≥ 1."""

    def __post_init__(self) -> None:
        require(self, (("concurrency", self.concurrency >= 1, "at least 1"),))
        if needs_perplexity(self.select) and not self.score_gold:
            raise UsageError("select perplexity wants the golds scored: leave --no-score-gold out")


async def survey(
    tasks: Sequence[Task], policy: Policy, config: SurveyConfig, out: Path, embed: Embed | None = None
) -> Report:
    """Sample, score and count; writes DIR. Calling it again goes on where it was.

    Raises UsageError where DIR was begun with other settings, a task has changed or the selection cannot be
    made, EngineError where the engine fails, RunError where the disk refuses.
    """
    with held(out / ".lock", f"a collection in {out}"):
        store = CollectionDir(out)
        executor = Here(policy, config.concurrency)
        store.claim(sampled_by(executor, config.sampling))
        diagnoses = await sample_all(tasks, executor, config.sampling, store, score_gold=config.score_gold)
        report = report_on(policy.name, tasks, diagnoses)
        selections = await asyncio.to_thread(_selections, tasks, report, config, embed)
        rows = [_row(name, selected) for name, selected in selections]
        write_json(out / "deficiencies.json", {**report.to_json(), "selections": rows})
        write_page(out / "page.html", report, rows)
        return report


def _selections(
    tasks: Sequence[Task], report: Report, config: SurveyConfig, embed: Embed | None
) -> list[tuple[str, Selected]]:
    """The selection asked for, the one that is advised, and each strategy alone."""
    examples = [list(config.select), *([one] for one in _alone(report.rows, config.score_gold))]
    advised = advice(report)
    if advised and advised not in examples:
        examples.insert(1, advised)
    found: list[tuple[str, Selected]] = []
    for number, selection in enumerate(examples):
        if number and selection in examples[:number]:
            continue
        seed = config.sampling.seed
        selected = select_tasks(tasks, report.rows, selection, seed=seed, embed=embed)
        found.append((" ".join(f"--select {one}" for one in selection), selected))
    return found


def _alone(rows: Sequence[Deficiency], scored: bool) -> list[str]:
    """Every strategy that needs no second model, with an example's argument."""
    errors = sorted({error for row in rows for error in row.errors})
    quota = ",".join(f"{error}={PREVIEW}" for error in errors)
    known = scored and any(row.perplexity is not None for row in rows)
    return [
        "band",
        "band:solvable",
        *(["perplexity:0.3"] if known else []),
        *([f"quota:{quota}"] if quota else []),
        f"random:{PREVIEW}",
    ]


def _row(name: str, selected: Selected) -> dict[str, Any]:
    return {"select": name, "kept": len(selected.reasons), "tasks": list(selected.reasons)}
