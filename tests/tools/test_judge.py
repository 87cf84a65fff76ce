"""Verdicts and credit: right is right in any order, wrong has one reason, and the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from strop.tools.canonical import canonical
from strop.tools.judge import credit, judge, same_value
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict
from tests.tools.strategies import calls, json_values

BOOK = ToolSpec(
    "book",
    "Book seats.",
    {
        "type": "dict",
        "properties": {
            "show": {"type": "string"},
            "seats": {"type": "integer"},
            "price": {"type": "float"},
            "row": {"type": "string", "default": "any"},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["show", "seats"],
    },
)
GOLD = ToolCall("book", {"show": "Macbeth, Act 1", "seats": 2})


def task(*gold: ToolCall, tools: Sequence[ToolSpec] = (BOOK,)) -> Task:
    return Task("t", ({"role": "user", "content": "…"},), tuple(tools), Gold(gold))


def booking(**changes: Any) -> ToolCall:
    arguments = {**GOLD.arguments, **changes}
    return ToolCall("book", {name: value for name, value in arguments.items() if value is not ...})


@pytest.mark.parametrize(
    "call",
    [
        GOLD,
        booking(seats=2.0),
        booking(show="MACBETH Act-1."),
        booking(row="any"),
        ToolCall("book", {"seats": 2, "show": "Macbeth, Act 1"}),
    ],
)
def test_right(call: ToolCall) -> None:
    assert judge([call], None, task(GOLD)) == Verdict.right()


@pytest.mark.parametrize(
    ("given_", "kind", "says"),
    [
        ([], ErrorKind.MISSING_CALL, "0 calls where 1"),
        ([GOLD, GOLD], ErrorKind.EXTRA_CALL, "2 calls where 1"),
        ([ToolCall("cook", GOLD.arguments)], ErrorKind.WRONG_NAME, "cook where book"),
        ([booking(seats=...)], ErrorKind.MISSING_ARGUMENT, "'seats' is missing, 2 is right"),
        ([booking(where="x")], ErrorKind.UNEXPECTED_ARGUMENT, "'where' is not one of the tool's"),
        ([booking(price=1)], ErrorKind.UNEXPECTED_ARGUMENT, "'price' is not asked for"),
        ([booking(row="front")], ErrorKind.UNEXPECTED_ARGUMENT, "'row' is not asked for"),
        ([booking(seats="2")], ErrorKind.WRONG_TYPE, "'seats' is '2', string where integer"),
        ([booking(seats=True)], ErrorKind.WRONG_TYPE, "boolean where integer"),
        ([booking(seats=2.5)], ErrorKind.WRONG_TYPE, "number where integer"),
        ([booking(seats=3)], ErrorKind.WRONG_VALUE, "'seats' is 3, 2 is right"),
        ([booking(show="Hamlet")], ErrorKind.WRONG_VALUE, "'show' is 'Hamlet'"),
        ([booking(seats="2", show=..., extra=1)], ErrorKind.MISSING_ARGUMENT, "'show'"),
        ([booking(seats="2", show="Hamlet")], ErrorKind.WRONG_TYPE, "'seats'"),
    ],
)
def test_wrong(given_: list[ToolCall], kind: ErrorKind, says: str) -> None:
    verdict = judge(given_, None, task(GOLD))
    assert verdict.error is kind
    assert says in verdict.detail
    assert verdict.detail.endswith(".")


def test_unparsable_comes_first() -> None:
    assert judge([], "cut off", task(GOLD)).error is ErrorKind.UNPARSABLE
    assert judge([], "cut off", task()).error is ErrorKind.UNPARSABLE
    assert credit([], "cut off", task()) == 0.0


def test_silence() -> None:
    assert judge([], None, task()) == Verdict.right()
    assert judge([GOLD], None, task()).error is ErrorKind.SHOULD_NOT_CALL
    assert credit([], None, task()) == 1.0
    assert credit([GOLD], None, task()) == 0.0


def test_a_task_without_gold_wants_silence() -> None:
    live = Task("t", ({"role": "user"},), (BOOK,))
    assert judge([], None, live).correct
    assert not judge([GOLD], None, live).correct


def test_an_optional_argument_may_be_left_out_where_the_gold_is_the_default() -> None:
    assert judge([GOLD], None, task(booking(row="any"))).correct
    assert judge([GOLD], None, task(booking(row="A"))).error is ErrorKind.MISSING_ARGUMENT


def test_types_within_containers() -> None:
    gold = booking(names=["Ann", "Bo"])
    assert judge([booking(names=["ann", "bo"])], None, task(gold)).correct
    assert judge([booking(names=["Bo", "Ann"])], None, task(gold)).error is ErrorKind.WRONG_VALUE
    assert judge([booking(names=["Ann", 3])], None, task(gold)).error is ErrorKind.WRONG_TYPE
    assert judge([booking(names="Ann")], None, task(gold)).error is ErrorKind.WRONG_TYPE


def test_a_tool_nobody_described_is_judged_by_the_golds_types() -> None:
    gold = ToolCall("other", {"n": 1})
    assert judge([ToolCall("other", {"n": "1"})], None, task(gold)).error is ErrorKind.WRONG_TYPE
    assert judge([ToolCall("other", {"n": 1.5})], None, task(gold)).error is ErrorKind.WRONG_VALUE


def test_the_best_matching_counts() -> None:
    gold = [booking(seats=seats) for seats in (1, 2, 3)]
    given_ = [booking(seats=3), booking(seats=1), booking(seats="2")]
    verdict = judge(given_, None, task(*gold))
    assert (verdict.error, "'2'" in verdict.detail) == (ErrorKind.WRONG_TYPE, True)


def test_credit_by_the_formula() -> None:
    assert credit([booking(seats=3)], None, task(GOLD)) == pytest.approx(0.2 + 0.8 * (1 + 0.4) / 2)
    assert credit([booking(seats="2")], None, task(GOLD)) == pytest.approx(0.2 + 0.8 * (1 + 0.2) / 2)
    assert credit([booking(seats=...)], None, task(GOLD)) == pytest.approx(0.2 + 0.8 / 2)
    assert credit([booking(where=1)], None, task(GOLD)) == pytest.approx(0.2 + 0.8 * 2 / 3)
    assert credit([GOLD, ToolCall("cook", {})], None, task(GOLD)) == 0.5
    assert credit([GOLD], None, task(GOLD, booking(seats=9))) == 0.5
    assert credit([ToolCall("cook", {})], None, task(GOLD)) == 0.0


_values = st.sampled_from((1, 2.0, "1", "a", True, None, [1], ["a"]))
_arguments = st.dictionaries(
    st.sampled_from(("show", "seats", "price", "row", "names", "where")), _values, max_size=4
)
_near: SearchStrategy[ToolCall] = st.builds(ToolCall, st.sampled_from(("book", "cook")), _arguments)


@given(st.lists(_near, max_size=4), st.lists(_near, max_size=4), st.randoms(use_true_random=False))
def test_credit_is_full_exactly_where_the_verdict_is_right(
    given_: list[ToolCall], gold: list[ToolCall], random: Any
) -> None:
    asked = task(*gold)
    worth = credit(given_, None, asked)
    assert 0.0 <= worth <= 1.0
    assert (worth == 1.0) is judge(given_, None, asked).correct
    shuffled = random.sample(given_, len(given_))
    assert credit(shuffled, None, asked) == pytest.approx(worth)
    assert judge(shuffled, None, asked).error == judge(given_, None, asked).error


@given(st.lists(_near, max_size=3), st.lists(_near, max_size=3))
def test_credit_is_symmetric_without_schemas(given_: list[ToolCall], gold: list[ToolCall]) -> None:
    """Without a schema to ask, it does not matter which side is the gold."""
    forth = credit(given_, None, task(*gold, tools=()))
    back = credit(gold, None, task(*given_, tools=()))
    assert forth == pytest.approx(back)


@given(st.lists(calls(), max_size=3), st.randoms(use_true_random=False))
def test_the_gold_itself_is_right(gold: list[ToolCall], random: Any) -> None:
    shuffled = random.sample(gold, len(gold))
    assert judge(shuffled, None, task(*gold)) == Verdict.right()
    assert credit(shuffled, None, task(*gold)) == 1.0


@given(st.lists(_near, max_size=3), st.lists(_near, max_size=3), st.lists(_near, max_size=3))
def test_answers_with_one_canonical_form_have_one_verdict(
    left: list[ToolCall], right: list[ToolCall], gold: list[ToolCall]
) -> None:
    if canonical(left) == canonical(right):
        assert judge(left, None, task(*gold)).error == judge(right, None, task(*gold)).error
        assert credit(left, None, task(*gold)) == credit(right, None, task(*gold))


@given(json_values(), json_values())
def test_sameness_is_symmetric_and_holds_of_itself(left: Any, right: Any) -> None:
    assert same_value(left, left)
    assert same_value(left, right) is same_value(right, left)
