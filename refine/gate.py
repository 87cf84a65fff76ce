"""The quality gate between candidate pairs and training: what may be learned from, and why the rest may not.

Every candidate is either accepted or counted in the `GateReport` under one `Refusal`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from strop.agent.chat import Ids
from strop.refine.joints import Joint
from strop.refine.pairs import PairKind, PreferencePair
from strop.tools.bounds import require


class Refusal(StrEnum):
    """Why a candidate is not trained on; the first that applies, in this order."""

    EMPTY = "empty"
    """One side continues the shared context by nothing: it is the beginning of the other."""
    INCOMPLETE = "incomplete"
    """An answer was cut off, or a fragment's best one was: nobody knows how it would have ended."""
    CHOSEN_FAILS = "chosen_fails"
    """The chosen side's best answer is wrong."""
    REJECTED_PASSES = "rejected_passes"
    """The rejected side can still end in a right answer."""
    TERSE = "terse"
    """The chosen side is prose of too few words: judged right for making no call, but hardly an answer."""
    ALIKE = "alike"
    """Fragments up to the same tool's name, in answers of as many calls: only the words before it differ."""
    MARGIN = "margin"
    """The values are too close."""
    LENGTH = "length"
    """A side would not fit the trainer's sequence length."""
    CONFLICT = "conflict"
    """Another candidate of the same context, with none of the above, says the opposite; both are refused."""
    DUPLICATE = "duplicate"
    """The same preference, calls compared canonically, was accepted before."""
    SURPLUS = "surplus"
    """Good, but the task already has its share of pairs."""


class Preference(NamedTuple):
    """What a pair says: after this context, rather this than that."""

    context: Ids
    """Of a full pair the prompt alone: its sides are compared as whole answers."""
    chosen: str
    rejected: str

    @property
    def reversed(self) -> Preference:
        """The opposite."""
        return Preference(self.context, self.rejected, self.chosen)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Thresholds; all ours."""

    per_task: int = 4
    """Most pairs of one task."""
    min_margin: float = 0.1
    """Least difference of the two values."""
    min_words: int = 4
    """Least words of a chosen prose answer."""
    max_length: int = 2048
    """Most ids of context and continuation together."""

    def __post_init__(self) -> None:
        bounds = (
            ("per_task", self.per_task >= 1, "at least 1"),
            ("min_margin", 0 <= self.min_margin <= 1, "in [0, 1]"),
            ("min_words", self.min_words >= 0, "0 or more"),
            ("max_length", self.max_length >= 2, "at least 2"),
        )
        require(self, bounds)


@dataclass(slots=True)
class GateReport:
    """What became of all candidates."""

    accepted: Counter[str] = field(default_factory=Counter)
    """Pairs by kind."""
    refused: Counter[str] = field(default_factory=Counter)
    """Candidates by `Refusal`."""
    empty_tasks: int = 0
    """Searched tasks that offered no candidate: all their answers are worth the same."""


def gate(
    by_task: Mapping[str, Sequence[PreferencePair]], config: GateConfig, end_ids: Sequence[int]
) -> tuple[list[PreferencePair], GateReport]:
    """Accepted pairs in the order given, and the report.

    `by_task` has each searched task's candidates, best first; earlier ones win over later ones.
    """
    report = GateReport(empty_tasks=sum(not pairs for pairs in by_task.values()))
    judged = [[(pair, _refusal(pair, config, end_ids)) for pair in pairs] for pairs in by_task.values()]
    # What is refused for itself speaks against nothing: a tree prefers the better of two wrong branches.
    opposed = conflicting(preference(pair) for pairs in judged for pair, refusal in pairs if refusal is None)
    seen: set[Preference] = set()
    accepted: list[PreferencePair] = []
    for pairs in judged:
        room = config.per_task
        for pair, own in pairs:
            refusal = own or _collision(pair, opposed, seen)
            if refusal is None and not room:
                refusal = Refusal.SURPLUS
            if refusal:
                report.refused[refusal] += 1
                continue
            seen.add(preference(pair))
            report.accepted[pair.kind] += 1
            accepted.append(pair)
            room -= 1
    return accepted, report


def _refusal(pair: PreferencePair, config: GateConfig, end_ids: Sequence[int]) -> Refusal | None:
    """What is wrong with a pair on its own."""
    sides = (pair.chosen, pair.rejected)
    if not all(side.ids for side in sides):
        return Refusal.EMPTY
    if not all(side.outcome.complete for side in sides):
        return Refusal.INCOMPLETE
    if pair.kind is PairKind.FULL and not all(ends_itself(side.ids, end_ids) for side in sides):
        return Refusal.INCOMPLETE
    if not pair.chosen.outcome.verdict.correct:
        return Refusal.CHOSEN_FAILS
    if pair.rejected.outcome.verdict.correct:
        return Refusal.REJECTED_PASSES
    return _weakness(pair, config)


def _weakness(pair: PreferencePair, config: GateConfig) -> Refusal | None:
    """Why a sound pair is not worth training on."""
    chosen = pair.chosen.outcome
    if not chosen.calls and len(chosen.said.split()) < config.min_words:
        return Refusal.TERSE
    if pair.kind is PairKind.FRAGMENT and _begin_alike(pair):
        return Refusal.ALIKE
    if pair.margin < config.min_margin:
        return Refusal.MARGIN
    length = len(pair.prompt_ids) + len(pair.prefix_ids) + max(len(pair.chosen.ids), len(pair.rejected.ids))
    return Refusal.LENGTH if length > config.max_length else None


def _begin_alike(pair: PreferencePair) -> bool:
    """Whether a fragment pair prefers one way to open the same calls, which no judge ever looks at."""
    sides = (pair.chosen, pair.rejected)
    if any(side.joint is not Joint.NAME for side in sides):
        return False
    names = {_last_word(side.text) for side in sides}
    numbers = {len(side.outcome.calls) for side in sides}  # a bracket may say that several follow
    return len(names) == len(numbers) == 1


def _last_word(text: str) -> str:
    """Of a fragment that ends with a tool's name: the name."""
    return str((_WORD.findall(text) or [""])[-1])


_WORD = re.compile(r"[\w.-]+")


def ends_itself(ids: Ids, end_ids: Collection[int]) -> bool:
    """Whether an answer with these last ids was ended by who wrote it, and not cut off."""
    return bool(ids) and ids[-1] in end_ids


def _collision(pair: PreferencePair, opposed: set[Preference], seen: set[Preference]) -> Refusal | None:
    """What is wrong with a pair among others."""
    key = preference(pair)
    if key in opposed:
        return Refusal.CONFLICT
    return Refusal.DUPLICATE if key in seen else None


def preference(pair: PreferencePair) -> Preference:
    """What a pair says, up to what makes no difference: spacing, and the way a call is written."""
    if pair.kind is PairKind.FULL:
        return Preference(pair.prompt_ids, pair.chosen.outcome.meaning, pair.rejected.outcome.meaning)
    context = pair.prompt_ids + pair.prefix_ids
    return Preference(context, evenly_spaced(pair.chosen.text), evenly_spaced(pair.rejected.text))


def conflicting(preferences: Iterable[Preference]) -> set[Preference]:
    """Those that occur in both directions, and those whose sides say the same."""
    known = set(preferences)
    return {one for one in known if one.reversed in known}


def evenly_spaced(text: str) -> str:
    """`text` with one space for every stretch of white space."""
    return " ".join(text.split())
