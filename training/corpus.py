"""What a policy's own samples teach: right answers to repeat, and drafts to check.

A collection (`strop collect`, `strop deficiencies`) has k judged samples of every task. Of them come

- *accepted answers*: different right ones, as they were sampled (rejection sampling: RAFT, arXiv 2304.06767;
  RFT, arXiv 2308.01825);
- the *refinement corpus* of ToolACE-R (arXiv 2504.01400): after the policy's own draft and the check turn,
  the gold where the draft was wrong, and the stop where it was right, so that the policy learns to leave it.

Prompts are those that `strop.refine.refiner` asks, id for id. Drafts are of the policy that is to be
trained: sample anew before each training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from strop.agent.chat import Ids, Template
from strop.agent.engines.base import Completion, FinishReason
from strop.agent.policy import read_draft
from strop.refine.check import STOP_TEXT, check_ids, problems_of
from strop.refine.gate import GateConfig
from strop.refine.golden import gold_answer
from strop.refine.sample import Sample
from strop.refine.store import Diagnosis
from strop.tools.bounds import require
from strop.tools.errors import UsageError
from strop.tools.task import Task
from strop.training.datasets import SftRow


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """How much of the samples is learned. Raises UsageError where a value is out of range."""

    accepted: int = 1
    """Most right answers of one task to learn as they were sampled; 0: none."""
    drafts: int = 2
    """Most drafts of one task to learn to check, a right one first and then wrong ones; 0: none."""
    right_share: float = 0.5
    """Of all checks, at most this share of drafts that were right already, in [0, 1). ToolACE-R keeps such
    drafts and states no share; this one is ours."""
    seed: int = 0
    """Of the choice among drafts."""

    def __post_init__(self) -> None:
        bounds = (
            ("accepted", self.accepted >= 0, "0 or more"),
            ("drafts", self.drafts >= 0, "0 or more"),
            ("right_share", 0 <= self.right_share < 1, "in [0, 1)"),
        )
        require(self, bounds)


@dataclass(frozen=True, slots=True)
class Stop:
    """How a policy says that its draft stands."""

    token_id: int | None = None
    """The id that is taught; None where no token can be, and the text is taught."""
    text: str = STOP_TEXT
    """The word the check turn offers."""

    def answer_ids(self, template: Template) -> Ids:
        """The reply to a check of a right draft, as it is trained."""
        return template.answer_ids(self.text) if self.token_id is None else (self.token_id,)


def corpus(
    tasks: Iterable[Task],
    diagnoses: Mapping[str, Diagnosis],
    template: Template,
    stop: Stop,
    config: CorpusConfig,
) -> list[SftRow]:
    """All rows of these tasks' samples, accepted answers first. Tasks without samples or gold give none."""
    accepted: list[SftRow] = []
    right: list[SftRow] = []
    wrong: list[SftRow] = []
    for task in tasks:
        diagnosis = diagnoses.get(task.id)
        if task.gold is None or diagnosis is None:
            continue
        accepted += accepted_rows(task, diagnosis.samples, template, config.accepted)
        checks = _checks(task, diagnosis.samples, template, stop, config)
        right += checks[True]
        wrong += checks[False]
    most = math.floor(len(wrong) * config.right_share / (1 - config.right_share) + 1e-9)
    kept = right if len(right) <= most else Random(config.seed).sample(right, most)
    return [*accepted, *kept, *wrong]


def accepted_rows(task: Task, samples: Sequence[Sample], template: Template, most: int) -> list[SftRow]:
    """Up to `most` right samples that say different things, each as it was written best, in the order in
    which they were sampled first."""
    kept = _distinct(one for one in samples if one.outcome.verdict.correct and not _is_terse(one))[:most]
    prompt = tuple(template.prompt_ids(task.messages, task.tools)) if kept else ()
    return [SftRow(f"{task.id}/accepted/{n}", prompt, one.ids) for n, one in enumerate(kept)]


def _checks(
    task: Task, samples: Sequence[Sample], template: Template, stop: Stop, config: CorpusConfig
) -> dict[bool, list[SftRow]]:
    """Rows of one task by whether the draft was right."""
    gold = _gold_ids(task, template)
    distinct = _distinct(one for one in samples if not (one.outcome.verdict.correct and _is_terse(one)))
    Random(f"{config.seed}/{task.id}".encode(errors="surrogatepass")).shuffle(distinct)
    right = [one for one in distinct if one.outcome.verdict.correct] if config.right_share else []
    wrong = [one for one in distinct if not one.outcome.verdict.correct] if gold else []
    # A right draft and a wrong one of one task are the lesson at its clearest, and share their prompt.
    chosen = [*right[:1], *wrong[: max(0, config.drafts - len(right[:1]))]][: config.drafts]
    rows: dict[bool, list[SftRow]] = {True: [], False: []}
    for number, sample in enumerate(chosen):
        correct = sample.outcome.verdict.correct
        prompt, offered = _check_prompt(task, sample, template, stop)
        if correct and not offered:
            continue  # a right answer with a problem of form: not one to leave
        answer = stop.answer_ids(template) if correct else gold
        rows[correct].append(SftRow(f"{task.id}/check/{number}", prompt, answer))
    return rows


def _distinct(samples: Iterable[Sample]) -> list[Sample]:
    """One of each meaning, the first of those that needed the fewest repairs, in the order of meanings."""
    found: dict[str, Sample] = {}
    for one in samples:
        best = found.setdefault(one.outcome.meaning, one)
        if one.outcome.repairs < best.outcome.repairs:
            found[one.outcome.meaning] = one
    return list(found.values())


def _is_terse(sample: Sample) -> bool:
    """Whether it is right only for making no call: prose of so few words is no answer to learn."""
    return not sample.outcome.calls and len(sample.outcome.said.split()) < GateConfig().min_words


def _check_prompt(task: Task, sample: Sample, template: Template, stop: Stop) -> tuple[Ids, bool]:
    """The prompt of a check of this draft, and whether it offers the stop."""
    reason = FinishReason.STOP if sample.outcome.complete else FinishReason.LENGTH
    prompt = tuple(template.prompt_ids(task.messages, task.tools))
    draft = read_draft(template, prompt, Completion(sample.ids, reason), task.tools)
    problems = problems_of(draft, task.tools)
    return check_ids(draft, template, problems, stop.text), not problems


def _gold_ids(task: Task, template: Template) -> Ids:
    """The gold as the policy writes it; empty where it has none that may be taught."""
    try:
        gold = gold_answer(task, template)
    except UsageError:  # the call format cannot write it
        return ()
    return gold.ids if gold is not None and gold.outcome.verdict.correct else ()
