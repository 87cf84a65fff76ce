"""What a file of pairs is like as a whole: margins, lengths, distances, errors. Pure counts, no judgement."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt

from rapidfuzz.distance import Levenshtein

from strop.refine.record import PairRecord
from strop.tools.verdict import ErrorKind

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

SAME_SHAPE = "same shape"
"""The group of pairs whose error is none of `SHAPE_ERRORS`."""
SHAPE_ERRORS = frozenset(
    {
        ErrorKind.MISSING_CALL,
        ErrorKind.EXTRA_CALL,
        ErrorKind.SHOULD_NOT_CALL,
        ErrorKind.MISSING_ARGUMENT,
        ErrorKind.UNEXPECTED_ARGUMENT,
    }
)
"""Errors whose correction is longer, shorter or something else altogether (a call for prose) by its nature: a
difference of length or of everything is no bias there."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is spread over the pairs that have it."""

    count: int
    quantiles: Mapping[str, float]
    """``p0`` (the least) … ``p50`` (the median) … ``p100``; empty where none has it."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        if not ordered:
            return cls(0, {})
        return cls(len(ordered), {f"p{100 * q:g}": round(_quantile(ordered, q), 4) for q in QUANTILES})


@dataclass(frozen=True, slots=True)
class Lengths:
    """Whether the chosen side is the longer one, in ids after the shared context."""

    pairs: int
    longer: int
    """Pairs whose chosen side is longer."""
    shorter: int
    """Pairs whose chosen side is shorter."""
    mean_difference: float
    """Chosen minus rejected."""
    median_difference: float
    correlation: float | None
    """Pearson's, between a side's value and its length, over all sides; None where one is constant."""

    @classmethod
    def of(cls, records: Sequence[PairRecord]) -> Lengths:
        differences = [len(one.chosen.ids) - len(one.rejected.ids) for one in records]
        return cls(
            pairs=len(records),
            longer=sum(difference > 0 for difference in differences),
            shorter=sum(difference < 0 for difference in differences),
            mean_difference=round(statistics.fmean(differences), 2) if differences else 0.0,
            median_difference=float(statistics.median(differences)) if differences else 0.0,
            correlation=_correlation(records),
        )


@dataclass(frozen=True, slots=True)
class Distances:
    """Edits between the two answers, over the ids of the longer one; what they share counts in both."""

    spread: Spread
    near: int
    """Pairs at most `near` apart."""
    far: int
    """Pairs at least `far` apart."""


@dataclass(frozen=True, slots=True)
class ErrorShare:
    """One error among the rejected sides and among what the policy really answers."""

    pairs: int
    samples: int
    pair_share: float
    """Of the pairs whose rejected side's error is known, in [0, 1]."""
    sample_share: float
    """Of the wrong samples, in [0, 1]."""

    @property
    def ratio(self) -> float | None:
        """Above 1: over-represented. None where no sample has it."""
        return self.pair_share / self.sample_share if self.samples else None


@dataclass(frozen=True, slots=True)
class Drift:
    """How the pairs' errors compare with the deficiency report's."""

    errors: Mapping[str, ErrorShare]
    """Most frequent among the samples first."""
    variation: float
    """Total variation distance of the two distributions, in [0, 1]."""
    chance: float
    """What it would be about, were the pairs drawn from the samples at random: few pairs differ anyhow."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a trainer that cuts sequences at their end would cut."""

    max_length: int
    rows: int
    ids: int
    """Of the longer side of each row."""
    loss_ids: int
    """Those among `ids` that a loss is taken on."""
    without_loss: int
    """Rows with a side of which nothing is left to take a loss on."""


def by_kind(records: Sequence[PairRecord]) -> dict[str, list[PairRecord]]:
    """All, each kind, and those of the `SAME_SHAPE`."""
    groups: dict[str, list[PairRecord]] = {"all": list(records)}
    for one in records:
        groups.setdefault(str(one.kind or "unknown"), []).append(one)
    groups[SAME_SHAPE] = [one for one in records if one.rejected.verdict not in SHAPE_ERRORS]
    return groups


def distance(record: PairRecord) -> float:
    """Edits between the two sides over the ids of the longer answer, its shared beginning included."""
    edits = Levenshtein.distance(record.chosen.ids, record.rejected.ids)
    return edits / (len(record.prefix_ids) + max(len(record.chosen.ids), len(record.rejected.ids)))


def distances(records: Sequence[PairRecord], near: float, far: float) -> Distances:
    """Of all pairs; `near` and `far` are bounds in [0, 1]."""
    values = [distance(one) for one in records]
    return Distances(Spread.of(values), sum(one <= near for one in values), sum(one >= far for one in values))


def drift(records: Sequence[PairRecord], samples: Mapping[str, int]) -> Drift | None:
    """Errors of the rejected sides against `samples`, wrong answers by error; None where either is empty.

    `chance` is the expected distance of as many pairs drawn at random, each share taken as normal.
    """
    pairs = Counter(one.rejected.verdict for one in records if one.rejected.verdict not in (None, "correct"))
    total, wrong = pairs.total(), sum(samples.values())
    if not total or not wrong:
        return None
    names = sorted({*map(str, pairs), *samples}, key=lambda name: (-samples.get(name, 0), name))
    shares = {
        name: ErrorShare(pairs[name], samples.get(name, 0), pairs[name] / total, samples.get(name, 0) / wrong)
        for name in names
    }
    return Drift(
        errors=shares,
        variation=sum(abs(one.pair_share - one.sample_share) for one in shares.values()) / 2,
        chance=sum(
            sqrt(2 * one.sample_share * (1 - one.sample_share) / (pi * total)) for one in shares.values()
        )
        / 2,
    )


def cut(records: Sequence[PairRecord], max_length: int) -> Cut:
    """What is beyond `max_length` ids of context and continuation."""
    rows = ids = loss = without = 0
    for one in records:
        context = len(one.context_ids)
        longest = max(len(one.chosen.ids), len(one.rejected.ids))
        beyond = context + longest - max_length
        if beyond > 0:
            rows, ids, loss = rows + 1, ids + beyond, loss + min(beyond, longest)
            without += context >= max_length
    return Cut(max_length, rows, ids, loss, without)


def counted(records: Iterable[PairRecord], name: Callable[[PairRecord], str]) -> dict[str, int]:
    """How many records have each name, by name."""
    return dict(sorted(Counter(map(name, records)).items()))


def _correlation(records: Sequence[PairRecord]) -> float | None:
    sides = [side for one in records for side in (one.chosen, one.rejected) if side.value is not None]
    try:
        found = statistics.correlation(
            [side.value for side in sides if side.value is not None], [len(side.ids) for side in sides]
        )
    except statistics.StatisticsError:
        return None
    return round(found, 4)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest values, as numpy's default."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
