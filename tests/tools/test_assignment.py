"""The matching is the cheapest there is."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from strop.tools.assignment import assign

shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))
matrices = shapes.flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 9), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


@given(matrices)
def test_as_cheap_as_the_best_of_all(costs: list[list[int]]) -> None:
    pairs = assign(costs)
    rows, columns = len(costs), len(costs[0])
    assert pairs == sorted(pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(rows, columns)
    assert sum(costs[row][column] for row, column in pairs) == _least(costs)


def test_nothing_to_assign() -> None:
    assert assign([]) == []
    assert assign([[], []]) == []


def test_many_calls_are_no_trouble() -> None:
    size = 60
    costs = [[(7 * row + 11 * column) % 101 for column in range(size)] for row in range(size)]
    assert len(assign(costs)) == size


def _least(costs: list[list[int]]) -> int:
    if len(costs) > len(costs[0]):
        costs = [list(column) for column in zip(*costs, strict=True)]
    ways = permutations(range(len(costs[0])), len(costs))
    return min(sum(row[column] for row, column in zip(costs, way, strict=True)) for way in ways)
