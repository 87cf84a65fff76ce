"""Files are whole or not there, and a bad row costs itself only."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError, RunError
from strop.tools.files import (
    EXACT,
    BadRow,
    JsonlWriter,
    json_text,
    read_json,
    read_jsonl,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)
from tests.tools.strategies import json_values


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.json"
    write_json(path, {"é": [1, None]})
    assert read_json(path) == {"é": [1, None]}
    assert "é" in path.read_text(encoding="utf-8")
    write_json(path, 2)
    assert read_json(path) == 2
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]


@given(json_values())
def test_json_text_is_json_that_utf8_can_hold(value: Any) -> None:
    assert json.loads(json_text(value).encode()) == value


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", [{"a": "\ud800"}])
    rows, bad = read_jsonl(tmp_path / "x.jsonl")
    assert (rows, bad) == ([(1, {"a": "\ud800"})], [])


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "x.json"
    (folder / "inside").mkdir(parents=True)  # a directory in the file's place cannot be replaced
    with pytest.raises(RunError, match=r"cannot write .*x\.json"):
        write_text(folder, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_a_parent_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for parent in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(RunError, match=r"cannot write .*: ") as refused:
            write_bytes(parent / "x", b"")
        assert "\n" not in str(refused.value)
        with pytest.raises(RunError, match="cannot write"):
            JsonlWriter(parent / "x.jsonl")


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ('{\n"a": }', "not JSON", 2),
        ("", "not JSON", 1),
        ("9" * 5000, "not JSON", None),
        ("[" * 200_000, "not JSON", None),
    ],
)
def test_bad_json_names_file_and_line(tmp_path: Path, text: str, says: str, line: int | None) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says) as refused:
        read_json(path)
    assert (refused.value.path, refused.value.line) == (path, line)
    assert str(path) in str(refused.value)


def test_files_that_cannot_be_opened_or_decoded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(DataError, match=r"not UTF-8 at byte 7$"):
        read_jsonl(tmp_path / "latin.jsonl")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n'))
    with pytest.raises(DataError, match="not UTF-8 at byte 1: it is packed by gzip"):
        read_jsonl(tmp_path / "rows.jsonl.gz")
    (tmp_path / "wide.json").write_bytes('{"a": "é"}'.encode("utf-16"))
    with pytest.raises(DataError, match="it is UTF-16"):
        read_json(tmp_path / "wide.json")


BENT = [
    ('{"x": NaN}', "NaN is not JSON"),
    ('{"x": [-Infinity]}', "-Infinity is not JSON"),
    ('{"x": 1e400}', "1e400 is larger"),
    ('{"x": -1e400}', "-1e400 is larger"),
    ('{"a": {"x": 1, "y": 2, "x": 1}}', "key 'x' is given twice"),
]


@pytest.mark.parametrize(("text", "says"), BENT)
def test_what_pythons_reader_bends_is_refused_in_data_and_read_in_logs(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"n": 1}}\n{text}\n', encoding="utf-8")
    rows, bad = read_jsonl(path, EXACT.decode)
    assert rows == [(1, {"n": 1})]
    assert [(row.line, says in row.reason) for row in bad] == [(2, True)]
    assert len(read_jsonl(path)[0]) == 2


@given(json_values())
def test_what_is_read_exactly_is_what_python_reads(value: Any) -> None:
    text = json.dumps(value)
    assert json.dumps(EXACT.decode(text)) == json.dumps(json.loads(text)) == text


def test_bad_rows_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = ['{"n": 1}', "", '{"n": ', "[1]", '{"n": 2}', "[" * 200_000, "9" * 5000, '{"n": 3}']
    path.write_text("\n".join(lines), encoding="utf-8")
    rows, bad = read_jsonl(path)
    assert rows == [(1, {"n": 1}), (5, {"n": 2}), (8, {"n": 3})]
    assert [row.line for row in bad] == [3, 4, 6, 7]
    assert bad[1] == BadRow(4, "not a JSON object but list")


def test_a_separator_within_a_string_ends_no_row(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", [{"a": "\u2028\x85\r"}, {"a": 2}])
    assert read_jsonl(tmp_path / "x.jsonl") == ([(1, {"a": "\u2028\x85\r"}), (2, {"a": 2})], [])


def test_a_log_grows_and_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    with JsonlWriter(path) as log:
        log.write({"n": 1})
        assert read_jsonl(path)[0] == [(1, {"n": 1})]
    with path.open("ab") as file:
        file.write(b'{"n": 2, "text": "cut')
    with JsonlWriter(path) as log:
        log.write({"n": 3})
    assert read_jsonl(path) == ([(1, {"n": 1}), (2, {"n": 3})], [])


@given(st.lists(st.fixed_dictionaries({"n": st.integers(), "s": st.text()}), max_size=5), st.data())
def test_killed_anywhere_a_log_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with JsonlWriter(path) as log:
        for row in rows:
            log.write(row)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with JsonlWriter(path) as log:
        log.write({"last": True})
    kept = [row for _, row in read_jsonl(path)[0]]
    assert kept == [*rows[: whole[:cut].count(b"\n")], {"last": True}]
