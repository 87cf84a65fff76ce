"""Files in any layout: which one it is, rows that are none, and the commands."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strop.agent.cli.data import app
from strop.agent.cli.parsing import read_tasks_aloud
from strop.tools.errors import DataError, UsageError
from strop.training.datasets import read_sft
from strop.training.layouts import LAYOUTS, Origin, detect, read_layout
from strop.training.layouts.rows import Rows, from_hub
from strop.training.transcripts import demonstrated
from tests.training.layout_rows import APIGEN, OPENAI, ROWS, STROP, TOOLACE, XLAM, gold, read, turns, write
from tests.training.test_datasets import Letters

# Files, and whose layout they have.


@pytest.mark.parametrize("layout", sorted(ROWS))
def test_each_layout_is_told_from_the_others(layout: str, tmp_path: Path) -> None:
    broken = {"conversations": 3, "tools": None}
    loaded = read_layout(write(tmp_path / "rows.jsonl", broken, ROWS[layout]))
    assert loaded.layout == layout
    assert [bad.line for bad in loaded.bad] == [1]


def test_plain_rows_do_not_hide_a_layout(tmp_path: Path) -> None:
    plain = {"conversations": turns(("human", "?"), ("gpt", "!"))}
    for layout in ("hermes", "sharegpt"):
        path = write(tmp_path / "rows.jsonl", plain, ROWS[layout], {**plain, "tools": "[]"})
        assert read_layout(path).layout == layout
    without_system = {key: value for key, value in APIGEN.items() if key != "system"}
    assert read_layout(write(tmp_path / "r.jsonl", APIGEN, without_system)).layout == "sharegpt"


def test_layouts_that_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"mixed\.jsonl: its layout cannot be told: .*xlam \(1 rows\).*--from"
    ):
        read_layout(write(tmp_path / "mixed.jsonl", XLAM, OPENAI))
    with pytest.raises(DataError, match=r"in no layout that is known .*its first row has 'instruction'"):
        read_layout(write(tmp_path / "alpaca.jsonl", {"instruction": "x"}))
    with pytest.raises(DataError, match=r"no row could be read; first problem: not JSON"):
        read_layout(write(tmp_path / "broken.jsonl", "{"))
    with pytest.raises(UsageError, match=r"unknown layout 'alpaca'; there are strop, "):
        read_layout(write(tmp_path / "x.jsonl", XLAM), "alpaca")
    with pytest.raises(DataError, match=r"x\.jsonl: no task could be read; first problem, at 1: 'messages'"):
        read_layout(tmp_path / "x.jsonl", "openai")


@pytest.mark.parametrize(
    "broken", [{"messages": None}, {"messages": "text"}, {"conversations": 3}, {"id": 1}, {}]
)
@pytest.mark.parametrize("layout", sorted(ROWS))
def test_one_broken_row_hides_no_layout(layout: str, broken: dict[str, Any], tmp_path: Path) -> None:
    for rows in ((broken, ROWS[layout]), (ROWS[layout], broken)):
        loaded = read_layout(write(tmp_path / "rows.jsonl", *rows))
        assert (loaded.layout, [bad.line for bad in loaded.bad]) == (layout, [rows.index(broken) + 1])


@given(st.lists(st.sampled_from([*ROWS.values(), {"messages": None, "calls": []}, {"conversations": []}])))
def test_a_layout_is_told_or_several_are_named(rows: list[dict[str, Any]]) -> None:
    told = told_or_why(rows)
    several = re.search(r"cannot be told: (.+ \(\d+ rows\)), (.+ \(\d+ rows\))", told)
    none = "no layout that is known" in told or "no row could be read" in told
    assert several or none or any(map(LAYOUTS[told].marked, rows))


def told_or_why(rows: list[dict[str, Any]]) -> str:
    try:
        return detect(Rows("x", "x", list(enumerate(rows)), [])).name
    except DataError as error:
        return str(error)


def test_a_json_file_may_be_one_object_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    path.write_text(json.dumps(OPENAI, indent=1))
    loaded = read_layout(path)
    assert (loaded.layout, [line for line, _ in loaded.tasks]) == ("openai", [1, 1])
    path.write_text(json.dumps({"version": 1, "data": [OPENAI, OPENAI]}, indent=1))
    with pytest.raises(DataError, match=r"first row has 'version', 'data' \(if 'data' holds the rows, make"):
        read_layout(path)


def test_packed_files_are_told_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(json.dumps(XLAM).encode()))
    with pytest.raises(
        DataError, match=r"rows\.jsonl\.gz: is packed: unpack it; \.json, \.jsonl, \.parquet files"
    ):
        read_layout(tmp_path / "rows.jsonl.gz")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with two configurations, as the hub has them."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = tmp_path / "set"
    place.mkdir()
    names = ("func_calling", "glaive.v2")
    listed = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in names)
    (place / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    for name in names:
        write(place / f"{name}.jsonl", {**XLAM, "query": name})
    return place


def test_a_data_set_of_several_configurations_is_read_by_naming_one(stand_in: Path) -> None:
    (row,) = from_hub(str(stand_in), "glaive.v2")
    assert row["query"] == "glaive.v2"
    names = rf"func_calling, glaive\.v2; name one, as {re.escape(str(stand_in))}:func_calling"
    with pytest.raises(DataError, match=f"has several configurations: {names}"):
        from_hub(str(stand_in), None)
    with pytest.raises(DataError, match=f"has no configuration 'glaive' but {names}"):
        from_hub(str(stand_in), "glaive")


def test_lists_and_lines_in_json_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([TOOLACE, "odd", TOOLACE], indent=1))
    loaded = read_layout(path)
    assert [(number, task.id) for number, task in loaded.tasks if "#1" in task.id] == [
        (1, "rows-1#1"), (3, "rows-3#1"),
    ]  # fmt: skip
    assert [(bad.line, bad.reason) for bad in loaded.bad] == [(2, "not a JSON object but str")]
    assert loaded.tasks[0][1].source == "rows.json (toolace)"
    assert read_layout(write(path, XLAM, {**XLAM, "id": 8})).layout == "xlam"
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_layout(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"none: cannot be read"):
        read_layout(tmp_path / "none")


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([APIGEN, {**APIGEN, "tools": "["}]), path)
    loaded = read_layout(path)
    origin = Origin("train-1", "train.parquet (apigen_mt)")
    assert [task for _, task in loaded.tasks] == LAYOUTS["apigen_mt"].read(APIGEN, origin)
    assert [bad.line for bad in loaded.bad] == [2]
    path.write_bytes(b"PAR0")
    with pytest.raises(DataError, match=r"train\.parquet: not Parquet that can be read"):
        read_layout(path)


# The commands.


def convert(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_convert_names_the_layout_and_every_bad_row(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", TOOLACE, {**TOOLACE, "conversations": []}, TOOLACE)
    out = tmp_path / "tasks.jsonl"
    output = convert(source, "--out", out)
    assert f"{source}:2: skipped: 'conversations' must be a list of turns" in output
    assert f"{source}: toolace (detected), tasks: 6, skipped rows: 1; {out}: strop, rows: 6" in output
    read_back = read_layout(out)
    assert read_back.layout == "strop"
    assert [task for _, task in read_back.tasks] == [task for _, task in read_layout(source).tasks]
    convert(source, "--out", tmp_path / "o.jsonl", "--to", "openai", "--from", "toolace")
    assert len(read_layout(tmp_path / "o.jsonl", "openai").tasks) == 6
    convert(source, "--out", tmp_path / "s.json", "--to", "sharegpt")
    assert isinstance(json.loads((tmp_path / "s.json").read_text()), list)


def test_convert_names_tasks_that_cannot_be_written(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", XLAM, {**XLAM, "id": "no", "answers": "[]"})
    output = convert(source, "--out", tmp_path / "o.jsonl", "--to", "openai")
    assert f"{source}:2: task 'no' not written: no calls and no response" in output
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1


def test_convert_writes_nothing_where_it_fails(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", {**XLAM, "answers": "[]"}), tmp_path / "o.jsonl"
    for words, error, says in (
        ((source, "--out", out, "--to", "openai"), DataError, "none of its 1 tasks"),
        ((source, "--out", out, "--to", "hermes"), UsageError, "--to wants strop, openai, sharegpt"),
        ((source, "--out", tmp_path / "o.csv"), UsageError, r"\.jsonl or \.json"),
        ((source, "--out", source), UsageError, "is the file that is read"),
        ((source, "--out", out, "--from", "openai"), DataError, "no task could be read"),
    ):
        result = CliRunner().invoke(app, ["convert", *map(str, words)])
        assert isinstance(result.exception, error)
        with pytest.raises(error, match=says):
            raise result.exception
    for command in ("regroup", "check"):
        result = CliRunner().invoke(app, [command, str(source), "--out", str(source)])
        assert isinstance(result.exception, UsageError)
        assert "is the file that is read" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert len(source.read_text().splitlines()) == 1


def test_demonstrations_may_be_of_any_layout(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", OPENAI, {**OPENAI, "tools": []})
    rows, bad = read_sft(path, Letters())
    assert [row.id for row in rows] == ["in-1#1", "in-1#2"]
    assert [one.line for one in bad] == [2]
    assert [task.id for task in demonstrated(path, tmp_path)] == ["in-1#1", "in-1#2"]


def test_commands_read_tasks_in_any_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.jsonl", XLAM, "{broken")
    (task,) = read_tasks_aloud(path)
    assert task.gold == gold(read(XLAM, "xlam")[0])
    assert "rows.jsonl:2: skipped" in capsys.readouterr().err


def test_a_broken_task_among_tasks_is_skipped_and_does_not_hide_the_layout(tmp_path: Path) -> None:
    broken = {key: value for key, value in STROP.items() if key != "calls"} | {"id": "broken"}
    loaded = read_layout(write(tmp_path / "tasks.jsonl", STROP, broken))
    assert loaded.layout == "strop"
    assert [(bad.line, "no calls" in bad.reason) for bad in loaded.bad] == [(2, True)]
