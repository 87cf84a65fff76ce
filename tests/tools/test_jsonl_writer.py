"""Rows that grow: whole or not there, whatever the disk and the model do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.files import JsonlWriter, json_text, read_jsonl, write_jsonl

FULL_DISK = """
import resource, sys
from pathlib import Path
from strop.tools.errors import RunError
from strop.tools.files import JsonlWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
with JsonlWriter(Path(sys.argv[1])) as writer:
    for number in range(100):
        try:
            writer.write({"number": number, "text": "x" * (100 if number < 50 else 10)})
        except RunError as error:
            print(error)
"""


def test_a_row_that_does_not_fit_leaves_no_trace_and_later_ones_may(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert f"cannot write {path}: File too large" in done.stdout
    rows, bad = read_jsonl(path)
    assert bad == []
    numbers = [row["number"] for _, row in rows]
    assert numbers[:7] == list(range(7))
    assert max(numbers) >= 50
    assert path.stat().st_size <= 1000


@pytest.mark.parametrize("left", [b'{"a": ', b"\x00\x00", b'{"a": 1}'])
def test_a_last_line_without_its_end_is_dropped(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 0}\n' + left)
    with JsonlWriter(path) as writer:
        writer.write({"a": 2})
    assert [row["a"] for _, row in read_jsonl(path)[0]] == [0, 2]


@given(st.lists(st.dictionaries(st.text(st.characters()), st.text(st.characters()), max_size=3), max_size=4))
def test_any_strings_make_one_line_of_utf8(rows: list[dict[str, str]]) -> None:
    for row in rows:
        text = json_text(row)
        assert text.encode()
        assert "\n" not in text


def test_half_a_surrogate_pair_survives_a_file(tmp_path: Path) -> None:
    row = {"text": "\ud83d ü"}
    write_jsonl(tmp_path / "rows.jsonl", [row, {"text": "ü"}])
    assert [found for _, found in read_jsonl(tmp_path / "rows.jsonl")[0]] == [row, {"text": "ü"}]
    assert "ü" in (tmp_path / "rows.jsonl").read_text()
