"""Intervals and paired tests, against laws and published values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.paired import compare, mcnemar
from strop.tools.share import wilson


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_of_published_examples(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_holds_the_share_stays_inside_and_mirrors(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    assert wilson(total - correct, total) == pytest.approx((1 - high, 1 - low))
    assert high - low > wilson(2 * correct, 2 * total)[1] - wilson(2 * correct, 2 * total)[0]


def test_wilson_of_nothing_knows_nothing_and_of_nonsense_refuses() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 correct of 2"):
        wilson(3, 2)


def test_mcnemar_is_a_fair_coins_tail() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 0) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(5, 5) == 1.0
    assert 0 < mcnemar(3000, 2000) < 1e-40


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_symmetric_and_a_probability(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == mcnemar(lost, gained)
    assert 0 < mcnemar(gained, lost) <= 1


@given(st.dictionaries(st.text(), st.booleans()), st.dictionaries(st.text(), st.booleans()))
def test_a_comparison_accounts_for_every_common_task(before: dict[str, bool], after: dict[str, bool]) -> None:
    found = compare(before, after)
    assert found.total == len(before.keys() & after.keys())
    assert found.after - found.before == len(found.gained) - len(found.lost)
    assert found.difference == pytest.approx((found.after - found.before) / max(found.total, 1))
    back = compare(after, before)
    assert (set(back.gained), set(back.lost)) == (set(found.lost), set(found.gained))
