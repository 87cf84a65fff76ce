"""Runs the trials of a calibration: every task refined once without a gate, each kept as it comes.

DIR/settings.json   who was asked what, and how; a second start with others is refused
DIR/trials.jsonl    a row a trial
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from strop.agent.answer import Answerer
from strop.agent.claim import claim
from strop.agent.crowd import in_flight
from strop.agent.engines.base import Sampling
from strop.agent.loading import known_by
from strop.agent.lock import held
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.agent.refinement import ADAPTIVE
from strop.refine.calibrate import Trial
from strop.refine.check import problems_of
from strop.refine.choice import answerer_for
from strop.tools.errors import DataError, TooLongError
from strop.tools.files import JsonlWriter, read_jsonl
from strop.tools.suite import Case

TRIALS = "trials.jsonl"


async def run_trials(
    cases: Sequence[Case],
    policy: Policy,
    profile: Profile,
    out: Path,
    sampling: Sampling,
    concurrency: int,
    *,
    version: str,
) -> list[Trial]:
    """The trials of `cases`, in their order; those in `out` already are kept. Tasks too long are left out.

    `version` tells the tasks that `cases` are some of from others: more of them may be tried later. Raises
    UsageError where `out` holds trials of another policy, other tasks or settings, DataError for a broken row
    there, RunError where another process works there, and what the engine raises.
    """
    asked = {"model": policy.name, **known_by(policy), "version": version, "refine": str(ADAPTIVE)}
    asked |= {f"sampling.{name}": value for name, value in asdict(sampling).items()}
    refiner = answerer_for(policy, profile, ADAPTIVE)
    with held(out / ".lock", f"a calibration in {out}"):
        claim(out, asked, "trials", (TRIALS,))
        return await _run(cases, refiner, out, replace(sampling, logprobs=True), concurrency)


async def _run(
    cases: Sequence[Case], refiner: Answerer, out: Path, sampling: Sampling, concurrency: int
) -> list[Trial]:
    with JsonlWriter(out / TRIALS) as writer, Progress(console=Console(stderr=True)) as bar:
        # Read once the writer is open: that drops a row cut off by a kill.
        known = {trial.id: trial for trial in read_trials(out / TRIALS)}
        todo = [case for case in cases if case.task.id not in known]
        counted = bar.add_task("calibrating", total=len(cases), completed=len(cases) - len(todo))

        async def work(case: Case) -> None:
            trial = await _trial(case, refiner, sampling)
            if trial is not None:
                writer.write(trial.to_json())
                known[trial.id] = trial
            bar.advance(counted)

        await in_flight(todo, work, concurrency)
    return [known[case.task.id] for case in cases if case.task.id in known]


async def _trial(case: Case, refiner: Answerer, sampling: Sampling) -> Trial | None:
    try:
        answer = await refiner.answer(case.task, sampling)
    except TooLongError:
        return None
    sound = not problems_of(answer.drafts[0], case.task.tools)
    return Trial.of(case.task.id, answer, lambda one: case.score(one.calls, one.content, one.problem), sound)


def read_trials(path: Path) -> list[Trial]:
    """Trials of an earlier run; none where there is no file. Raises DataError naming the line."""
    if not path.exists():
        return []
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(f"{bad[0].reason}; delete the line", path=path, line=bad[0].line)
    return [Trial.from_json(row) for _, row in rows]
