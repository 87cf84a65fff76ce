"""Copies planted among tasks are found, and tasks that only look alike are not."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strop.agent.cli.data import app
from strop.tools.contamination import NEAR, NGRAM, Copy, Hit, Index, jaccard
from strop.tools.files import write_jsonl
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task, tasks_to_rows
from tests.tools.native import bfcl

pytest.importorskip("datasketch", reason="datasketch is not installed: strop[data]")

WORDS = [
    f"{first}{second}" for first in "abcdefghijklmnop" for second in ("ra", "lo", "mi", "tu", "ne", "so")
]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(WORDS, k=length))


def task(name: str, question: str, about: str = "", answer: str = "") -> Task:
    tool = ToolSpec("f", about, {"type": "object", "properties": {}})
    calls = (ToolCall("f", {"text": answer}),) if answer else ()
    return Task(name, ({"role": "user", "content": question},), (tool,), Gold(calls))


def hits(benchmark: Sequence[Task], train: Sequence[Task]) -> list[Hit]:
    index = Index()
    index.add("suite", benchmark)
    return list(index.hits(train))


BENCHMARK = [
    task(f"b{n}", sentence(random.Random(n), 20), sentence(random.Random(-n), 30)) for n in range(1, 200)
]


def reworded(text: str, changes: int, rng: random.Random) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), changes):
        words[place] = "changed"
    return " ".join(words)


def question(of: Task) -> str:
    return str(of.messages[0]["content"])


def test_exact_copies_are_found_whatever_their_case_and_punctuation() -> None:
    copies = [
        task(f"t{n}", question(one).upper().replace(" ", ",  ") + "?") for n, one in enumerate(BENCHMARK)
    ]
    found = hits(BENCHMARK, copies)
    assert [hit.case for hit in found] == [one.id for one in BENCHMARK]
    assert {(hit.what, hit.copy, hit.similarity) for hit in found} == {("question", Copy.EXACT, 1.0)}


@pytest.mark.parametrize(
    "asked",
    [
        "请帮我查一下明天下午从上海到北京的火车票",
        "明日の午後に東京から大阪へ行く電車を調べてください",
        "내일 서울에서 부산으로 가는 기차표를 찾아 줘",
    ],
)
def test_questions_written_without_spaces_are_found(asked: str) -> None:
    benchmark = [task("b", asked), task("c", "帮我点两份牛肉面和一杯热豆浆送到公司")]
    (exact,) = hits(benchmark, [task("a", f"「{asked}。」")])
    assert (exact.case, exact.copy) == ("b", Copy.EXACT)
    (near,) = hits(benchmark, [task("a", f"{asked}谢谢")])
    assert (near.case, near.copy) == ("b", Copy.NEAR)
    assert not hits(benchmark, [task("a", "附近有没有评价好的川菜馆可以预订")])


@pytest.mark.parametrize(
    "written",
    [
        lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
        lambda text: "\u200b".join(text),
        lambda text: text.replace("a", "a\u00ad").replace(" ", " \u200e"),
        lambda text: unicodedata.normalize("NFD", text),
    ],
    ids=["full width", "zero width", "soft hyphens and marks of direction", "accents apart"],
)
def test_the_same_letters_in_another_form_are_a_copy(written: Callable[[str], str]) -> None:
    asked = "Où est le café « Zürich », près de l'hôtel ou de la gare ?"
    told = task("b", asked, about=asked, answer=asked)
    copy = task("t", written(asked), about=written(asked), answer=written(asked))
    found = hits([told], [copy])
    assert [(hit.what, hit.copy) for hit in found] == [
        ("question", Copy.EXACT), ("tool", Copy.EXACT), ("answer", Copy.EXACT),
    ]  # fmt: skip


def test_near_copies_are_found() -> None:
    rng = random.Random(0)
    copies = [task(f"t{n}", reworded(question(one), 1, rng)) for n, one in enumerate(BENCHMARK)]
    found = {hit.task: hit for hit in hits(BENCHMARK, copies) if hit.copy is Copy.NEAR}
    # One word in twenty leaves 15 to 17 of 18 triples: 0.71 and more.
    assert len(found) >= 0.99 * len(copies)
    assert all((hit.similarity or 0) >= NEAR["question"] for hit in found.values())


def test_a_long_run_within_another_question_is_found() -> None:
    one = question(BENCHMARK[3]).split()
    rng = random.Random("elsewhere")
    inside = f"{sentence(rng, 30)} {' '.join(one[2 : 2 + NGRAM])} {sentence(rng, 30)}"
    almost = f"{sentence(rng, 30)} {' '.join(one[2 : 1 + NGRAM])} {sentence(rng, 30)}"
    (hit,) = hits(BENCHMARK, [task("inside", inside), task("almost", almost)])
    assert (hit.task, hit.case, hit.copy) == ("inside", "b4", Copy.NGRAM)


def test_schemas_and_answers_are_looked_at_too() -> None:
    text = sentence(random.Random(5), 12)
    told = task("b", "What?", answer=text)
    (answer,) = hits([told], [task("t", "Something else entirely.", answer=text)])
    assert (answer.what, answer.copy) == ("answer", Copy.EXACT)
    one = BENCHMARK[7]
    about = one.tools[0].description
    (tool,) = hits(BENCHMARK, [task("t", "What?", about=reworded(about, 1, random.Random(2)))])
    assert (tool.what, tool.copy, tool.case) == ("tool", Copy.NEAR, one.id)
    assert hits(BENCHMARK, [task("t", "What?", about=reworded(about, 6, random.Random(2)))]) == []


def test_what_is_different_or_says_nothing_is_no_copy() -> None:
    fresh = [task(f"t{n}", sentence(random.Random(1000 + n), 20)) for n in range(300)]
    assert hits(BENCHMARK, fresh) == []
    assert hits([task("b", "What is the time?")], [task("t", "What is the time?")]) == []
    capitals = [task(name, f"What is the capital of {name}?") for name in ("Peru", "Chad")]
    assert hits(capitals[:1], capitals[1:]) == []


@given(st.lists(st.sampled_from(WORDS[:6]), max_size=20), st.lists(st.sampled_from(WORDS[:6]), max_size=20))
def test_similarity_is_symmetric_and_bounded(ours: list[str], theirs: list[str]) -> None:
    one, other = (frozenset(zip(w, w[1:], w[2:], strict=False)) for w in (ours, theirs))
    assert 0.0 <= jaccard(one, other) == jaccard(other, one) <= 1.0
    assert jaccard(one, one) == (1.0 if one else 0.0)


def test_the_command_names_copies_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    asked = "Please find me the cheapest hotel in the old town for two nights."
    entry = {
        "system": "1. Name: f\nDescription: d\nParameters: {}",
        "user": asked,
        "answer": {"name": "f", "parameters": {}},
    }
    for level in (1, 2, 3):
        (data / f"x_level{level}.json").write_text(__import__("json").dumps([entry]))
    train = tmp_path / "train.jsonl"
    write_jsonl(
        train, tasks_to_rows([task("t1", asked), task("t2", "Sing me a song about the sea and the sun.")])
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, ["check", "train.jsonl", "--against", "apibank=data", "--out", "hits.jsonl"]
    )
    assert result.exit_code == 1
    assert "t1: question, exact (1.00) of apibank level1_0" in result.output
    assert "1 of 2 tasks" in result.output
    assert "compared with apibank: 3 questions" in result.output
    # Without --against: what variables name, and what is not here is said.
    monkeypatch.setenv("STROP_BFCL_DATA", str(tmp_path / "nowhere"))
    result = CliRunner().invoke(app, ["check", "train.jsonl"])
    assert "nothing of bfcl to compare with" in str(result.exception)
    (tmp_path / "bfcl").mkdir()
    bfcl(tmp_path / "bfcl")
    monkeypatch.setenv("STROP_BFCL_DATA", "bfcl")
    result = CliRunner().invoke(app, ["check", "train.jsonl"])
    assert result.exit_code == 0
    assert "not compared with acebench: STROP_ACEBENCH_DATA names no directory" in result.output
    assert "not compared with bfcl multiple: " in result.output
    assert (tmp_path / "hits.jsonl").read_text().count("\n") == 1
