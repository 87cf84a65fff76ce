"""The first stage of a collection: k answers to every task, judged; where asked for, the gold scored.

The gold is scored as the policy would write it (`strop.refine.golden`): exp(-mean log p) of its ids after the
prompt, what iTool (arXiv 2501.09766) calls a sample's perplexity.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console

from strop.agent.crowd import each
from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.refine.deficiency import Selection, diagnose, unsampled
from strop.refine.executor import Executor
from strop.refine.golden import gold_answer
from strop.refine.pairs import GoldAnswer
from strop.refine.partings import Parting, Written, partings
from strop.refine.sample import DIGITS, Sample
from strop.refine.simulated import judged
from strop.refine.store import CollectionDir, Diagnosis, diagnosis_row
from strop.tools.errors import EndpointError, TooLongError, UsageError
from strop.tools.task import Task

LARGEST_EXPONENT = 700.0
"""Keeps a perplexity finite where the engine calls an id impossible."""


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """How every task is sampled."""

    samples: int = 4
    """k: answers a task; ≥ 1."""
    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 256
    """Most ids of an answer."""
    seed: int = 0
    worlds: str = ""
    """Importable module of simulated worlds; in them, calls that do the same as the gold's are right."""


def sampled_by(executor: Executor, config: SampleConfig) -> dict[str, Any]:
    """What samples depend on, as a collection's settings name it."""
    return {**executor.identity, **asdict(config)}


@dataclass(frozen=True, slots=True)
class SampleJob:
    """One task's samples, and its gold's perplexity."""

    task: Task
    config: SampleConfig
    known: Diagnosis | None = None
    """What an earlier run has of it; nothing is sampled then."""
    score_gold: bool = False

    async def run(self, policy: Policy) -> Diagnosis:
        """Sample the task k times and judge the answers. Raises UsageError, EngineError."""
        diagnosis = self.known or await _diagnose(self.task, policy, self.config)
        return await _scored(self.task, policy, diagnosis) if self.score_gold else diagnosis


async def sample_all(
    tasks: Sequence[Task],
    executor: Executor,
    config: SampleConfig,
    store: CollectionDir,
    *,
    score_gold: bool = False,
    then: Callable[[Task, Diagnosis], Awaitable[None]] | None = None,
) -> dict[str, Diagnosis]:
    """Every task's diagnosis by its id, those of earlier starts included; `executor.slots` tasks in flight.

    With `score_gold` the golds are scored, too, those of tasks sampled earlier included. `then` is awaited
    for every task as soon as its diagnosis is known, in the task's slot. Raises UsageError for a task that
    cannot be asked, EngineError where the engine fails, RunError, and what `then` raises.
    """
    with store.diagnosis_log() as log:  # opened first: that drops a row cut off by a kill
        known = store.diagnoses(tasks)
        rows = Counter(known.keys())

        async def diagnosed(task: Task) -> Diagnosis:
            earlier = known.get(task.id)
            if earlier is None or (score_gold and _lacks(earlier)):
                known[task.id] = await executor.run(SampleJob(task, config, earlier, score_gold))
                if known[task.id] != earlier:
                    log.write(diagnosis_row(task, known[task.id]))
                    rows[task.id] += 1
            return known[task.id]

        async def one(task: Task) -> None:
            diagnosis = await diagnosed(task)
            if then is not None:
                await then(task, diagnosis)

        title = "finding deficiencies" if then is None else "sampling and searching"
        await each(title, tasks, one, executor.slots)
    if max(rows.values(), default=0) > 1:
        store.keep_last_rows()
    return known


def _lacks(diagnosis: Diagnosis) -> bool:
    return bool(diagnosis.samples) and diagnosis.deficiency.perplexity is None


async def _diagnose(task: Task, policy: Policy, config: SampleConfig) -> Diagnosis:
    """Sample one task k times and judge the answers."""
    if task.gold is None:
        return Diagnosis(unsampled(task, Selection.NO_GOLD), ())
    sampling = Sampling(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        n=config.samples,
        seed=zlib.crc32(f"{config.seed}/{task.id}".encode(errors="surrogatepass")) >> 1,
        logprobs=True,
    )
    try:
        drafts = await policy.sample(task, sampling)
    except TooLongError:
        return Diagnosis(unsampled(task, Selection.NO_ROOM), ())
    except UsageError as error:
        raise UsageError(f"task {task.id!r} cannot be asked: {error}") from error
    samples = tuple(await judged(task, drafts, config.worlds))
    return Diagnosis(diagnose(task, samples, _partings(task, policy, samples)), samples)


def _partings(task: Task, policy: Policy, samples: Sequence[Sample]) -> tuple[Parting, ...]:
    """Where the wrong samples part from the gold and the right ones."""
    gold = _gold(task, policy)
    right = [Written(one.ids, one.outcome.text) for one in samples if one.outcome.verdict.correct]
    right += [Written(gold.ids, gold.outcome.text)] if gold else []
    wrong = [
        (index, Written(one.ids, one.outcome.text))
        for index, one in enumerate(samples)
        if not one.outcome.verdict.correct
    ]
    return partings(wrong, right, policy.template.call_format)


def _gold(task: Task, policy: Policy) -> GoldAnswer | None:
    """None, too, where the policy's call format cannot write the gold."""
    try:
        return gold_answer(task, policy.template)
    except UsageError:
        return None


async def _scored(task: Task, policy: Policy, diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis with its gold's perplexity, where there is a gold and the engine can tell."""
    gold = _gold(task, policy) if diagnosis.samples else None
    if gold is None:
        return diagnosis
    try:
        logprobs = await policy.engine.score(policy.prompt_ids(task), gold.ids, adapter=policy.adapter)
    except TooLongError:
        return diagnosis
    except EndpointError as error:
        if error.unreachable:
            raise
        # Many servers generate and cannot score; what was sampled is worth as much without.
        text = f"task {task.id!r}: its gold cannot be scored: {error}"
        Console(stderr=True).print(text, markup=False, soft_wrap=True)
        return diagnosis
    return replace(diagnosis, deficiency=replace(diagnosis.deficiency, perplexity=perplexity(logprobs)))


def perplexity(logprobs: Sequence[float]) -> float:
    """exp(-mean) of log-probabilities, of which there is at least one."""
    mean = sum(logprobs) / len(logprobs)
    return round(math.exp(min(LARGEST_EXPONENT, -mean)), DIGITS)
