"""What a sampled answer is worth to the search.

Every answer has a verdict, and by default the reward is made of it (`strop.refine.sample.assess`): 1 for a
right answer, graded credit for name, argument names, types, values and number of calls for a wrong one. Here
are the other ways, most of them for comparison:

- *binary*: 1 or 0;
- *judge* and *judge_blind*: the policy grades the answer from A to D, with the gold before it or without, as
  iTool does (arXiv 2501.09766): (1.0·P(A) + 0.1·P(B) − 1.0·P(C) − 2.0·P(D)) / 4, brought into [0, 1].

Verdicts stay what they are; pairs and their gate go by verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from strop.agent.crowd import together
from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.refine.sample import DIGITS, Outcome, Sample
from strop.tools.errors import UsageError
from strop.tools.task import Task


class RewardKind(StrEnum):
    """What an answer's reward is made of."""

    GRADED = "graded"
    """The verdict, wrong answers by how near they are."""
    BINARY = "binary"
    """The verdict alone."""
    JUDGE = "judge"
    """The policy's own grade, knowing the gold."""
    JUDGE_BLIND = "judge_blind"
    """The policy's own grade, without the gold."""


GRADES: tuple[tuple[str, float], ...] = (("A", 1.0), ("B", 0.1), ("C", -1.0), ("D", -2.0))
"""iTool's weights of the four letters."""
_WORST, _BEST = (bound / len(GRADES) for bound in (-2.0, 1.0))

_QUESTION = """How well does the answer below call the tools that the request needs?
A: exactly right. B: right but for details. C: mostly wrong. D: wrong, or no sensible answer.

Request:
{request}
{gold}
Answer:
{answer}

Write one letter: A, B, C or D."""


async def rewarded(task: Task, policy: Policy, samples: Sequence[Sample], kind: RewardKind) -> list[Sample]:
    """The samples with the rewards of that kind, in [0, 1].

    Raises EngineError, UsageError where the template has no single id for a grade.
    """
    match kind:
        case RewardKind.GRADED:
            return list(samples)
        case RewardKind.BINARY:
            return [_with_reward(sample, float(sample.outcome.verdict.correct)) for sample in samples]
        case RewardKind.JUDGE | RewardKind.JUDGE_BLIND:
            with_gold = kind is RewardKind.JUDGE
            grades = await together(grade(task, policy, one.outcome, with_gold=with_gold) for one in samples)
            return [_with_reward(one, reward) for one, reward in zip(samples, grades, strict=True)]


def _with_reward(sample: Sample, reward: float) -> Sample:
    return replace(sample, outcome=replace(sample.outcome, reward=round(reward, DIGITS)))


async def grade(task: Task, policy: Policy, outcome: Outcome, *, with_gold: bool) -> float:
    """The policy's grade of an answer, in [0, 1]."""
    letters = [_letter(policy, letter) for letter, _ in GRADES]
    question = _QUESTION.format(
        request=task.messages[-1].get("content"),
        gold=f"\nRight answer:\n{_gold_text(task)}\n" if with_gold else "",
        answer=outcome.text,
    )
    prompt_ids = policy.template.prompt_ids([{"role": "user", "content": question}], ())
    (done,) = await policy.complete(prompt_ids, Sampling(max_tokens=1, watch=tuple(letters)))
    assert done.watched is not None
    weighed = sum(
        weight * math.exp(logprob) for (_, weight), logprob in zip(GRADES, done.watched, strict=True)
    )
    return (weighed / len(GRADES) - _WORST) / (_BEST - _WORST)


def _letter(policy: Policy, letter: str) -> int:
    ids = policy.template.encode(letter)
    if len(ids) != 1:
        raise UsageError(f"the policy cannot grade: {letter!r} is {len(ids)} ids in its vocabulary")
    return ids[0]


def _gold_text(task: Task) -> str:
    assert task.gold is not None
    return "\n".join(map(str, task.gold.calls)) or task.gold.response or "No tool is called."
