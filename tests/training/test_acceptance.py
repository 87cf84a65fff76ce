"""A policy is accepted where it is better by more than chance would often make it, and loses little."""

from __future__ import annotations

import json
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from strop.agent.paired import Comparison, compare, mcnemar, mcnemar_gain
from strop.training.acceptance import AcceptTable, decide

COUNTS = st.integers(0, 40)


def flips(gained: int, lost: int, *, of: int = 30) -> Comparison:
    """So many tasks turned right and wrong; the others stayed wrong."""
    before = [False] * gained + [True] * lost + [False] * (of - gained - lost)
    after = [True] * gained + [False] * (of - gained)
    return compare(*({str(n): right for n, right in enumerate(one)} for one in (before, after)))


@pytest.mark.parametrize(
    ("gained", "lost", "of", "says"),
    [
        (0, 0, 30, "refused: held-out accuracy +0.0% (0 of 30 tasks turned right, 0 wrong, one-sided p 1)"),
        (30, 0, 30, "accepted: held-out accuracy +100.0% (30 of 30 tasks turned right, 0 wrong,"),
        (2, 0, 30, "p 0.25); wanted p of at most 0.2"),
        (3, 0, 30, "accepted: held-out accuracy +10.0%"),
        (6, 2, 30, "accepted: held-out accuracy +13.3% (6 of 30 tasks turned right, 2 wrong, one-sided p"),
        (4, 4, 30, "refused: held-out accuracy +0.0%"),
        (2, 8, 30, "refused: held-out accuracy -20.0%"),
        (20, 5, 30, "one-sided p 0.002); 16.7% turned wrong, at most 15.0% may"),
        (20, 5, 40, "accepted"),
        (8, 0, 8, "accepted"),
        (1, 0, 1, "refused"),
        (0, 0, 0, "refused"),
    ],
)  # fmt: skip
def test_decisions_and_their_reasons(gained: int, lost: int, of: int, says: str) -> None:
    row = decide(flips(gained, lost, of=of), AcceptTable())
    assert says in row["reason"]
    assert row["accepted"] is ("accepted" in says)
    assert json.loads(json.dumps(row)) == row


def test_the_bounds_are_the_tables() -> None:
    assert decide(flips(2, 0), AcceptTable(alpha=0.25))["accepted"]
    assert not decide(flips(6, 2), AcceptTable(alpha=0.05))["accepted"]
    assert not decide(flips(9, 1), AcceptTable(max_negative_flips=0))["accepted"]
    for alpha in (0.0, 0.5):
        with pytest.raises(ValidationError, match="alpha"):
            AcceptTable(alpha=alpha)


def test_how_sure_the_flips_are_is_written_down() -> None:
    lost = decide(flips(6, 2), AcceptTable())["held_out"]["negative_flips"]
    assert lost["share"] == pytest.approx(2 / 30)
    assert lost["interval"] == pytest.approx([0.018, 0.213], abs=0.001)


@given(gained=COUNTS, lost=COUNTS)
def test_the_one_sided_p_value_is_the_binomial_tail(gained: int, lost: int) -> None:
    flipped = gained + lost
    tail = sum(comb(flipped, k) for k in range(gained, flipped + 1)) / 2**flipped
    assert mcnemar_gain(gained, lost) == pytest.approx(tail)
    if gained > lost:
        assert mcnemar(gained, lost) == pytest.approx(min(1.0, 2 * tail))


@given(gained=COUNTS, lost=COUNTS, alpha=st.floats(0.001, 0.499))
def test_no_loss_is_ever_accepted_and_a_further_gain_never_refused(
    gained: int, lost: int, alpha: float
) -> None:
    table = AcceptTable(alpha=alpha)
    accepted = decide(flips(gained, lost, of=90), table)["accepted"]
    assert not accepted or gained > lost
    assert not accepted or decide(flips(gained + 1, lost, of=90), table)["accepted"]
