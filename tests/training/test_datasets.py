"""Rows are read as ids, bad ones are named by line, long ones are refused with a reason."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.engines.scripted import ScriptedTemplate
from strop.refine.record import PairRecord
from strop.tools.errors import DataError
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message
from strop.training.datasets import PairRow, SftRow, read_pairs, read_sft, usable

PAIR = {"id": "a", "prompt_ids": [5, 6], "chosen_ids": [7], "rejected_ids": [8]}
TASK = {
    "id": "t",
    "messages": [{"role": "user", "content": "how warm is it in Oslo"}],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    "calls": [{"name": "weather", "arguments": {"city": "Oslo"}}],
}


class Letters(ScriptedTemplate):
    """A template whose ids are code points: the question, then the answer and a 0."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[int, ...]:
        return tuple(map(ord, f"{[tool.name for tool in tools]}{messages[-1]['content']}"))

    def answer_ids(self, text: str) -> tuple[int, ...]:
        return (*map(ord, text), 0)


def write(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_pairs_are_read_and_every_bad_row_is_named_by_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pairs.jsonl",
        {**PAIR, "prefix_ids": [9, 9], "kind": "fragment", "evidence": {"source": "policy"}},
        "{broken",
        {**PAIR, "chosen_ids": []},
        {**PAIR, "rejected_ids": [7]},
        {**PAIR, "prompt_ids": [1, "2"]},
        {**PAIR, "prompt_ids": [1, True]},
        {**PAIR, "id": None},
        {**PAIR, "id": "last"},
    )
    pairs, bad = read_pairs(tmp_path)
    assert pairs == [PairRow("a", (5, 6, 9, 9), (7,), (8,)), PairRow("last", (5, 6), (7,), (8,))]
    assert [row.line for row in bad] == [2, 3, 4, 5, 6, 7]
    assert "'chosen_ids' must be a list of token ids" in bad[1].reason
    assert "are the same" in bad[2].reason
    assert read_pairs(path) == (pairs, bad)


def test_a_file_without_a_pair_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", {"id": "a"})
    with pytest.raises(DataError, match=r"holds no preference pair \(line 1: row 'a': 'prompt_ids' must be"):
        read_pairs(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "missing.jsonl")


def test_demonstrations_come_from_tasks_or_ids(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        TASK,
        {**TASK, "id": "prose", "calls": [], "response": "No tool fits."},
        {"id": "ids", "prompt_ids": [1], "answer_ids": [2, 3]},
        {**TASK, "id": "nothing", "calls": []},
        {**TASK, "messages": []},
    )
    rows, bad = read_sft(path, Letters())
    calls = FORMATS["fenced_json"].render([ToolCall("weather", {"city": "Oslo"})])
    prompt = tuple(map(ord, "['weather']how warm is it in Oslo"))
    assert rows == [
        SftRow("t", prompt, (*map(ord, calls), 0)),
        SftRow("prose", prompt, (*map(ord, "No tool fits."), 0)),
        SftRow("ids", (1,), (2, 3)),
    ]
    assert [(row.line, row.reason) for row in bad] == [
        (4, "task 'nothing': no calls and no response to train on"),
        (5, "task 't': 'messages' is empty"),
    ]


def test_long_rows_are_refused_with_a_reason_and_never_cut() -> None:
    rows = [SftRow("short", (1, 2), (3,)), SftRow("long", (1, 2), (3, 4))]
    kept, refused = usable(rows, max_length=3, vocabulary=10)
    assert kept == rows[:1]
    assert [(one.id, one.reason) for one in refused] == [("long", "4 ids, max_length is 3")]
    with pytest.raises(DataError, match=r"nothing to train on: 2 rows are too long; short: 3 ids"):
        usable(rows, max_length=2, vocabulary=10)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (SftRow("a", (), (3,)), "'a' has a prompt or an answer without any id"),
        (PairRow("b", (1,), (2,), ()), "'b' has a prompt or an answer without any id"),
        (PairRow("c", (1,), (-2,), (3,)), "'c' has token id -2: ids are 0 or more"),
    ],
)
def test_rows_that_are_none_are_an_error(row: SftRow | PairRow, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        usable([row], max_length=10, vocabulary=8)


def test_nothing_is_no_training_data() -> None:
    with pytest.raises(DataError, match="there is no row"):
        usable([], max_length=10, vocabulary=8)


def test_ids_of_another_model_are_an_error() -> None:
    with pytest.raises(DataError, match=r"row 'a' has token id 8.*vocabulary ends at 7.*another model"):
        usable([PairRow.of(PairRecord.from_json(PAIR, 1))], max_length=10, vocabulary=8)


ROWS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), min_size=1)


@given(ROWS, st.integers(2, 18))
def test_every_row_is_either_kept_or_refused(lengths: list[tuple[int, int, int]], limit: int) -> None:
    rows = [PairRow(str(n), (1,) * p, (2,) * c, (3,) * r) for n, (p, c, r) in enumerate(lengths)]
    fitting = [row.id for row in rows if row.length <= limit]
    if not fitting:
        with pytest.raises(DataError):
            usable(rows, max_length=limit, vocabulary=9)
        return
    kept, refused = usable(rows, max_length=limit, vocabulary=9)
    assert [row.id for row in kept] == fitting
    assert {row.id for row in kept} | {one.id for one in refused} == {row.id for row in rows}


ANY_IDS = st.lists(st.integers(-1, 5), max_size=3) | st.none() | st.just("12") | st.just([True])


@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.text(max_size=3) | st.integers()},
            optional=dict.fromkeys(("prompt_ids", "prefix_ids", "chosen_ids", "rejected_ids"), ANY_IDS),
        ),
        max_size=6,
    )
)
def test_a_pair_is_read_where_its_ids_are_and_named_where_they_are_not(rows: list[dict[str, Any]]) -> None:
    sound = {"id": "sound", "prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]}
    with tempfile.TemporaryDirectory() as folder:
        pairs, bad = read_pairs(write(Path(folder) / "pairs.jsonl", *rows, sound))
    right = [_is_pair(row) for row in rows]
    assert [one.line for one in bad] == [line for line, good in enumerate(right, start=1) if not good]
    assert [(one.id, one.chosen_ids) for one in pairs] == [
        (row["id"], tuple(row["chosen_ids"]))
        for row in [*(row for row, good in zip(rows, right, strict=True) if good), sound]
    ]


def _is_pair(row: dict[str, Any]) -> bool:
    def ids(key: str) -> bool:
        value = row.get(key)
        return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)

    needed = ("prompt_ids", "chosen_ids", "rejected_ids")
    return (
        isinstance(row["id"], str)
        and all(ids(key) and row[key] for key in needed)
        and ("prefix_ids" not in row or ids("prefix_ids"))
        and row["chosen_ids"] != row["rejected_ids"]
    )
