"""Preference pairs out of a finished search tree.

At every node whose children differ in value the best child is set against every worse one. Both sides
share the context up to where their ids part (the node's prefix and whatever the two continuations still have
in common), which is ``prompt_ids + prefix_ids``; what is preferred is only what differs.

- *fragment*: the fragment of the best child over that of a worse one. No end-of-turn id ever belongs to
  one, so a piece of a call is not learned as a whole answer.
- *full*: the best right answer below the best child over the most typical wrong answer below a worse one,
  each to its own end-of-turn id.

Where nothing sampled is right, the gold can stand in as chosen (`GoldUse`): whole, and by fragments where
sampled answers leave its path. Candidates are only proposed here; `strop.refine.gate` decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any, TypeAlias

from strop.agent.chat import Ids, Template
from strop.refine.joints import Joint, cuts, spelling
from strop.refine.partings import shared
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
            "thinking": self.chosen.outcome.opened or self.rejected.outcome.opened,
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
    """Every pair the tree offers, best first.

    Full pairs and fragments in turns; among each, first what the policy does most (the rejected side's
    visits), then by margin, then in the order of the tree.
    """
    found = [pair for node in tree.nodes if len(node.children) > 1 for pair in _at(tree, node, template)]
    solved = any(leaf.outcome and leaf.outcome.verdict.correct for leaf in tree.leaves())
    if gold and (use is GoldUse.ALWAYS or (use is GoldUse.UNSOLVED and not solved)):
        found.extend(_over_gold(tree, gold))
        found.extend(_gold_fragments(tree, gold, template))
    ranked = sorted(found, key=lambda pair: (-pair.rejected.visits, -pair.margin))
    kinds = ([pair for pair in ranked if pair.kind is kind] for kind in PairKind)
    return [pair for turn in zip_longest(*kinds) for pair in turn if pair is not None]


def _at(tree: SearchTree, node: Node, template: Template) -> Iterator[PreferencePair]:
    """Pairs whose two sides part at or after `node`: its best child against every worse one.

    Of whole answers the best child that has a right one against every other: one of near misses may well be
    worth more, and what it says most often is then what is to be rejected.
    """
    ranked = sorted(tree.children(node), key=lambda child: -child.value)
    best, worse = ranked[0], [child for child in ranked if child.value < ranked[0].value]
    for child in worse:
        chosen, rejected = (_fragment_side(tree, one, template) for one in (best, child))
        yield _fragment(tree, node, chosen, rejected, template)
    right = next((child for child in ranked if _endings(tree, [child], correct=True)), None)
    if right is best:
        yield from _answers(tree, best, worse)
    elif right is not None:
        yield from _answers(tree, right, [child for child in ranked if child is not right])


def _fragment_side(tree: SearchTree, child: Node, template: Template) -> Side:
    ids = _open_ended(child.ids, template.end_ids)
    return Side(ids, "", child.value, child.visits, _best_outcome(tree, child), child.joint)


def _fragment(
    tree: SearchTree, node: Node, chosen: Side, rejected: Side, template: Template, source: str = "policy"
) -> PreferencePair:
    pair = _pair(tree, PairKind.FRAGMENT, tree.prefix_ids(node), chosen, rejected, source=source)
    return replace(pair, chosen=_spelled(pair.chosen, template), rejected=_spelled(pair.rejected, template))


def _spelled(side: Side, template: Template) -> Side:
    return replace(side, text=template.decode(side.ids, skip_special=False))


def _answers(tree: SearchTree, best: Node, worse: Sequence[Node]) -> Iterator[PreferencePair]:
    """The best child's right answer over the most typical wrong one below every worse child."""
    right = sorted(_by_typicality(tree, _endings(tree, [best], correct=True)), key=lambda end: end[2].repairs)
    if not right:
        return
    chosen = _answer_side(tree, right[0])
    for child in worse:
        for wrong in _by_typicality(tree, _endings(tree, [child], correct=False), chosen.ids)[:1]:
            rejected = _answer_side(tree, wrong)
            if best.value > child.value:
                yield _pair(tree, PairKind.FULL, (), chosen, rejected)
            else:  # then what the two answers are worth, not what is beside them
                ours, theirs = (
                    replace(chosen, value=right[0][1].value),
                    replace(rejected, value=wrong[1].value),
                )
                yield _pair(tree, PairKind.FULL, (), ours, theirs)


def _answer_side(tree: SearchTree, ending: Ending) -> Side:
    child, leaf, outcome = ending
    return Side(tree.prefix_ids(leaf), outcome.text, child.value, child.visits, outcome, child.joint)


def _over_gold(tree: SearchTree, gold: GoldAnswer) -> Iterator[PreferencePair]:
    """Gold over every wrong answer, each meaning once in its most typical spelling."""
    chosen = Side(gold.ids, gold.outcome.text, gold.outcome.reward, 0, gold.outcome)
    meanings: set[str] = set()
    for _, leaf, outcome in _by_typicality(tree, _endings(tree, [tree.root], correct=False), gold.ids):
        if outcome.meaning not in meanings:
            meanings.add(outcome.meaning)
            rejected = Side(tree.prefix_ids(leaf), outcome.text, leaf.value, leaf.visits, outcome)
            yield _pair(tree, PairKind.FULL, (), chosen, rejected, source="gold")


def _gold_fragments(tree: SearchTree, gold: GoldAnswer, template: Template) -> Iterator[PreferencePair]:
    """Where sampled answers leave the gold's path: its next fragment over each of theirs."""
    node: Node | None = tree.root
    start = 0
    for cut in cuts(gold.ids, spelling(template), template.call_format, depth=len(gold.ids)):
        if node is None:
            return
        ids = gold.ids[start : cut.end]
        ours = Side(_open_ended(ids, template.end_ids), "", gold.outcome.reward, 0, gold.outcome, cut.joint)
        others = [child for child in tree.children(node) if child.ids != ids]
        for child in others:
            yield _fragment(tree, node, ours, _fragment_side(tree, child, template), template, source="gold")
        node = next((child for child in tree.children(node) if child.ids == ids), None)
        start = cut.end


def _pair(
    tree: SearchTree, kind: PairKind, prefix: Ids, chosen: Side, rejected: Side, *, source: str = "policy"
) -> PreferencePair:
    """Move what both sides begin with into the shared prefix."""
    same = shared(chosen.ids, rejected.ids)
    return PreferencePair(
        task_id=tree.task_id,
        category=tree.category,
        kind=kind,
        prompt_ids=tree.prompt_ids,
        prefix_ids=prefix + chosen.ids[:same],
        chosen=replace(chosen, ids=chosen.ids[same:]),
        rejected=replace(rejected, ids=rejected.ids[same:]),
        source=source,
    )


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
        return -said[outcome.meaning], -shared(ids, beside), -leaf.visits, -mean, leaf.index

    return sorted(endings, key=key)


def _best_outcome(tree: SearchTree, node: Node) -> Outcome:
    """Of the best answer below: a right one, as a reward may be an opinion, then the most rewarded, then one
    that ended by itself."""
    outcomes = (leaf.outcome for leaf in tree.leaves(node) if leaf.outcome)
    return max(outcomes, key=lambda outcome: (outcome.verdict.correct, outcome.reward, outcome.complete))


def _open_ended(ids: Ids, end_ids: Sequence[int]) -> Ids:
    """Without end-of-turn ids at the end."""
    length = len(ids)
    while length and ids[length - 1] in end_ids:
        length -= 1
    return ids[:length]
