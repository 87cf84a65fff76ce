"""The report page: honest, whole without the network, and safe whatever a model wrote."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import UsageError
from strop.tools.files import read_json, read_jsonl, write_json, write_jsonl
from strop.tools.share import Share, wilson
from strop.training.charts import accuracy_chart, curve
from strop.training.config import RoundConfig, TasksTable
from strop.training.report import heat_rows, pick_examples, render_report, to_toml
from strop.training.run_view import BenchView, ScoreLine, read_run, score_lines
from tests.training.fake_run import STAGES, build_run

UP = {"parallel": 0.5, "parallel_multiple": 0.5, "irrelevance": 0.4}
DOWN = {"simple": -0.4, "multiple": -0.4}


class Page(HTMLParser):
    """Tags still open at the end, every address the page refers to, and all text outside the style sheet."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_startendtag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def page_of(run: Path) -> Page:
    return Page(render_report(run).read_text(encoding="utf-8"))


def test_a_finished_run_is_shown_in_full(tmp_path: Path) -> None:
    page = page_of(build_run(tmp_path / "run", change=UP))
    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.tags
    for part in (
        "Benchmark accuracy rose from",
        "Accepted",
        "Held-out tasks",
        "Deficiencies",
        "Preference pairs",
    ):
        assert part in page.text
    for part in ("Reward margin", "1.collect", "torch", "learning_rate = 2e-05", "strop round run.toml"):
        assert part in page.text
    assert page.text.count("Chosen: correct") == 8


def test_a_fall_is_said_to_be_one(tmp_path: Path) -> None:
    page = page_of(build_run(tmp_path / "run", change=DOWN))
    assert "Benchmark accuracy fell from" in page.text
    assert "Refused" in page.text
    assert "the one before it stays in place" in page.text
    assert "Tasks that turned wrong" in page.text


def test_a_difference_that_chance_makes_is_said_to_be_one(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", change={"simple": 0.05}, asked=20)
    html = render_report(run).read_text(encoding="utf-8")
    assert "Chance alone could have made a difference of this size." in html
    assert '<h1 class="up">' not in html


def test_no_change_is_no_change(tmp_path: Path) -> None:
    assert "stayed the same, from" in page_of(build_run(tmp_path / "run")).text


@pytest.mark.parametrize("until", STAGES)
def test_an_unfinished_run_says_what_is_missing(tmp_path: Path, until: str) -> None:
    page = page_of(build_run(tmp_path / "run", until=until, decided=False))
    assert page.open == []
    if until == "1.after":
        assert "Not decided yet" in page.text
    else:
        assert "Not finished" in page.text
        assert until in page.text


def test_an_empty_directory_gives_a_page_that_says_so(tmp_path: Path) -> None:
    assert "Nothing has been run in this directory yet." in page_of(tmp_path).text


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        render_report(tmp_path / "nowhere")


def test_every_single_file_may_be_missing(tmp_path: Path) -> None:
    whole = build_run(tmp_path / "whole", change=UP, asked=8)
    for number, file in enumerate(sorted(path for path in whole.rglob("*") if path.is_file())):
        copy = tmp_path / str(number)
        shutil.copytree(whole, copy)
        (copy / file.relative_to(whole)).unlink()
        assert page_of(copy).open == []


def test_broken_files_are_named(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", change=UP)
    (run / "versions.json").write_text("{")
    with (run / "rounds/1/collect/pairs.jsonl").open("a") as file:
        file.write('{"id": "cut of')
    page = page_of(run)
    assert "versions.json:1: not JSON" in page.text
    assert "pairs.jsonl:" in page.text
    assert "Preference pairs" in page.text


def test_a_failed_stage_is_named_with_its_reason(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", until="1.collect")
    events = [row for _, row in read_jsonl(run / "events.jsonl")[0]]
    events.append({"time": 1.0, "event": "stage_start", "stage": "1.train"})
    events.append({"time": 2.0, "event": "stage_failed", "stage": "1.train", "reason": "the disk is full"})
    write_jsonl(run / "events.jsonl", events)
    assert "Stage 1.train failed: the disk is full" in page_of(run).text


def test_model_text_is_never_markup(tmp_path: Path) -> None:
    evil = "</pre><script>alert(1)</script><img src=http://example.org/x>"
    run = build_run(tmp_path / "run", change=DOWN)
    for path in [*run.rglob("*.jsonl"), *run.rglob("*.json")]:
        if path.name in ("pairs.jsonl", "answers.jsonl", "train.jsonl", "held_out.jsonl"):
            rows = [row for _, row in read_jsonl(path)[0]]
            for row in rows:
                row |= {key: evil for key in ("chosen_text", "rejected_text", "text", "detail") if key in row}
                if "messages" in row:
                    row["messages"] = [{"role": "user", "content": evil}]
            write_jsonl(path, rows)
    write_json(run / "serve.json", {"reply": evil})
    write_json(run / "versions.json", {"torch": evil})
    write_json(run / "rounds/1/decision.json", {"accepted": False, "reason": evil})
    page = page_of(run)
    assert {"script", "img"} & page.tags == set()
    assert page.addresses == []
    assert evil in page.text


def test_long_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", change=UP)
    path = run / "rounds/1/collect/pairs.jsonl"
    rows = [row | {"chosen_text": "x" * 5000} for _, row in read_jsonl(path)[0]]
    write_jsonl(path, rows)
    assert "(3800 more characters)" in page_of(run).text


def test_benchmark_questions_come_from_the_installed_data(tmp_path: Path) -> None:
    """Where they cannot be had, the page says so and is written all the same."""
    run = build_run(tmp_path / "run", change=DOWN, suite="bfcl")
    assert "Berkeley Function Calling Leaderboard" in page_of(run).text


def test_an_accepted_round_outranks_a_refused_one_after_it(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", change=UP)
    worse = build_run(tmp_path / "worse", change=DOWN)
    shutil.copytree(worse / "rounds/1", run / "rounds/2")
    write_json(run / "config.json", {**read_json(run / "config.json"), "rounds": 2})
    page = page_of(run)
    assert "Benchmark accuracy rose" in page.text
    assert page.text.index("Round 1") < page.text.index("Round 2")


def test_rounds_that_the_configuration_does_not_ask_for_are_not_shown(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", change=UP)
    for number in (0, 2):
        shutil.copytree(run / "rounds/1", run / f"rounds/{number}")
    config = read_json(run / "config.json")

    def shown(**changes: object) -> list[int]:
        write_json(run / "config.json", config | changes)
        return [one.number for one in read_run(run).rounds]

    assert shown(warmup=None, rounds=1) == [1]
    assert shown(warmup=None, rounds=2) == [1, 2]
    assert shown(warmup={"families": 2}, rounds=1) == [0, 1]
    (run / "config.json").write_text("{")
    assert [one.number for one in read_run(run).rounds] == [0, 1, 2]  # nobody knows which were asked for
    (run / "rounds/0/decision.json").unlink()
    assert shown(warmup={"families": 2}, rounds=1) == [0]  # whatever comes after it begins anew


def test_the_configuration_shown_is_the_configuration_run() -> None:
    config = RoundConfig(tasks=TasksTable(synthesise=200), adapter=Path("some/adapter"))
    again = RoundConfig.model_validate(tomllib.loads(to_toml(config.model_dump(mode="json"))))
    assert again == config


NAMES = st.text("abcxyz_", min_size=1)
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


@given(
    st.dictionaries(
        NAMES, st.one_of(VALUES, st.lists(st.integers()), st.dictionaries(NAMES, VALUES)), max_size=5
    )
)
def test_toml_says_what_the_table_says(table: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_scores_come_from_answers_and_else_from_the_summary() -> None:
    answers = ({"id": "a", "category": "x", "correct": True}, {"id": "b", "category": "y", "correct": False})
    partial = BenchView({}, answers)
    finished = BenchView({"categories": {"x": {"correct": 1, "total": 4}}}, ())
    lines = score_lines(partial, finished)
    assert [line.name for line in lines] == ["x", "y", "all"]
    assert lines[0].before == Share(1, 1)
    assert lines[0].after == Share(1, 4)
    assert lines[1].after is None
    assert all(line.paired is None for line in lines)


def test_flips_are_paired_by_task(tmp_path: Path) -> None:
    view = read_run(build_run(tmp_path / "run", change=DOWN))
    line = score_lines(view.rounds[0].before, view.rounds[0].after)[-1]
    assert line.paired is not None
    assert line.after is not None
    assert line.before is not None
    gained, lost = len(line.paired.gained), len(line.paired.lost)
    assert line.after.correct - line.before.correct == gained - lost


def test_examples_are_spread_over_categories_and_errors() -> None:
    pairs = [
        {"id": at, "category": category, "evidence": {"rejected_verdict": error}}
        for category, error, many in (("a", "x", 50), ("a", "y", 2), ("b", "x", 1))
        for at in range(many)
    ]
    chosen = pick_examples(pairs, 8)
    assert len(chosen) == 8
    assert [pair["category"] for pair in chosen[:3]] == ["a", "a", "b"]
    assert pick_examples([], 8) == []


def test_heat_counts_samples_by_category() -> None:
    rows = heat_rows(
        [
            {"category": "a", "samples": 4, "passes": 1, "errors": {"wrong_value": 3}, "selection": "band"},
            {"category": "a", "samples": 4, "passes": 4, "errors": {}, "selection": "solved"},
            {"category": "", "samples": 0, "passes": 0, "errors": {}, "selection": "no_room"},
        ]
    )
    assert [(row.category, row.tasks, row.searched, row.passes) for row in rows] == [
        ("a", 2, 1, 5),
        ("uncategorised", 1, 0, 0),
    ]
    assert rows[0].heat("wrong_value") == 38
    assert rows[1].heat("wrong_value") == 0


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_chart_draws_the_interval(correct: int, wrong: int) -> None:
    share = Share(correct, correct + wrong)
    svg = str(accuracy_chart([ScoreLine("<x>", share, None, None)]))
    low, high = (round(170 + end * (960 - 170 - 76), 1) for end in wilson(correct, correct + wrong))
    assert f"M{low} " in svg
    assert f"H{high}" in svg
    assert "&lt;x&gt;" in svg


def test_a_curve_needs_two_numbers() -> None:
    assert curve([{"step": 1, "loss": 0.5}], "loss", "Loss") == ""
    broken = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 0.5}]
    drawn = str(curve(broken, "loss", "Loss"))
    match = re.search(r'points="([^"]*)"', drawn)
    assert match is not None
    assert len(match[1].split()) == 2
    assert "nan" not in json.dumps(drawn)
