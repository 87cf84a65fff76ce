"""Sequences with a common beginning stay together, and nothing is lost or repeated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.training.neighbours import GroupedOrder, groups

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=12)


@given(SEQUENCES, st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_is_every_index_once_with_groups_whole(
    sequences: list[list[int]], seed: int, epoch: int
) -> None:
    found = groups(sequences)
    order = GroupedOrder(found, seed)
    order.set_epoch(epoch)
    indices = list(order)
    assert sorted(indices) == list(range(len(sequences)))
    assert len(order) == len(sequences)
    assert list(order) == indices
    for group in found:
        start = indices.index(group[0])
        assert indices[start : start + len(group)] == group


def test_pairs_of_one_prompt_are_a_group() -> None:
    one, other = [1, 2, 3, 4], [1, 2, 9, 9, 9]
    assert sorted(map(sorted, groups([[*one, 5], other, [*one, 6], one]))) == [[0, 2, 3], [1]]


def test_epochs_differ() -> None:
    order = GroupedOrder([[index] for index in range(20)], 0)
    first = list(order)
    order.set_epoch(1)
    assert list(order) != first
