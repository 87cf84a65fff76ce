"""iTool's search (arXiv 2501.09766), as its run script sets the constants: the baseline of ``search.py``.

Written from the paper and from a description of the procedure. Of a step: 3 completions of at most 50 ids
at temperature 1.5 (repetition penalty 0.75), split at punctuation, two pieces a fragment, each completion a
chain of nodes; past depth 3 the rest of it is one node. The next prompt is the text so far, a space, the
fragment, a space, encoded anew. A node begins at its word overlap with the gold, is chosen by
value / (visits + 1) + prior · sqrt(ln(parent's visits) / (visits + 1)), and a rollout of two steps ends in
the policy's own grade of the text against the gold, which is added to every node above. At the end the best
and the worst child of every node are a pair.

One thing is changed in the baseline's favour: its delimiters (``. ``, ``, ``, ``=`` and ``(``) are those of
calls written as Python; this policy writes JSON, so that ``: ``, ``{`` and a comma at a line's end split,
too. Without them nearly every completion would be one fragment.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.agent.policy import Policy
from strop.refine.golden import gold_answer
from strop.refine.reward import grade
from strop.refine.sample import assess
from strop.tools.task import Task

SAMPLING = Sampling(max_tokens=50, temperature=1.5, n=3, logprobs=True)
REPETITION_PENALTY = 0.75
ITERATIONS, DEPTH, CHILDREN = 5, 3, 3
PIECES = 2
"""Pieces a fragment."""
UNALIGNED = 0.1
"""Prior of a fragment that does not end where an id ends."""
LEAST_MARGIN, MOST_OVERLAP, LEAST_VALUE = 0.1, 0.95, -0.3

Complete = Callable[[Sequence[int], Sampling], Awaitable[list[Completion]]]
"""Samples with the repetition penalty above."""

_DELIMITER = re.compile(r"\. |, |=|\(|: |\{|,\n")


@dataclass(slots=True)
class Step:
    """A node: a fragment of text."""

    text: str
    prior: float
    value: float
    parent: Step | None = None
    visits: int = 0
    children: list[Step] = field(default_factory=list)

    @property
    def path(self) -> list[Step]:
        """From the first fragment to this one."""
        above = self.parent.path if self.parent else []
        return [*above, self] if self.parent else []

    @property
    def depth(self) -> int:
        return len(self.path)

    @property
    def written(self) -> str:
        """What the next prompt has after the task's own."""
        return "".join(f" {step.text} " for step in self.path)


@dataclass(frozen=True, slots=True)
class TextPair:
    """What iTool trains on: a text before, and two fragments."""

    task: Task
    before: str
    chosen: str
    rejected: str
    margin: float


async def pairs_of(task: Task, policy: Policy, complete: Complete) -> list[TextPair]:
    """Search one task and take its pairs."""
    gold = gold_answer(task, policy.template)
    if gold is None:
        return []
    root = Step("", 1.0, 0.0)
    for _ in range(ITERATIONS):
        node = _descend(root)
        await _expand(node, task, policy, complete, gold.outcome.text)
        reward = await _rollout(node, task, policy, complete)
        step: Step | None = node
        while step is not None:
            step.visits += 1
            step.value += reward
            step = step.parent
    return list(_pairs(root, task))


def _descend(node: Step) -> Step:
    while len(node.children) > CHILDREN and node.depth < DEPTH:
        above = math.log(max(1, node.visits))
        node = max(
            node.children,
            key=lambda child: (
                child.value / (child.visits + 1) + child.prior * math.sqrt(above / (child.visits + 1))
            ),
        )
    return node


async def _expand(node: Step, task: Task, policy: Policy, complete: Complete, gold: str) -> None:
    for done in await complete(_prompt(node, task, policy), SAMPLING):
        above = node
        for text, prior in fragments(done, policy, DEPTH - node.depth):
            child = Step(text, prior, _first_value(text, gold), above)
            above.children.append(child)
            above = child


def _prompt(node: Step, task: Task, policy: Policy) -> tuple[int, ...]:
    return (*policy.prompt_ids(task), *policy.template.encode(node.written))


def fragments(done: Completion, policy: Policy, room: int) -> list[tuple[str, float]]:
    """A completion's texts by delimiters and their priors; the last is all that is left past `room`."""
    ids = policy.without_end(done.token_ids)
    text = policy.template.decode(ids, skip_special=False)
    ends = [match.end() for match in _DELIMITER.finditer(text)][PIECES - 1 :: PIECES]
    ends = [*[end for end in ends if end < len(text)][: max(0, room - 1)], len(text)]
    places = {len(policy.template.decode(ids[:count])): count for count in range(len(ids) + 1)}
    logprobs = done.logprobs or ()
    found, start = [], 0
    for end in ends:
        prior = UNALIGNED
        if start in places and end in places and places[start] < places[end]:
            scores = logprobs[places[start] : places[end]]
            prior = math.exp(sum(scores) / len(scores)) if scores else UNALIGNED
        if text[start:end].strip():
            found.append((text[start:end], prior))
        start = end
    return found


def _first_value(text: str, gold: str) -> float:
    agrees = (")]" in text) == (")]" in gold)
    return (0.1 if agrees else -0.1) + overlap(text, gold) - 0.5


def overlap(one: str, other: str) -> float:
    """Shared words over the smaller set of words."""
    ours, theirs = set(one.split()), set(other.split())
    return len(ours & theirs) / min(len(ours), len(theirs)) if ours and theirs else 0.0


async def _rollout(node: Step, task: Task, policy: Policy, complete: Complete) -> float:
    """Two steps down, sampled where there is no child (and not kept), then the policy's grade of the text."""
    text = node.written
    for _ in range(2):
        if node.children:
            node = max(node.children, key=lambda child: child.value)
            text = node.written
        else:
            prompt = (*policy.prompt_ids(task), *policy.template.encode(text))
            (done,) = await complete(prompt, Sampling(max_tokens=50, temperature=1.5))
            text += policy.template.decode(policy.without_end(done.token_ids))
    draft = policy.draft_of((), Completion(policy.template.answer_ids(text), FinishReason.STOP), task.tools)
    return await grade(task, policy, assess(task, draft), with_gold=True) * 0.75 - 0.5


def _pairs(node: Step, task: Task) -> Iterator[TextPair]:
    if len(node.children) > 1:
        best = max(node.children, key=lambda child: child.value)
        worst = min(node.children, key=lambda child: child.value)
        margin = best.value - worst.value
        alike = overlap(best.text, worst.text)
        if margin >= LEAST_MARGIN and alike <= MOST_OVERLAP and best.value >= LEAST_VALUE:
            yield TextPair(task, node.written, best.text, worst.text, margin)
    for child in node.children:
        yield from _pairs(child, task)


def shuffled(pairs: Sequence[TextPair], most: int = 4000, seed: int = 0) -> list[TextPair]:
    """A round's pairs: at most so many, in any order."""
    return random.Random(seed).sample(list(pairs), min(most, len(pairs)))
