"""Samples teach the policy they are of, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from strop.agent.chat import ChatTemplate
from strop.agent.engines.base import Completion, FinishReason
from strop.agent.loading import weights_of
from strop.agent.policy import read_draft
from strop.agent.profile import Profile, read_profile, write_profile
from strop.refine.deficiency import diagnose
from strop.refine.sample import Sample, sample_of
from strop.refine.store import CollectionDir, Diagnosis, diagnosis_row
from strop.tools.errors import DataError, UsageError
from strop.tools.files import write_json, write_jsonl
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task, tasks_to_rows
from strop.training.config import RoundConfig, TasksTable, TrainWithTable, WarmupTable
from strop.training.corpus import CorpusConfig
from strop.training.datasets import is_demonstration
from strop.training.demonstrations import Lessons, Student, learn_from_samples, lessons, warm_up
from strop.training.sft import SftConfig
from strop.training.trackers import TRACKERS
from tests.refine.worlds import PARIS, ROME, SIMPLE, fenced
from tests.training.tiny import FREE, talking_checkpoint, tiny_checkpoint

TASK = Task("t", SIMPLE.messages, SIMPLE.tools, Gold((ToolCall.from_json(PARIS),)))
RIGHT, WRONG = fenced(PARIS), fenced(ROME)
QUICK = SftConfig(dtype="float32", batch_size=1)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = talking_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
    write_profile(directory, Profile(call_format="fenced_json"))
    return directory


def sampled(model: Path, folder: Path, *texts: str) -> Path:
    """A collection in which `model` has answered `TASK` so."""
    template = ChatTemplate.load(model, call_format="fenced_json")
    samples = tuple(sample(template, text) for text in texts)
    write_json(folder / "settings.json", {"model": "tiny", "weights": weights_of(model, None)})
    row = diagnosis_row(TASK, Diagnosis(diagnose(TASK, samples), samples))
    write_jsonl(folder / "deficiencies.jsonl", [row])
    return folder


def sample(template: ChatTemplate, text: str) -> Sample:
    prompt = template.prompt_ids(TASK.messages, TASK.tools)
    completion = Completion(template.answer_ids(text), FinishReason.STOP)
    return sample_of(TASK, read_draft(template, prompt, completion, TASK.tools))


def test_samples_of_another_policy_are_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    collection = tmp_path / "collected"
    collection.mkdir()
    write_json(collection / "settings.json", {"model": "tiny", "weights": "of another"})
    with pytest.raises(UsageError, match="sampled from another policy"):
        learn_from_samples(
            Student(str(checkpoint)), [], collection, tmp_path / "out", CorpusConfig(), SftConfig()
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("texts", "right_share", "taught"),
    [((RIGHT, WRONG), 0.5, FREE), ((RIGHT, WRONG), 0.0, None), ((RIGHT,), 0.5, None)],
    ids=["right and wrong drafts", "no share of right ones", "right ones alone"],
)
def test_a_stop_token_is_noted_only_where_a_row_taught_it(
    texts: tuple[str, ...], right_share: float, taught: int | None, talking: Path, tmp_path: Path
) -> None:
    collection, rows = sampled(talking, tmp_path / "collected", *texts), CorpusConfig(right_share=right_share)
    student, out = Student(str(talking)), tmp_path / "out"
    summary = learn_from_samples(student, [TASK], collection, out, rows, QUICK)
    assert summary is not None
    assert read_profile(out) == Profile(call_format="fenced_json", stop_token_id=taught)


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
def test_a_row_too_long_to_be_trained_teaches_no_stop(talking: Path, tmp_path: Path) -> None:
    collection, rows = sampled(talking, tmp_path / "collected", RIGHT, WRONG), CorpusConfig()
    prompt = ChatTemplate.load(talking).prompt_ids(TASK.messages, TASK.tools)
    short = replace(QUICK, max_length=len(prompt) + len(RIGHT) + 1)
    summary = learn_from_samples(Student(str(talking)), [TASK], collection, tmp_path / "out", rows, short)
    assert summary is not None
    assert (summary.examples, len(summary.refused)) == (1, 2), "the answer fits, its checks do not"
    assert read_profile(tmp_path / "out").stop_token_id is None


def test_trackers_are_told_of_what_samples_teach(talking: Path, tmp_path: Path) -> None:
    collection = sampled(talking, tmp_path / "collected", RIGHT)
    student, rows, out = Student(str(talking)), CorpusConfig(), tmp_path / "out"
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'"):
        learn_from_samples(student, [TASK], collection, out, rows, QUICK, track=["tensorbord"])


def test_trackers_are_told_of_a_runs_warm_up(talking: Path, tmp_path: Path) -> None:
    missing = [name for name in TRACKERS if find_spec(name) is None]
    if not missing:
        pytest.skip("all trackers are installed")
    table, tracked = WarmupTable(families=1), TrainWithTable(track=(missing[0],))
    config = RoundConfig(model=str(talking), tasks=TasksTable(synthesise=50), train_with=tracked)
    with pytest.raises(UsageError, match=f"needs the package {missing[0]}"):
        warm_up(config, table, Lessons([TASK], {}), tmp_path / "out")


@pytest.mark.parametrize("gold", [None, TASK.gold], ids=["no gold", "held out"])
def test_a_warm_up_that_has_nothing_to_learn_is_told_of_at_once(gold: Gold | None, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    write_jsonl(file, tasks_to_rows([replace(TASK, gold=gold)]))
    table = WarmupTable(file=file)
    config = RoundConfig(tasks=TasksTable(synthesise=50, allow_copies=True), warmup=table)
    with pytest.raises(DataError, match=r"tasks\.jsonl: nothing to warm up on.*no task with gold to learn"):
        lessons(config, table, [TASK], Console(quiet=True))


def test_a_collection_says_what_it_was_made_with_as_far_as_it_knows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no collection"):
        CollectionDir(tmp_path).weights()
    write_json(tmp_path / "settings.json", {"model": "served", "weights": ""})
    assert CollectionDir(tmp_path).weights() == ""


@pytest.mark.parametrize(
    ("gold", "is_one"),
    [
        (None, False),
        (Gold(()), False),
        (Gold((), "No tool can."), True),
        (Gold((ToolCall("f", {}),)), True),
    ],
)
def test_a_demonstration_has_an_answer(gold: Gold | None, is_one: bool) -> None:
    assert is_demonstration(Task("t", ({"role": "user", "content": "?"},), (), gold)) is is_one
