"""Which sequences share their beginning, and an order that keeps those together.

A micro-batch computes a shared beginning once (`strop.training.shared_prefix`), so pairs of one search tree
should meet in one. Groups are shuffled; within a group, those that share most are next to each other.
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
    """A sampler: every index once an epoch, groups whole and shuffled anew; the same for the same seed."""

    def __init__(self, found: Sequence[Sequence[int]], seed: int):
        self._groups = [list(group) for group in found]
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch, counted from 0; the training loop calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self._groups)))
        Random(f"{self._seed}:{self._epoch}").shuffle(order)
        return (index for group in order for index in self._groups[group])


def _share(one: Sequence[int], other: Sequence[int]) -> float:
    same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False)))
    return same / max(1, len(one), len(other))
