"""Preference pairs out of a finished search tree.

At every node whose children differ in value there are up to two pairs. Both share the context up to where
their ids part (the node's prefix and whatever the two continuations still have in common), which is
``prompt_ids + prefix_ids``; what is preferred is only what differs.

- *fragment*: the fragment of the best child over that of the worst. No end-of-turn id ever belongs to one,
  so a piece of a call is not learned as a whole answer.
- *full*: the best right answer below the best child over the most typical wrong answer below a worse one,
  each to its own end-of-turn id.

Where nothing sampled is right, the gold can stand in as chosen (`GoldUse`). Candidates are only proposed
here; `strop.refine.gate` decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from strop.agent.chat import Ids, Template
from strop.refine.joints import Joint
from strop.refine.sample import Outcome
from strop.refine.tree import Node, SearchTree

Ending: TypeAlias = tuple[Node, Node, Outcome]
"""A node, a terminal node below it, and what the answer that ends there says."""


class PairKind(StrEnum):
    """How much of an answer a pair compares."""

    FULL = "full"
    """To the end of both answers."""
    FRAGMENT = "fragment"
    """From one joint to the next."""


class GoldUse(StrEnum):
    """When the gold answer may be the chosen one."""

    NEVER = "never"
    """Only what the policy wrote is preferred."""
    UNSOLVED = "unsolved"
    """Where no sampled answer is right."""
    ALWAYS = "always"
    """For every searched task, besides the policy's own answers."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair and what speaks for or against it."""

    ids: Ids
    """Continuation of the shared context."""
    text: str
    """`ids` as text; of a whole answer without its end-of-turn token."""
    value: float
    """Mean reward of the child it comes from, in [0, 1]."""
    visits: int
    """Answers sampled through that child; 0 for gold."""
    outcome: Outcome
    """Of the whole answer; for a fragment, of the best one sampled below it."""
    joint: Joint = Joint.END
    """Where the child it comes from ends: what the sides differ in; the end of the answer for gold."""


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Shared context, a chosen and a rejected continuation, and the evidence."""

    task_id: str
    category: str
    kind: PairKind
    prompt_ids: Ids
    prefix_ids: Ids
    """Beginning of the answer that both sides share; the sides' first ids differ."""
    chosen: Side
    rejected: Side
    source: str = "policy"
    """Where the chosen side comes from: ``policy`` or ``gold``."""

    @property
    def id(self) -> str:
        """Stable: the task, the kind and a digest of all ids."""
        ids = (self.prompt_ids, self.prefix_ids, self.chosen.ids, self.rejected.ids)
        return f"{self.task_id}#{self.kind}-{hashlib.sha256(repr(ids).encode()).hexdigest()[:10]}"

    @property
    def margin(self) -> float:
        """Difference of the two values."""
        return self.chosen.value - self.rejected.value

    def to_json(self) -> dict[str, Any]:
        """The row trainers read."""
        return {
            "id": self.id,
            "task_id": self.task_id,
            "category": self.category,
            "kind": self.kind,
            "prompt_ids": list(self.prompt_ids),
            "prefix_ids": list(self.prefix_ids),
            "chosen_ids": list(self.chosen.ids),
            "rejected_ids": list(self.rejected.ids),
            "chosen_text": self.chosen.text,
            "rejected_text": self.rejected.text,
            "evidence": {
                "chosen_value": round(self.chosen.value, 6),
                "rejected_value": round(self.rejected.value, 6),
                "chosen_visits": self.chosen.visits,
                "rejected_visits": self.rejected.visits,
                "chosen_verdict": verdict_name(self.chosen.outcome),
                "rejected_verdict": verdict_name(self.rejected.outcome),
                "source": self.source,
                "first_divergence": len(self.prefix_ids),
                "chosen_joint": self.chosen.joint,
                "rejected_joint": self.rejected.joint,
            },
        }


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """The gold as the policy would write it."""

    ids: Ids
    """End-of-turn id included."""
    outcome: Outcome
    """Its text and verdict: the gate judges it like any other answer."""


def verdict_name(outcome: Outcome) -> str:
    """``correct`` or the error's name."""
    return str(outcome.verdict.error or "correct")


def candidates(
    tree: SearchTree, template: Template, gold: GoldAnswer | None, use: GoldUse
) -> list[PreferencePair]:
    """Every pair the tree offers, best first: full before fragment, then by the rejected side's visits
    (what the policy does most), then by margin, then in the order of the tree."""
    found = [pair for node in tree.nodes if len(node.children) > 1 for pair in _at(tree, node, template)]
    solved = any(leaf.outcome and leaf.outcome.verdict.correct for leaf in tree.leaves())
    if gold and (use is GoldUse.ALWAYS or (use is GoldUse.UNSOLVED and not solved)):
        found.extend(_over_gold(tree, gold))
    return sorted(
        found, key=lambda pair: (pair.kind is PairKind.FRAGMENT, -pair.rejected.visits, -pair.margin)
    )


def _at(tree: SearchTree, node: Node, template: Template) -> Iterator[PreferencePair]:
    """Pairs whose two sides part at or after `node`."""
    ranked = sorted(tree.children(node), key=lambda child: -child.value)
    best, worst = ranked[0], ranked[-1]
    if best.value <= worst.value:
        return
    yield from _fragments(tree, node, (best, worst), template)
    yield from _answers(tree, best, [child for child in ranked if child.value < best.value])


def _fragments(
    tree: SearchTree, node: Node, ends: tuple[Node, Node], template: Template
) -> Iterator[PreferencePair]:
    chosen, rejected = (
        Side(
            _open_ended(child.ids, template.end_ids),
            "",
            child.value,
            child.visits,
            _best_outcome(tree, child),
            child.joint,
        )
        for child in ends
    )
    pair = _pair(tree, PairKind.FRAGMENT, tree.prefix_ids(node), chosen, rejected)
    yield replace(pair, chosen=_spelled(pair.chosen, template), rejected=_spelled(pair.rejected, template))


def _spelled(side: Side, template: Template) -> Side:
    return replace(side, text=template.decode(side.ids, skip_special=False))


def _answers(tree: SearchTree, best: Node, worse: Sequence[Node]) -> Iterator[PreferencePair]:
    right = sorted(_by_typicality(tree, _endings(tree, [best], correct=True)), key=lambda end: end[2].repairs)
    if not right:
        return
    beside = tree.prefix_ids(right[0][1])
    wrong = _by_typicality(tree, _endings(tree, worse, correct=False), beside)
    if not wrong:
        return
    sides = [
        Side(tree.prefix_ids(leaf), outcome.text, child.value, child.visits, outcome, child.joint)
        for child, leaf, outcome in (right[0], wrong[0])
    ]
    yield _pair(tree, PairKind.FULL, (), sides[0], sides[1])


def _over_gold(tree: SearchTree, gold: GoldAnswer) -> Iterator[PreferencePair]:
    """Gold over the most typical wrong answer of the whole tree."""
    wrong = _by_typicality(tree, _endings(tree, [tree.root], correct=False), gold.ids)
    for _, leaf, outcome in wrong[:1]:
        chosen = Side(gold.ids, gold.outcome.text, gold.outcome.reward, 0, gold.outcome)
        rejected = Side(tree.prefix_ids(leaf), outcome.text, leaf.value, leaf.visits, outcome)
        yield _pair(tree, PairKind.FULL, (), chosen, rejected, source="gold")


def _pair(
    tree: SearchTree, kind: PairKind, prefix: Ids, chosen: Side, rejected: Side, *, source: str = "policy"
) -> PreferencePair:
    """Move what both sides begin with into the shared prefix."""
    shared = _common(chosen.ids, rejected.ids)
    return PreferencePair(
        task_id=tree.task_id,
        category=tree.category,
        kind=kind,
        prompt_ids=tree.prompt_ids,
        prefix_ids=prefix + chosen.ids[:shared],
        chosen=replace(chosen, ids=chosen.ids[shared:]),
        rejected=replace(rejected, ids=rejected.ids[shared:]),
        source=source,
    )


def _common(one: Ids, other: Ids) -> int:
    """Length of the longest common beginning."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def _endings(tree: SearchTree, nodes: Sequence[Node], *, correct: bool) -> list[Ending]:
    """Every complete answer that is right, or wrong."""
    return [
        (node, leaf, leaf.outcome)
        for node in nodes
        for leaf in tree.leaves(node)
        if leaf.outcome and leaf.outcome.complete and leaf.outcome.verdict.correct is correct
    ]


def _by_typicality(tree: SearchTree, endings: list[Ending], beside: Ids = ()) -> list[Ending]:
    """Most typical first: what was said most often, however it was written.

    Of its spellings, the one that agrees longest with `beside`, so that a pair differs in what is said and
    not in how it is laid out; then the one sampled most often, then the likeliest per id, then the first.
    """
    said: Counter[str] = Counter()
    for _, leaf, outcome in endings:
        said[outcome.meaning] += leaf.visits

    def key(ending: Ending) -> tuple[int, int, int, float, int]:
        _, leaf, outcome = ending
        ids = tree.prefix_ids(leaf)
        mean = sum(node.logprob for node in tree.path(leaf)) / len(ids)
        return -said[outcome.meaning], -_common(ids, beside), -leaf.visits, -mean, leaf.index

    return sorted(endings, key=key)


def _best_outcome(tree: SearchTree, node: Node) -> Outcome:
    """Of the most rewarded answer below; every node has one."""
    return max(
        (leaf.outcome for leaf in tree.leaves(node) if leaf.outcome), key=lambda outcome: outcome.reward
    )


def _open_ended(ids: Ids, end_ids: Sequence[int]) -> Ids:
    """Without end-of-turn ids at the end."""
    length = len(ids)
    while length and ids[length - 1] in end_ids:
        length -= 1
    return ids[:length]
