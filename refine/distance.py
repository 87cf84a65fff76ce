"""How far two sequences of ids are from each other."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Least insertions, deletions and replacements that make `one` into `other` (Levenshtein).

    Bit-parallel (Myers 1999, in the form of Hyyrö 2003): a column of the table is two whole numbers, so that
    sides of hundreds of ids take a fraction of a millisecond.
    """
    if not one:
        return len(other)
    places: dict[int, int] = {}
    for place, item in enumerate(one):
        places[item] = places.get(item, 0) | 1 << place
    mask, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = mask, 0, len(one)
    for item in other:
        equal = places.get(item, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        right = falls | ~(diagonal | rises) & mask
        left = rises & diagonal
        distance += bool(right & last) - bool(left & last)
        right = right << 1 | 1
        rises = (left << 1 | ~(diagonal | right)) & mask
        falls = right & diagonal & mask
    return distance
