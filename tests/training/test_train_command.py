"""``strop train`` from the command line to the adapter: what is taught is written as its policy writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from strop.agent.chat import ChatTemplate
from strop.agent.cli.app import app
from strop.agent.cli.train import app as train
from strop.agent.profile import Profile, read_profile, write_profile
from strop.tools.errors import DataError, UsageError
from strop.tools.files import write_jsonl
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task, tasks_to_rows
from strop.training.corpus import CorpusConfig
from strop.training.datasets import SftRow
from strop.training.demonstrations import Student, learn_from_samples
from strop.training.sft import SftConfig, train_sft
from strop.training.warmup import WarmupConfig, train_warmup
from tests.training.test_demonstrations import RIGHT, TASK, sampled
from tests.training.tiny import talking_checkpoint, tiny_adapter

pytestmark = pytest.mark.usefixtures("one_thread")

TOOL = ToolSpec("find", "Finds.", {"type": "object", "properties": {"what": {"type": "string"}}})
TASKS = [
    Task(
        f"t{number}",
        ({"role": "user", "content": f"Find {number}!"},),
        (TOOL,),
        Gold((ToolCall("find", {"what": str(number)}),)),
    )
    for number in range(2)
]
SMALL = ("--gradient-checkpointing", "--dtype", "float32")
OTHER = "hermes"
"""The call format of `adapter`; its model has another."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = talking_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
    write_profile(directory, Profile(call_format="fenced_json"))
    return directory


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tiny_adapter(model, tmp_path_factory.mktemp("adapters") / "other")
    write_profile(directory, Profile(call_format=OTHER))
    return directory


def strop(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(tasks: list[Task], file: Path) -> Path:
    write_jsonl(file, tasks_to_rows(tasks))
    return file


@pytest.mark.model
def test_demonstrations_are_written_as_the_adapter_writes(model: Path, adapter: Path, tmp_path: Path) -> None:
    data, out = written(TASKS, tmp_path / "tasks.jsonl"), tmp_path / "out"
    strop("train", "sft", model, "--adapter", adapter, "--data", data, "--out", out, "--dtype", "float32")
    assert read_profile(out).call_format == OTHER
    rows = [SftRow.from_task(task, ChatTemplate.load(model, call_format=OTHER)) for task in TASKS]
    # Another data set would be another job, and `out` taken.
    assert train_sft(model, rows, out, SftConfig(dtype="float32"), base_adapter=adapter).examples == 2


@pytest.mark.model
def test_a_warm_up_is_written_as_the_adapter_writes(model: Path, adapter: Path, tmp_path: Path) -> None:
    data, out = written(TASKS, tmp_path / "tasks.jsonl"), tmp_path / "out"
    words = ("train", "warmup", model, "--adapter", adapter, "--data", data, "--out", out, *SMALL)
    strop(*words, "--stages", 1, "--batch-size", 2, "--micro-batch-size", 2)
    assert read_profile(out).call_format == OTHER
    template = ChatTemplate.load(model, call_format=OTHER)
    recipe = SftConfig(dtype="float32", batch_size=2, micro_batch_size=2, gradient_checkpointing=True)
    order = WarmupConfig(stages=1)
    assert train_warmup(model, TASKS, template, out, order, recipe, base_adapter=adapter).examples == 2


def test_a_warm_up_on_tasks_without_gold_says_so(model: Path, tmp_path: Path) -> None:
    data = written([Task(one.id, one.messages, one.tools) for one in TASKS], tmp_path / "tasks.jsonl")
    with pytest.raises(DataError, match="no task with gold to learn"):
        strop("train", "warmup", model, "--data", data, "--out", tmp_path / "out")


def test_a_warm_up_tells_the_trackers_that_are_named(model: Path, tmp_path: Path) -> None:
    data = written(TASKS, tmp_path / "tasks.jsonl")
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'"):
        strop("train", "warmup", model, "--data", data, "--out", tmp_path / "out", "--track", "tensorbord")


@pytest.mark.model
def test_samples_are_learned_with_less_memory_and_trackers_told(model: Path, tmp_path: Path) -> None:
    collection, out = sampled(model, tmp_path / "collected", RIGHT), tmp_path / "out"
    data = written([TASK], tmp_path / "tasks.jsonl")
    words: list[object] = ["train", "samples", collection, model, "--data", data, "--allow-copies"]
    words += [*SMALL, "--batch-size", 1, "--micro-batch-size", 1]
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'"):
        strop(*words, "--out", out, "--track", "tensorbord")
    strop(*words, "--out", out)
    recipe = SftConfig(
        dtype="float32", learning_rate=5e-5, batch_size=1, micro_batch_size=1, gradient_checkpointing=True
    )
    # As above, another recipe would be another job.
    assert learn_from_samples(Student(str(model)), [TASK], collection, out, CorpusConfig(), recipe)


COMMANDS: dict[str, Any] = typer.main.get_command(train).commands  # type: ignore[attr-defined]  # a group


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_training_can_be_watched_and_helped_when_memory_is_short(name: str) -> None:
    """What `strop.training.failures` advises is there to be done."""
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert options >= {"--track", "--micro-batch-size", "--max-length", "--gradient-checkpointing"}
