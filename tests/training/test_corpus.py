"""What samples teach is asked the way the refiner asks it, id for id, and in the stated shares."""

from __future__ import annotations

import asyncio

import pytest

from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.engines.scripted_model import STOP_ID
from strop.agent.policy import Policy, read_draft
from strop.refine.deficiency import diagnose
from strop.refine.refiner import Refiner, Stopping
from strop.refine.sample import Sample, sample_of
from strop.refine.store import Diagnosis
from strop.tools.errors import UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.corpus import CorpusConfig, Stop, accepted_rows, corpus
from tests.refine.worlds import PARIS, ROME, SIMPLE, fenced

TEMPLATE = ScriptedTemplate()
STOP = Stop(STOP_ID)
GOLD = Gold((ToolCall.from_json(PARIS),))
RIGHT, WRONG = fenced(PARIS), fenced(ROME)
BROKEN = '```json\n{"name": "get_weather", "arguments": {"city": \n```'
TASK = Task("t", SIMPLE.messages, SIMPLE.tools, GOLD)


def sample(text: str, task: Task = TASK, reason: FinishReason = FinishReason.STOP) -> Sample:
    ids = TEMPLATE.answer_ids(text) if reason is FinishReason.STOP else TEMPLATE.encode(text)
    prompt = TEMPLATE.prompt_ids(task.messages, task.tools)
    return sample_of(task, read_draft(TEMPLATE, prompt, Completion(ids, reason), task.tools))


def diagnosed(*texts: str, task: Task = TASK) -> dict[str, Diagnosis]:
    samples = tuple(sample(text, task) for text in texts)
    return {task.id: Diagnosis(diagnose(task, samples), samples)}


async def second_prompt(draft: str) -> tuple[int, ...]:
    return await second_prompt_of(TASK, draft)


async def second_prompt_of(task: Task, draft: str) -> tuple[int, ...]:
    """What the refiner asks after this draft."""
    lines = [draft, "DONE"]
    engine = ScriptedEngine(lambda _: lines.pop(0))
    refiner = Refiner(Policy(engine, TEMPLATE), stopping=Stopping(token_id=STOP_ID))
    await refiner.answer(task, Sampling(max_tokens=500))
    return tuple(engine.requests[1].prompt_ids)


@pytest.mark.parametrize("draft", [RIGHT, WRONG, BROKEN], ids=["right", "wrong", "unreadable"])
def test_a_check_is_trained_with_the_prompt_that_the_refiner_asks(draft: str) -> None:
    config = CorpusConfig(accepted=0, right_share=0.9)
    rows = corpus([TASK], diagnosed(draft, WRONG), TEMPLATE, STOP, config)
    assert asyncio.run(second_prompt(draft)) in {row.prompt_ids for row in rows}


def test_a_right_draft_is_left_with_the_stop_token_and_a_wrong_one_is_mended_with_the_gold() -> None:
    rows = corpus([TASK], diagnosed(RIGHT, WRONG), TEMPLATE, STOP, CorpusConfig(accepted=0))
    assert sorted(row.answer_ids for row in rows) == sorted([(STOP_ID,), TEMPLATE.answer_ids(RIGHT)])


def test_where_no_token_can_be_taught_the_text_is() -> None:
    rows = corpus([TASK], diagnosed(RIGHT, WRONG), TEMPLATE, Stop(None, "FINE"), CorpusConfig(accepted=0))
    assert TEMPLATE.answer_ids("FINE") in {row.answer_ids for row in rows}


def test_right_answers_are_learned_as_they_were_sampled_and_each_once() -> None:
    loose = f"Here it is:\n{RIGHT}"
    samples = [sample(text) for text in (loose, WRONG, RIGHT, RIGHT)]
    rows = accepted_rows(TASK, samples, TEMPLATE, 3)
    assert [row.answer_ids for row in rows] == [samples[0].ids]
    assert rows[0].prompt_ids == TEMPLATE.prompt_ids(TASK.messages, TASK.tools)
    assert accepted_rows(TASK, samples, TEMPLATE, 0) == []


def test_the_best_spelling_of_an_answer_is_learned() -> None:
    samples = [sample(text) for text in (RIGHT.replace('"', "'"), RIGHT)]
    assert [one.outcome.verdict.correct for one in samples] == [True, True]
    assert [row.answer_ids for row in accepted_rows(TASK, samples, TEMPLATE, 1)] == [samples[1].ids]


def test_an_answer_of_hardly_a_word_is_not_learned_for_making_no_call() -> None:
    refuses = "None of the tools can do that."
    irrelevant = Task("i", SIMPLE.messages, SIMPLE.tools, Gold((), refuses), "irrelevance")
    known = diagnosed("", refuses, "x", f"<think>\n{refuses}\n</think>\nNo.", task=irrelevant) | diagnosed(
        WRONG
    )
    rows = corpus([irrelevant, TASK], known, TEMPLATE, STOP, CorpusConfig())
    taught = {row.id: row for row in rows}
    assert taught["i/accepted/0"].answer_ids == TEMPLATE.answer_ids(refuses)
    prompts = {asyncio.run(second_prompt_of(irrelevant, text)) for text in ("", "x")}
    assert prompts.isdisjoint(row.prompt_ids for row in rows)


@pytest.mark.parametrize(("share", "kept"), [(0.5, 3), (0.39, 1), (0.25, 1), (0.2, 0), (0.0, 0)])
def test_drafts_that_stand_are_at_most_the_stated_share(share: float, kept: int) -> None:
    tasks = [Task(f"right-{n}", TASK.messages, TASK.tools, TASK.gold) for n in range(8)]
    wrong = [Task(f"wrong-{n}", TASK.messages, TASK.tools, TASK.gold) for n in range(3)]
    known: dict[str, Diagnosis] = {}
    for task in tasks:
        known |= diagnosed(RIGHT, task=task)
    for task in wrong:
        known |= diagnosed(WRONG, task=task)
    config = CorpusConfig(accepted=0, right_share=share)
    rows = corpus([*tasks, *wrong], known, TEMPLATE, STOP, config)
    assert sum(row.answer_ids == (STOP_ID,) for row in rows) == kept
    assert len(rows) == kept + 3
    assert rows == corpus([*tasks, *wrong], known, TEMPLATE, STOP, config)


def test_where_no_draft_stands_none_takes_a_wrong_ones_place() -> None:
    rows = corpus(
        [TASK], diagnosed(RIGHT, WRONG), TEMPLATE, STOP, CorpusConfig(accepted=0, drafts=1, right_share=0)
    )
    assert [row.answer_ids for row in rows] == [TEMPLATE.answer_ids(RIGHT)]


def test_a_draft_with_a_problem_is_never_one_to_leave() -> None:
    """A cut-off answer is mended, though its text be the gold's."""
    cut = sample(RIGHT, reason=FinishReason.LENGTH)
    known = {TASK.id: Diagnosis(diagnose(TASK, (cut,)), (cut,))}
    [row] = corpus([TASK], known, TEMPLATE, STOP, CorpusConfig())
    assert row.answer_ids == TEMPLATE.answer_ids(RIGHT)


@pytest.mark.parametrize(
    "task",
    [Task("t", SIMPLE.messages, SIMPLE.tools), Task("unsampled", SIMPLE.messages, SIMPLE.tools, TASK.gold)],
)
def test_what_has_no_gold_or_no_samples_teaches_nothing(task: Task) -> None:
    assert corpus([task], diagnosed(RIGHT, WRONG), TEMPLATE, STOP, CorpusConfig()) == []


@pytest.mark.parametrize(
    "wrong", [{"accepted": -1}, {"drafts": -1}, {"right_share": 1.0}, {"right_share": -0.1}]
)
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    [name] = wrong
    with pytest.raises(UsageError, match=name):
        CorpusConfig(**wrong)  # type: ignore[arg-type]
