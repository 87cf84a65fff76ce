"""Copies of every benchmark are found in whatever form they come, and what was not looked at is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.tools.contamination import COMMON, Copy, Index
from strop.tools.corpus import data_here, read_corpus
from strop.tools.errors import DataError, MissingDataError, UsageError
from strop.tools.screening import Screening, Yardsticks
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suites import SUITES
from strop.tools.task import Gold, Message, Task
from tests.tools.native import ABOUT, ARGUMENTS, NAME, QUESTION, TOLD, WRITERS

pytest.importorskip("datasketch", reason="datasketch is not installed: strop[data]")

SHARED = Path(__file__).parents[3] / "shared" / "data"
ACEBENCH = SHARED / "acebench_sample"
CALL = ToolCall(NAME, ARGUMENTS)
PROPERTIES = {
    name: {"type": "integer" if name == "days" else "string", "description": told}
    for name, told in TOLD.items()
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": list(TOLD)}


def said(*texts: str) -> tuple[Message, ...]:
    return tuple({"role": "user", "content": text} for text in texts)


def question(name: str, *texts: str) -> Task:
    return Task(name, said(*texts), (), Gold(()))


PLANTED = (
    question("exact", QUESTION.upper().replace(" the ", " the,\n")),
    # A word in each half: of 26 triples 20 stay, 0.62 of 32.
    question("near", QUESTION.replace("green", "yellow").replace("June", "May")),
    question(
        "in a conversation",
        "Hello, who is it that I am talking to? I was told to ask for the one with the blue hat.",
        QUESTION,
        "Thank you, that is all, but for the two cousins of mine who want to know as well.",
    ),
    question(
        "inside", f"My aunt once said: {' '.join(QUESTION.split()[:13])}, and nobody knew what she meant."
    ),
    Task("tool", said("Hi."), (ToolSpec(NAME, ABOUT, SCHEMA),), Gold(())),
    Task("reworded tool", said("Hi."), (ToolSpec(NAME, ABOUT.replace("wind", "storm"), SCHEMA),), Gold(())),
    Task("answer", said("Hi."), (), Gold((CALL,))),
    question(
        "other", "Which of the two sailing boats in the harbour of Horn is for sale before the winter comes?"
    ),
    question("too far", " ".join(word if n % 4 else "so" for n, word in enumerate(QUESTION.split()))),
    Task("other answer", said("Hi."), (), Gold((ToolCall("sell_boat", {"boat": "Iris", "price": 900}),))),
)
FOUND = {
    ("exact", "question", Copy.EXACT),
    ("near", "question", Copy.NEAR),
    ("in a conversation", "question", Copy.EXACT),
    ("in a conversation", "question", Copy.NGRAM),  # all its turns together
    ("inside", "question", Copy.NGRAM),
    ("tool", "tool", Copy.EXACT),
    ("reworded tool", "tool", Copy.NEAR),
    ("answer", "answer", Copy.EXACT),
}


@pytest.fixture
def native(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    WRITERS[request.param](tmp_path)
    return tmp_path


def screened(name: str, data: Path) -> Screening:
    return Yardsticks.of([read_corpus(name, data)], {}).screen(PLANTED)


def test_every_suite_is_tested_here() -> None:
    assert WRITERS.keys() == SUITES.keys()


@pytest.mark.parametrize(("name", "native"), [(name, name) for name in SUITES], indirect=["native"])
def test_planted_copies_of_every_suite_are_found_and_nothing_else(name: str, native: Path) -> None:
    screening = screened(name, native)
    assert {(hit.task, hit.what, hit.copy) for hit in screening.hits} == FOUND
    assert {hit.suite for hit in screening.hits} == {name}
    assert (screening.tasks, screening.repeating) == (len(PLANTED), 7)
    (one,) = screening.compared.values()
    assert one.questions == 1
    assert len(one.version) == 16


@pytest.mark.parametrize(("name", "native"), [(name, name) for name in SUITES], indirect=["native"])
def test_what_is_missing_of_a_suite_is_left_out_by_name(name: str, native: Path) -> None:
    corpus = read_corpus(name, native)
    assert len(corpus.left_out) >= 1
    assert all("no such" in reason for reason in corpus.left_out.values())
    lines = list(Yardsticks.of([corpus], {"elsewhere": "far away"}).screen([]).unread())
    assert lines[0] == "elsewhere: far away"
    assert [line.split(":")[0] for line in lines[1:]] == [f"{name} {one}" for one in corpus.left_out]


@pytest.mark.parametrize("name", SUITES)
def test_a_directory_with_nothing_of_a_suite_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=f"nothing of {name} to compare with: .*no such"):
        read_corpus(name, tmp_path)


def test_what_is_there_must_be_whole(tmp_path: Path) -> None:
    WRITERS["sealtools"](tmp_path)
    (tmp_path / "test_in_domain.json").write_text('[{"id": "a", "conversations": []}]')
    with pytest.raises(DataError, match=r"test_in_domain\.json: row 0: no task of Seal-Tools"):
        read_corpus("sealtools", tmp_path)
    with pytest.raises(UsageError, match="no benchmark 'sealtool'; there are bfcl"):
        read_corpus("sealtool", tmp_path)


@pytest.mark.parametrize(
    ("name", "native"), [(name, name) for name in SUITES if name != "bfcl"], indirect=["native"]
)
def test_a_variable_names_a_suites_data(name: str, native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name not in data_here()
    monkeypatch.setenv(f"STROP_{name.upper()}_DATA", str(native))
    assert data_here()[name] == native
    assert read_corpus(name) == read_corpus(name, native)
    category = read_corpus(name).tasks[0].category
    assert len(SUITES[name].load([category], limit=None, data=None).cases) == 1


def test_a_benchmarks_form_is_none_of_its_questions() -> None:
    told = "Remember what was said above and answer by no more than one single call of a tool."
    cases = [
        question(f"b{n}", f"<user>What is the price of ship number {n} today?</user>\n<user>{told}</user>")
        for n in range(COMMON + 1)
    ]
    index = Index()
    index.add("suite", cases)
    mine = question("mine", f"<user>How deep is the lake near Romanshorn in May?</user>\n<user>{told}</user>")
    assert list(index.hits([mine, question("told", told)])) == []
    few = Index()
    few.add("suite", cases[:COMMON])
    assert {(hit.task, hit.copy) for hit in few.hits([mine])} == {("mine", Copy.EXACT), ("mine", Copy.NGRAM)}


def test_a_copy_of_two_benchmarks_counts_for_both() -> None:
    index = Index()
    for name in ("one", "other"):
        index.add(name, [question(f"of {name}", QUESTION)])
    assert [(hit.suite, hit.case) for hit in index.hits(PLANTED[:1])] == [
        ("one", "of one"), ("other", "of other"),
    ]  # fmt: skip


@pytest.mark.skipif(not ACEBENCH.is_dir(), reason="the sample of ACEBench's data is not here")
def test_all_of_acebenchs_sample_is_compared_its_agent_tasks_too() -> None:
    corpus = read_corpus("acebench", ACEBENCH)
    assert not corpus.left_out
    assert len(corpus.tasks) == 17 * 8
    assert {task.category for task in corpus.tasks} >= {"agent_multi_step", "agent_multi_turn"}
    found = Yardsticks.of([corpus], {}).screen(corpus.tasks)
    assert found.repeating == found.tasks


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample of API-Bank's data is not here")
def test_api_banks_sample_finds_itself_and_not_its_form() -> None:
    corpus = read_corpus("apibank", SHARED)
    found = Yardsticks.of([corpus], {}).screen(corpus.tasks)
    assert found.repeating == found.tasks == 40
    told = corpus.tasks[0].messages[0]["content"].rpartition("<user>")[2]
    assert not Yardsticks.of([corpus], {}).screen([question("told", f"Now then, {told}")]).hits
