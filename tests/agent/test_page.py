"""A benchmark's page: whole, and safe whatever models write."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from strop.agent.answer import Usage
from strop.agent.failure import MOST_FAILURES, failures_of
from strop.agent.page import write_page
from strop.agent.summary import Summary, by_category
from strop.tools.case import JudgedCase
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Overall
from strop.tools.task import Gold, Task

NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


def row(number: int, category: str, correct: bool, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{category}_{number}", "category": category, "correct": correct, "sample": 0,
        "error": None if correct else "wrong_value", "detail": "" if correct else NASTY,
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1},
        "seconds": 0.5, "elapsed": 1.0,
        "calls": [{"name": "f", "arguments": {"x": NASTY}}], "text": NASTY, "repairs": [], **more,
    }  # fmt: skip


def case(number: int, category: str) -> JudgedCase:
    tool = ToolSpec("f", NASTY, {"type": "object", "properties": {"x": {"type": "string"}}})
    gold = Gold((ToolCall("f", {"x": "right"}),))
    return JudgedCase(
        Task(f"{category}_{number}", ({"role": "user", "content": NASTY},), (tool,), gold, category)
    )


class Scripts(HTMLParser):
    """Every script of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.handlers: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts.append(data)
            self._inside = False


def page_of(tmp_path: Path, rows: list[dict[str, Any]], cases: list[JudgedCase]) -> str:
    summary = Summary(
        "own", NASTY, "off", by_category(rows), Usage(3, 2, 1), 2.0, [Overall("own overall", 0.5, ("more",))]
    )
    write_page(tmp_path / "page.html", summary, failures_of(rows, cases))
    return (tmp_path / "page.html").read_text()


def test_what_models_write_never_becomes_markup(tmp_path: Path) -> None:
    page = page_of(tmp_path, [row(0, "simple", False), row(1, "simple", True)], [case(0, "simple")])
    scripts = Scripts(page)
    assert len(scripts.texts) == 3
    assert scripts.handlers == []
    assert NASTY not in page
    (failure,) = json.loads(scripts.texts[0])
    assert failure["detail"] == failure["said"] == NASTY
    assert failure["asked"] == [[{"role": "user", "text": NASTY}]]
    assert failure["gold"] == ['f(x="right")']
    (tool,) = json.loads(scripts.texts[1]).values()
    assert tool["about"] == NASTY
    assert not re.search(r"(?:src|href)=[\"']?http", page)


def test_a_tool_on_offer_in_many_tasks_is_there_once(tmp_path: Path) -> None:
    rows = [row(number, "simple", False) for number in range(3)]
    scripts = Scripts(page_of(tmp_path, rows, [case(number, "simple") for number in range(3)]))
    failures, tools = map(json.loads, scripts.texts[:2])
    assert [tool["name"] for tool in tools.values()] == ["f"]
    assert [failure["tools"] for failure in failures] == [list(tools)] * 3


def test_the_numbers_are_there(tmp_path: Path) -> None:
    rows = [row(n, "simple", n < 3) for n in range(4)] + [row(0, "multiple", False)]
    page = page_of(tmp_path, rows, [])
    assert "3 of 5 right" in page
    assert "75.0 %" in page
    assert "partial" in page
    assert "wrong value" in page


def test_a_page_of_many_failures_shows_some_of_every_category(tmp_path: Path) -> None:
    rows = [row(n, "large", False) for n in range(MOST_FAILURES + 50)] + [
        row(n, "small", False) for n in range(9)
    ]
    failures = json.loads(Scripts(page_of(tmp_path, rows, [])).texts[0])
    assert len(failures) == MOST_FAILURES
    assert sum(failure["category"] == "small" for failure in failures) == 9


def test_episodes_are_shown_turn_by_turn(tmp_path: Path) -> None:
    step = {"calls": [{"name": "f", "arguments": {}}], "content": None, "text": "f()", "results": ["done"]}
    played = row(0, "multi", False, turns=[[step], []])
    del played["calls"], played["text"]
    (failure,) = json.loads(Scripts(page_of(tmp_path, [played], [])).texts[0])
    assert failure["turns"] == [[{"calls": ["f()"], "said": "f()", "results": ["done"]}], []]


def test_a_page_has_every_number_of_samples_that_a_category_has(tmp_path: Path) -> None:
    rows = [row(0, "few", True, sample=n) for n in range(2)] + [
        row(0, "many", True, sample=n) for n in range(4)
    ]
    page = page_of(tmp_path, rows, [])
    assert [f"pass@{k}" in page for k in (1, 2, 4)] == [False, True, True]


def test_arguments_nested_too_deep_are_said_to_be(tmp_path: Path) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    wrong = row(0, "simple", False, calls=[{"name": "f", "arguments": deep}])
    (failure,) = json.loads(Scripts(page_of(tmp_path, [wrong], [])).texts[0])
    assert failure["calls"] == ["f(arguments nested too deep to be shown)"]
