"""Sequences with a common beginning stay together, and nothing is lost or repeated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.training.neighbours import GroupedOrder, groups, slices

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=24)


@given(SEQUENCES, st.integers(0, 5), st.integers(0, 3), st.integers(1, 5))
def test_an_epoch_is_every_index_once_and_no_group_is_cut_needlessly(
    sequences: list[list[int]], seed: int, epoch: int, width: int
) -> None:
    found = groups(sequences)
    order = GroupedOrder(found, [len(one) for one in sequences], seed, width)
    order.set_epoch(epoch)
    indices = list(order)
    assert sorted(indices) == list(range(len(sequences)))
    assert len(order) == len(sequences)
    assert list(order) == indices
    for piece in slices(found, width):
        start = indices.index(piece[0])
        assert indices[start : start + len(piece)] == list(piece)


def _in_turn(order: list[int], width: int) -> list[tuple[int, ...]]:
    return [tuple(order[at : at + width]) for at in range(0, len(order), width)]


def test_groups_as_large_as_a_micro_batch_never_meet_in_one() -> None:
    found = [[4 * group + place for place in range(4)] for group in range(10)] + [[40], [41, 42], [43]]
    order = list(GroupedOrder(found, [1] * 44, 3, 4))
    assert {index // 4 for index in order[:4]} == {order[0] // 4}
    for batch in _in_turn(order, 4):
        assert len({index // 4 for index in batch}) == 1


def test_pairs_of_one_prompt_are_a_group() -> None:
    one, other = [1, 2, 3, 4], [1, 2, 9, 9, 9]
    assert sorted(map(sorted, groups([[*one, 5], other, [*one, 6], one]))) == [[0, 2, 3], [1]]


def test_epochs_differ() -> None:
    order = GroupedOrder([[index] for index in range(20)], [1] * 20, 0, 1)
    first = list(order)
    order.set_epoch(1)
    assert list(order) != first


def test_what_is_left_of_groups_meets_what_is_about_as_long() -> None:
    lengths = [length for length in (10, 900, 300, 320, 880, 15) for _ in range(2)]
    order = list(GroupedOrder([[2 * pair, 2 * pair + 1] for pair in range(6)], lengths, 0, 4))
    for batch in _in_turn(order, 4):
        assert max(lengths[index] for index in batch) - min(lengths[index] for index in batch) <= 20
