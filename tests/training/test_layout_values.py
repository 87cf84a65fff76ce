"""Values are what the row says, or the row is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError
from strop.tools.formats import read_calls
from strop.tools.formats.bracketed import read_list, read_literal
from strop.training.layouts import WRITERS, read_layout
from tests.training.layout_rows import (
    CALL,
    HERMES,
    OPENAI,
    ROWS,
    STROP,
    TOOL,
    TOOLACE,
    gold,
    read,
    turns,
)

# No JSON, though Python reads it.

BENT = [
    ("NaN", "NaN is not JSON"),
    ("-1e400", "-1e400 is larger"),
    ('{"k": 1, "k": 2}', "'k' is given twice"),
]
PLACES: dict[str, dict[str, Any]] = {
    "calls": {"calls": [{"name": "find_flat", "arguments": {"where": "HERE"}}]},
    "schemas": {"tools": [{**TOOL, "parameters": {"type": "object", "default": "HERE"}}]},
    "messages": {"messages": [{"role": "user", "content": "?", "about": "HERE"}]},
    "argument texts": {"calls": [{"name": "find_flat", "arguments": '{"where": ~HERE~}'}]},
}


@pytest.mark.parametrize(("text", "says"), BENT)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", [".jsonl", ".json"])
def test_what_is_no_json_is_a_bad_row_wherever_it_stands(
    place: str, text: str, says: str, form: str, tmp_path: Path
) -> None:
    bent = json.dumps({**STROP, "id": "bent", **PLACES[place]})
    bent = bent.replace('"HERE"', text).replace("~HERE~", json.dumps(text)[1:-1])
    rows = [json.dumps(STROP), bent, json.dumps({**STROP, "id": "last"})]
    path = tmp_path / f"rows{form}"
    path.write_text("\n".join(rows) if form == ".jsonl" else f"[{', '.join(rows)}]\n")
    loaded = read_layout(path)
    assert [(bad.line, says in bad.reason) for bad in loaded.bad] == [(2, True)]
    assert [(line, task.id) for line, task in loaded.tasks] == [(1, "own"), (3, "last")]
    for name, writer in WRITERS.items():
        for _, task in loaded.tasks:
            assert "NaN" not in json.dumps(writer.write(task), allow_nan=False), name


def test_a_list_that_is_no_json_at_all_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for rest, line in (('{"x": ]', 2), ("{} {}]", 2), ("{},]", 2), ("{}]\n{}", 3), ("{}", 2)):
        path.write_text(f'[{{"x": NaN}},\n{rest}')
        with pytest.raises(DataError, match=rf"rows\.json:{line}: not JSON"):
            read_layout(path)


@pytest.mark.parametrize("layout", ["xlam", "sharegpt", "openai"])
def test_what_is_no_json_in_texts_within_rows_is_refused(layout: str) -> None:
    text = json.dumps(ROWS[layout])
    assert "2.5" in text
    with pytest.raises(DataError, match="1e999 is larger than a number can be"):
        read(json.loads(text.replace("2.5", "1e999")), layout)


def test_numbers_that_are_none_are_refused_where_no_json_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {**STROP, "id": str(number), "calls": [{"name": "find_flat", "arguments": {"rooms": number}}]}
        for number in (1.5, math.nan, math.inf)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    loaded = read_layout(tmp_path / "rows.parquet")
    assert [task.id for _, task in loaded.tasks] == ["1.5"]
    assert [(bad.line, "'calls' is not JSON" in bad.reason) for bad in loaded.bad] == [(2, True), (3, True)]


# Literals of Python.


@given(st.text(), st.text())
def test_characters_escaped_as_in_json_are_read_as_what_they_are(key: str, value: str) -> None:
    written = f"[f(o={{{json.dumps(key)}: {json.dumps(value)}}})]"
    (call,) = read_list(written, {"f"})
    assert call.arguments == {"o": {key: value}}
    assert read_calls(written, preferred="pythonic").calls == (call,)


@pytest.mark.parametrize(
    "text", [r"'a\ud83d'", r"'\ude00\ud83d'", r"{'\ud83d': 1}", "{'k': 1, 'k': 2}", "[{'k': 1, 'k': 1}]"]
)
def test_a_literal_that_would_lose_something_is_refused_as_gold_and_read_of_a_model(text: str) -> None:
    with pytest.raises(DataError, match=r"duplicate keys|lone surrogate"):
        read_literal(text)
    with pytest.raises(DataError, match=r"duplicate keys|lone surrogate"):
        read_list(f"[f(a={text})]", {"f"})
    reading = read_calls(f"[f(a={text})]", preferred="pythonic")
    assert (len(reading.calls), len(reading.repairs)) == (1, 1)
    json.dumps(reading.calls[0].to_json(), ensure_ascii=False).encode()


def test_toolace_and_hermes_keep_every_character() -> None:
    def toolace(value: str) -> dict[str, Any]:
        answer = f"[Get Weather.now(city={value})]"
        return {**TOOLACE, "conversations": turns(("user", "?"), ("assistant", answer))}

    (task,) = read(toolace(r"'It\'s \ud83d\ude00'"), "toolace")
    assert gold(task).calls[0].arguments == {"city": "It's 😀"}
    with pytest.raises(DataError, match=r"calls cannot be read: .*lone surrogate"):
        read(toolace(r"'\ud83d'"), "toolace")
    said = repr(CALL).replace("Zürich 🏠", r"\ud83d")
    conversations = [
        HERMES["conversations"][0],
        *turns(("human", "?"), ("gpt", f"<tool_call>{said}</tool_call>")),
    ]
    with pytest.raises(DataError, match="lone surrogate"):
        read({**HERMES, "conversations": conversations}, "hermes")


def test_openai_results_and_answers_with_calls_may_have_no_text() -> None:
    silent = [{**message, "content": None} for message in OPENAI["messages"][2:4]]
    row = {**OPENAI, "messages": [*OPENAI["messages"][:2], *silent, *OPENAI["messages"][4:]]}
    told = read(row, "openai")[1]
    assert [message["content"] for message in told.messages[2:]] == [None, None]
