"""Which tasks are searched, and what the table says of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.refine.deficiency import Deficiency, Selection, diagnose, select, summarise, unsampled
from strop.refine.sample import Outcome, Sample
from strop.tools.verdict import ErrorKind, Verdict
from tests.refine.worlds import BOTH, SIMPLE


def sample(error: ErrorKind | None) -> Sample:
    verdict = Verdict.right() if error is None else Verdict.wrong(error, "so")
    return Sample((1,), (0.0,), Outcome("", (), verdict, 1.0 if error is None else 0.25, complete=True))


samples = st.lists(st.sampled_from([None, *ErrorKind]).map(sample), min_size=1, max_size=8)


@given(samples)
def test_counts_add_up_and_survive_their_row(drawn: list[Sample]) -> None:
    row = diagnose(SIMPLE, drawn)
    assert row.passes + sum(row.errors.values()) == row.samples == len(drawn)
    assert Deficiency.from_json(row.to_json()) == row
    assert row.selection.searched == (row.passes < row.samples)


def test_the_band() -> None:
    assert [select(passes, 4) for passes in range(5)] == [
        Selection.UNSOLVED,
        Selection.BAND,
        Selection.BAND,
        Selection.BAND,
        Selection.SOLVED,
    ]


def test_the_table_adds_up_by_category() -> None:
    rows = [
        diagnose(SIMPLE, [sample(None), sample(ErrorKind.WRONG_VALUE)]),
        diagnose(BOTH, [sample(ErrorKind.MISSING_CALL)] * 2),
        unsampled(BOTH, Selection.NO_ROOM),
    ]
    table = summarise(rows)
    assert list(table) == ["all", "parallel", "simple"]
    assert table["all"] == {
        "tasks": 3,
        "samples": 4,
        "passes": 1,
        "selection": {"band": 1, "no_room": 1, "unsolved": 1},
        "errors": {"missing_call": 2, "wrong_value": 1},
    }
    assert table["parallel"]["tasks"] == 2
