"""Comparing two runs task by task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strop.agent.cli.bench import app
from strop.agent.comparison import compare_runs, holm
from strop.tools.errors import DataError, UsageError

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}


def run(out: Path, verdicts: dict[str, bool], category: str = "simple") -> Path:
    out.mkdir(exist_ok=True)
    rows = [
        {"id": name, "category": category, "correct": right, "usage": USAGE, "elapsed": 1.0, "calls": []}
        for name, right in verdicts.items()
    ]
    with (out / "answers.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    whole = len((out / "answers.jsonl").read_text().splitlines())
    (out / "summary.json").write_text(json.dumps({"categories": {"all of it": {"total": whole}}}))
    return out


def pair(tmp_path: Path, before: str, after: str, category: str = "simple") -> tuple[Path, Path]:
    """Two runs from texts of + and -."""
    return (
        run(tmp_path / "a", {f"{category}{n}": mark == "+" for n, mark in enumerate(before)}, category),
        run(tmp_path / "b", {f"{category}{n}": mark == "+" for n, mark in enumerate(after)}, category),
    )


def test_a_regression_is_seen_and_its_flips_are_named(tmp_path: Path) -> None:
    report = compare_runs(*pair(tmp_path, "+" * 20, "+" * 12 + "-" * 8))
    assert report.regressed
    assert report.all.lost == tuple(f"simple{n}" for n in range(12, 20))
    assert report.lines[0].p_value == pytest.approx(2 / 2**8)
    assert report.verdict == "significantly worse: simple, all"


def test_what_chance_could_do_is_no_regression(tmp_path: Path) -> None:
    report = compare_runs(*pair(tmp_path, "+" * 16 + "----", "+" * 13 + "---" + "++--"))
    assert not report.regressed
    assert report.verdict == "no significant difference (2 gained, 3 lost)"


def test_one_category_may_fall_while_the_whole_stands(tmp_path: Path) -> None:
    pair(tmp_path, "+" * 10, "-" * 10, "single")
    report = compare_runs(*pair(tmp_path, "-" * 10, "+" * 10, "parallel"))
    assert report.all.difference == 0
    assert report.verdict == "significantly worse: single"


def test_answers_without_a_counterpart_are_said_to_be_left_out(tmp_path: Path) -> None:
    report = compare_runs(*pair(tmp_path, "+++++", "+++"))
    assert report.all.total == 3
    assert report.notes == [f"2 answers of {tmp_path / 'a'} have no counterpart and are left out"]
    (tmp_path / "a" / "settings.json").write_text('{"suite": "own", "sampling.temperature": 0.0}')
    (tmp_path / "b" / "settings.json").write_text('{"suite": "own", "sampling.temperature": 1.0}')
    assert "sampling.temperature differs: 0.0 and 1.0" in compare_runs(tmp_path / "a", tmp_path / "b").notes
    (tmp_path / "b" / "settings.json").write_text('{"suite": "other"}')
    with pytest.raises(UsageError, match=r"a run of own, .* one of other"):
        compare_runs(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "settings.json").unlink()
    with pytest.raises(UsageError, match="no task in common"):
        compare_runs(tmp_path / "a", run(tmp_path / "c", {"other": True}))
    with pytest.raises(DataError, match="no answers"):
        compare_runs(tmp_path / "a", tmp_path / "nowhere")


@pytest.mark.parametrize(("after", "code"), [("+" * 20, 0), ("-" * 20, 1)])
def test_the_exit_code_is_a_gate(tmp_path: Path, after: str, code: int) -> None:
    before, later = pair(tmp_path, "+" * 20, after)
    result = CliRunner().invoke(app, ["compare", str(before), str(later)])
    assert result.exit_code == code
    assert ("significantly worse" in result.output) == bool(code)


def test_a_run_that_cannot_be_compared_is_no_worse_one(tmp_path: Path) -> None:
    before, later = pair(tmp_path, "+" * 20, "-" * 20)
    with (later / "answers.jsonl").open("a") as file:
        file.write('{"id": "cut"}\n')
    for other in (later, tmp_path / "nowhere"):
        result = CliRunner().invoke(app, ["compare", str(before), str(other)])
        assert isinstance(result.exception, UsageError)  # which is exit code 2


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("settings.json", "[]"),
        ("summary.json", "{}"),
        ("summary.json", "[]"),
        ("summary.json", '{"categories": {"a": 1}}'),
    ],
)
def test_files_that_are_no_benchmarks_are_no_worse_run(file: str, text: str, tmp_path: Path) -> None:
    before, after = pair(tmp_path, "+" * 8, "-" * 8)
    (after / file).write_text(text)
    result = CliRunner().invoke(app, ["compare", str(before), str(after)])
    assert isinstance(result.exception, UsageError)
    assert file in str(result.exception)


def test_a_run_that_broke_off_is_not_compared(tmp_path: Path) -> None:
    before, after = pair(tmp_path, "+" * 8, "+" * 8)
    lines = (after / "answers.jsonl").read_text().splitlines(keepends=True)
    (after / "answers.jsonl").write_text("".join(lines[:2]))
    result = CliRunner().invoke(app, ["compare", str(before), str(after)])
    assert isinstance(result.exception, UsageError)
    assert f"{after} was broken off" in str(result.exception)
    (after / "summary.json").unlink()
    with pytest.raises(UsageError, match="broken off"):
        compare_runs(before, after)


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1), min_size=1))
def test_corrected_p_values_keep_their_order_and_never_shrink(p_values: dict[str, float]) -> None:
    corrected = holm(p_values)
    assert corrected.keys() == p_values.keys()
    assert all(p_values[name] <= corrected[name] <= 1 for name in p_values)
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert [corrected[name] for name in ordered] == sorted(corrected.values())


def test_holm_on_a_worked_example() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
