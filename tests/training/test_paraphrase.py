"""Paraphrases: what no longer asks for the same is refused, each for its own reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.chat import Ids
from strop.agent.engines.scripted import Entry, ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.tools.errors import DataError, EngineError, UsageError
from strop.tools.task import Task, read_tasks
from strop.training.paraphrase import (
    Fate,
    ParaphraseConfig,
    Rewriting,
    paraphrase,
    problem_with,
    question_of,
    reworded,
)
from strop.training.rewritings import paraphrases_of, require_place, write_paraphrases
from strop.training.synth import ALL_CATEGORIES, synthesise
from tests.refine.worlds import call, fenced, task

PARIS = call("get_weather", city="Paris", days=3)
QUESTION = "Weather in Paris for 3 days?"
GOOD = "What will it be like in Paris over the coming three days?"
TASK = task(QUESTION, PARIS, task_id="paris", category="simple")
JOKE = task("Tell me a joke, please.", task_id="joke", category="irrelevance", response="No.")
FUNNY = "I would love to hear something funny."
ONE = ParaphraseConfig(rewritings=1, samples=1)


class World:
    """A policy that writes `rewritings`, answers as told, and says yes or no."""

    def __init__(self, rewritings: Sequence[str], answers: dict[str, Entry], agrees: str = "No."):
        self.compared = 0
        self._rewritings, self._answers, self._agrees = list(rewritings), answers, agrees
        self.engine = ScriptedEngine(self._say)
        self.policy = Policy(self.engine, ScriptedTemplate(), name="p")

    def _say(self, prompt: Ids) -> Entry | None:
        turn = last_turn(prompt)
        if turn.startswith("Put the request below"):
            return self._rewritings
        if turn.startswith("Here are two requests."):
            self.compared += 1
            return self._agrees
        return self._answers.get(turn)


async def fate_of(text: str, answers: dict[str, Entry], agrees: str = "No.", of: Task = TASK) -> Fate:
    (one,) = await paraphrase(of, World([text], answers, agrees).policy, ONE)
    return one.fate


async def test_a_rewriting_that_is_answered_rightly_is_kept() -> None:
    world = World([GOOD], {GOOD: fenced(PARIS)})
    assert await paraphrase(TASK, world.policy, ONE) == (Rewriting(GOOD, Fate.ANSWERED),)
    assert world.compared == 0
    assert len(world.engine.requests) == 2


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("Weather in Paris for 3 days", Fate.COPY),
        ("weather  in PARIS for 3 days?", Fate.COPY),
        ("How will the weather in Rome be in the coming 3 days?", Fate.VALUE_LOST),
        ("How will the weather in Paris be in the coming days?", Fate.VALUE_LOST),
        ("At 12 noon, how will it be in Paris for 3 days?", Fate.NUMBER_ADDED),
        (fenced(PARIS), Fate.NO_TEXT),
        ("", Fate.NO_TEXT),
    ],
)
async def test_what_can_be_seen_is_refused_without_asking(text: str, fate: Fate) -> None:
    assert await fate_of(text, {}) == fate


async def test_quotation_marks_around_all_of_it_are_dropped() -> None:
    (one,) = await paraphrase(TASK, World([f'"{GOOD}"'], {GOOD: fenced(PARIS)}).policy, ONE)
    assert one.text == GOOD


async def test_one_right_answer_of_several_is_enough() -> None:
    config = ParaphraseConfig(rewritings=1, samples=16)
    (one,) = await paraphrase(TASK, World([GOOD], {GOOD: [fenced(PARIS), "I cannot."]}).policy, config)
    assert one.fate == Fate.ANSWERED


async def test_a_policy_that_answers_the_question_must_answer_the_rewriting() -> None:
    answers: dict[str, Entry] = {GOOD: "I cannot.", QUESTION: fenced(PARIS)}
    assert await fate_of(GOOD, answers, "Yes.") == Fate.OTHERWISE


@pytest.mark.parametrize(("agrees", "fate"), [("Yes.", Fate.AGREED), ("No.", Fate.NOT_SAME)])
async def test_of_a_task_that_is_never_solved_the_policys_word_counts(agrees: str, fate: Fate) -> None:
    assert await fate_of(GOOD, {GOOD: "I cannot.", QUESTION: "I cannot."}, agrees) == fate


async def test_of_a_task_that_is_never_solved_every_value_must_be_found() -> None:
    unsaid = task("Weather in the capital of France for 3 days?", PARIS, task_id="capital")
    text = "In the capital of France, what are the next 3 days going to be like?"
    answers: dict[str, Entry] = {text: "I cannot.", question_of(unsaid): "I cannot."}
    assert await fate_of(text, answers, "Yes.", unsaid) == Fate.UNCHECKED
    assert await fate_of(text, {text: fenced(PARIS)}, of=unsaid) == Fate.ANSWERED


@pytest.mark.parametrize(
    ("answer", "agrees", "fate"),
    [
        ("No.", "Yes.", Fate.AGREED),
        ("No.", "No.", Fate.NOT_SAME),
        (fenced(PARIS), "Yes.", Fate.OTHERWISE),
    ],
)
async def test_where_prose_is_right_both_checks_are_wanted(answer: str, agrees: str, fate: Fate) -> None:
    assert await fate_of(FUNNY, {FUNNY: answer, question_of(JOKE): "No."}, agrees, JOKE) == fate


async def test_a_second_rewriting_must_differ_from_the_first() -> None:
    world = World([GOOD], {GOOD: fenced(PARIS)})
    done = await paraphrase(TASK, world.policy, ParaphraseConfig(rewritings=3, samples=1))
    assert [one.fate for one in done] == [Fate.ANSWERED, Fate.COPY, Fate.COPY]


async def test_a_task_without_room_is_counted() -> None:
    engine = ScriptedEngine({}, context_length=16)
    (one,) = await paraphrase(TASK, Policy(engine, ScriptedTemplate()), ONE)
    assert one.fate == Fate.NO_ROOM


async def test_a_task_that_asks_nothing_last_is_named_and_counted_and_stops_no_other(tmp_path: Path) -> None:
    result = {"role": "tool", "content": "2"}
    ended = Task("ended", (*TASK.messages, result), TASK.tools, TASK.gold)
    silent = Task("silent", ({"role": "user", "content": None},), TASK.tools, TASK.gold)
    world, out = World([GOOD], {GOOD: fenced(PARIS)}), tmp_path / "more.jsonl"
    fates = await write_paraphrases([ended, TASK, silent], world.policy, ONE, out, 1)
    assert fates == {Fate.NO_QUESTION: 2, Fate.ANSWERED: 1}
    assert len(world.engine.requests) == 2
    assert [one.id for one in read_tasks(out)[0]] == ["paris~1"]
    rows = [json.loads(line) for line in out.with_suffix(".rewritings.jsonl").read_text().splitlines()]
    named = [row["id"] for row in rows if row["rewritings"][0]["fate"] == "no question"]
    assert sorted(named) == ["ended", "silent"]


@given(st.sampled_from(synthesise(70, 1, ALL_CATEGORIES)))
def test_a_question_is_a_copy_of_itself_and_only_the_last_turn_is_reworded(asked: Task) -> None:
    assert problem_with(asked, question_of(asked), ()) == Fate.COPY
    new = reworded(asked, "Otherwise.")
    assert new.messages[:-1] == asked.messages[:-1]
    assert (question_of(new), new.tools, new.gold) == ("Otherwise.", asked.tools, asked.gold)


async def test_a_file_holds_what_was_kept_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    out = tmp_path / "more.jsonl"
    world = World([GOOD, "Weather!"], {GOOD: fenced(PARIS)})
    fates = await write_paraphrases([TASK], world.policy, ParaphraseConfig(8, 1), out, 2)
    assert fates[Fate.ANSWERED] == 1
    assert fates.total() == 8
    (kept,), bad = read_tasks(out)
    assert not bad
    assert (kept.id, kept.category, question_of(kept)) == ("paris~1", "simple", GOOD)
    assert kept.source.endswith("paraphrased by p")
    asked, before = len(world.engine.requests), out.read_bytes()
    assert await write_paraphrases([TASK], world.policy, ParaphraseConfig(8, 1), out, 2) == fates
    assert (len(world.engine.requests), out.read_bytes()) == (asked, before)
    await write_paraphrases([TASK], world.policy, ParaphraseConfig(8, 2), out, 2)
    assert len(world.engine.requests) > asked


async def test_a_run_that_broke_off_goes_on_and_writes_nothing_half(tmp_path: Path) -> None:
    out = tmp_path / "more.jsonl"
    broken = World([GOOD], {GOOD: EngineError("gone")})
    tasks = [JOKE, TASK]
    with pytest.raises(EngineError):
        await write_paraphrases(tasks, broken.policy, ONE, out, 1)
    assert not out.exists()
    again = World([GOOD], {GOOD: fenced(PARIS), question_of(JOKE): "No."})
    await write_paraphrases(tasks, again.policy, ONE, out, 1)
    rows = [json.loads(line) for line in (tmp_path / "more.rewritings.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["joke", "paris"]


async def test_a_broken_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "more.rewritings.jsonl").write_text("nonsense\n")
    with pytest.raises(DataError, match="delete the line"):
        await write_paraphrases([TASK], World([GOOD], {}).policy, ONE, tmp_path / "more.jsonl", 1)


def test_what_two_tasks_share_is_written_once() -> None:
    found = {"paris": [Rewriting(GOOD, Fate.ANSWERED)], "again": [Rewriting(GOOD, Fate.AGREED)]}
    twin = task("Paris for 3 days: how will it be?", PARIS, task_id="again")
    assert [one.id for one in paraphrases_of([TASK, twin], found, "p")] == ["paris~1"]


def test_the_place_must_be_another_file_of_lines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.jsonl file"):
        require_place(tmp_path / "a.json", tmp_path / "b.jsonl")
    with pytest.raises(UsageError, match="itself"):
        require_place(tmp_path / "a.jsonl", tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "wrong", [{"rewritings": 0}, {"samples": 0}, {"temperature": 0.0}, {"max_tokens": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ParaphraseConfig(**wrong)
