"""Which sequences share their beginning, and an order that keeps those together.

A micro-batch computes a shared beginning once (`strop.training.shared_prefix`), so pairs of one search tree
should meet in one, and in as few as can be. Groups are shuffled; within a group, those that share most are
next to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from random import Random

LEAST_SHARE = 0.5
"""Part of a sequence that must be shared for it to be another's neighbour."""


def groups(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of sequences, together where each shares `LEAST_SHARE` of its beginning with the one before."""
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    found: list[list[int]] = []
    for index in order:
        if found and _share(sequences[found[-1][-1]], sequences[index]) >= LEAST_SHARE:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def slices(found: Sequence[Sequence[int]], most: int) -> Iterator[Sequence[int]]:
    """Every group in pieces of at most `most` indices."""
    for group in found:
        for start in range(0, len(group), most):
            yield group[start : start + most]


class GroupedOrder:
    """A sampler: every index once an epoch, in an order whose every `width` indices are one micro-batch.

    No micro-batch takes in the end of one group and the beginning of another where that can be helped: what
    is left of groups after whole micro-batches is put together with what fits, and of that with what is
    about as long, for the shorter is padded. `lengths` are those of all sequences. Shuffled anew each epoch;
    the same for the same seed.
    """

    def __init__(self, found: Sequence[Sequence[int]], lengths: Sequence[int], seed: int, width: int):
        self._groups = [list(group) for group in found]
        self._lengths = lengths
        self._seed = seed
        self._width = width
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch, counted from 0; the training loop calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[int]:
        rng = Random(f"{self._seed}:{self._epoch}")
        pieces = list(slices(rng.sample(self._groups, len(self._groups)), self._width))
        batches = _filled(pieces, self._lengths, self._width)
        whole = [batch for batch in batches if len(batch) == self._width]
        rng.shuffle(whole)
        rest = [batch for batch in batches if len(batch) < self._width]
        return (index for batch in (*whole, *rest) for index in batch)


def _filled(pieces: Sequence[Sequence[int]], lengths: Sequence[int], width: int) -> list[list[int]]:
    """The pieces put together to batches of at most `width`, the largest first, each where it fits best.

    Where it fits as well into several, it joins what is nearest in length.
    """
    batches: list[list[int]] = []
    room: dict[int, list[int]] = {}

    def longest(indices: Sequence[int]) -> int:
        return max(lengths[index] for index in indices)

    for piece in sorted(pieces, key=lambda one: (-len(one), longest(one))):
        fits = next((room[free] for free in range(len(piece), width) if room.get(free)), None)
        if fits is None:
            at = len(batches)
            batches.append([])
        else:
            at = min(fits, key=lambda one: abs(longest(batches[one]) - longest(piece)))
            fits.remove(at)
        batches[at] += piece
        room.setdefault(width - len(batches[at]), []).append(at)
    return batches


def _share(one: Sequence[int], other: Sequence[int]) -> float:
    same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False)))
    return same / max(1, len(one), len(other))
