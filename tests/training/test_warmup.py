"""Easy tasks come first, nothing is lost, and the stages are one training after another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.engines.scripted import ScriptedTemplate
from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_json, read_jsonl
from strop.tools.spec import ToolSpec
from strop.tools.task import Message, Task
from strop.training.families import families
from strop.training.job import Base
from strop.training.sft import SftConfig, measure_loss, train_sft
from strop.training.warmup import WarmupConfig, curriculum, scores, tools_shown, train_warmup
from tests.training.tiny import VOCABULARY, demonstrations, tiny_checkpoint

TASKS = families(12, 0, size=3)
RECIPE = SftConfig(learning_rate=1e-3, batch_size=4, micro_batch_size=2, max_length=4096, dtype="float32")


class Folded(ScriptedTemplate):
    """A template whose ids fit the tiny vocabulary: code points, folded, every eighth."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[int, ...]:
        return self.answer_ids(f"{[tool.name for tool in tools]}{messages[-1]['content']}")[:-1]

    def answer_ids(self, text: str) -> tuple[int, ...]:
        return (*(4 + ord(letter) % (VOCABULARY - 4) for letter in text[::8]), 2)


@given(
    st.lists(st.floats(0, 10), min_size=len(TASKS), max_size=len(TASKS)),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.5, 9.0]),
)
def test_stages_have_every_task_once_and_repeat_only_easier_ones(
    values: list[float], stages: int, replay: float
) -> None:
    score = {task.id: value for task, value in zip(TASKS, values, strict=True)}
    made = curriculum(TASKS, score, WarmupConfig(stages=stages, replay=replay))
    assert len(made) == stages
    seen: set[str] = set()
    hardest = float("-inf")
    for stage in made:
        ids = [task.id for task in stage]
        own = [name for name in ids if name not in seen]
        assert len(ids) - len(own) == min(len(seen), round(replay * len(own)))
        assert len(set(ids)) == len(ids)
        groups = _means(stage, own, score)
        assert min(groups) >= hardest
        hardest, seen = max(groups), seen | set(own)
    assert seen == score.keys()


def _means(stage: Sequence[Task], own: Sequence[str], score: dict[str, float]) -> list[float]:
    """Mean score of each set of tools among a stage's own tasks."""
    groups: dict[str, list[float]] = {}
    for task in stage:
        if task.id in own:
            groups.setdefault(tools_shown(task), []).append(score[task.id])
    return [sum(values) / len(values) for values in groups.values()]


def test_tasks_that_offer_the_same_tools_stay_together() -> None:
    for stage in curriculum(TASKS, scores(TASKS, "features", {}), WarmupConfig(stages=4, replay=0)):
        names = [task.id.split("/")[1] for task in stage]
        assert all(names.count(name) == 3 for name in names)


def test_fewer_tasks_than_stages_are_a_stage_each() -> None:
    one, other = TASKS[0], TASKS[3]
    stages = curriculum([one, other], {one.id: 2.0, other.id: 1.0}, WarmupConfig(stages=5, replay=0))
    assert stages == [[other], [one]]


def offered(sizes: Sequence[int]) -> list[Task]:
    """So many tasks for each of as many tools, in turn."""
    tools = [ToolSpec(f"tool_{number}", "", {"type": "object"}) for number in range(len(sizes))]
    return [
        Task(f"{at}/{number}", ({"role": "user", "content": "?"},), (tools[number],))
        for at in range(max(sizes))
        for number, size in enumerate(sizes)
        if at < size
    ]


@given(st.data(), st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 9))
def test_there_are_as_many_stages_as_asked_for_however_tools_are_shared(
    data: st.DataObject, sizes: list[int], stages: int
) -> None:
    tasks = offered(sizes)
    score = {task.id: float(data.draw(st.integers(0, 9), task.id)) for task in tasks}
    made = curriculum(tasks, score, WarmupConfig(stages=stages, replay=0))
    assert len(made) == min(stages, len(tasks))
    assert all(made)
    assert sorted(task.id for stage in made for task in stage) == sorted(score)
    hardest = float("-inf")
    share = len(tasks) / len(made)
    for stage in made:
        values = _ranked(stage, sizes, share, score)
        assert min(values) >= hardest, "an easier one comes later"
        hardest = max(values)


def _ranked(
    stage: Sequence[Task], sizes: Sequence[int], share: float, score: dict[str, float]
) -> list[float]:
    """What each task of a stage is ordered by; one of few with the same tools must be among all of them."""
    values = []
    for number in {int(task.id.split("/")[1]) for task in stage}:
        own = [score[task.id] for task in stage if task.id.endswith(f"/{number}")]
        if sizes[number] <= share:
            assert len(own) == sizes[number], "tasks that offer the same tools were parted"
            own = [sum(own) / len(own)]
        values += own
    return values


@pytest.mark.parametrize(
    ("sizes", "stages", "wanted"),
    [
        ([100], 4, [25, 25, 25, 25]),
        ([1, 1, 8], 2, [5, 5]),
        ([6] * 10, 4, [18, 18, 12, 12]),
        ([5], 3, [2, 2, 1]),
    ],
)
def test_more_tasks_with_the_same_tools_than_a_stage_has_are_cut_by_score(
    sizes: list[int], stages: int, wanted: list[int]
) -> None:
    tasks = offered(sizes)
    score = {task.id: float(task.id.split("/")[1]) * 1000 - at for at, task in enumerate(tasks)}
    made = curriculum(tasks, score, WarmupConfig(stages=stages, replay=0))
    assert [len(stage) for stage in made] == wanted
    ends = [(min(values), max(values)) for values in ([score[one.id] for one in stage] for stage in made)]
    assert all(before[1] < after[0] for before, after in pairwise(ends))


def test_both_measures_count_alike() -> None:
    loss = {task.id: float(at) for at, task in enumerate(TASKS)}
    both, features = scores(TASKS, "both", loss), scores(TASKS, "features", {})
    assert scores(TASKS, "loss", loss) == loss
    easiest = min(TASKS, key=lambda task: (features[task.id], loss[task.id]))
    assert all(0 <= value <= 1 for value in both.values())
    assert both[easiest.id] <= min(both.values()) + loss[easiest.id] / 2 / (len(TASKS) - 1)


@pytest.mark.parametrize("wrong", [{"stages": 0}, {"replay": -0.1}, {"by": "length"}])
def test_settings_out_of_range_are_named(wrong: dict[str, object]) -> None:
    [name] = wrong
    with pytest.raises(UsageError, match=name):
        WarmupConfig(**wrong)  # type: ignore[arg-type]


def test_a_warm_up_without_tasks_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no task with gold to learn"):
        train_warmup(tmp_path, [], Folded(), tmp_path / "warm", WarmupConfig(), RECIPE)


@pytest.mark.parametrize("by", ["features", "loss"])
def test_an_unknown_tracker_is_told_of_before_anything_is_loaded(by: str, tmp_path: Path) -> None:
    order, out = WarmupConfig(by=by), tmp_path / "warm"
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'"):
        train_warmup(tmp_path, TASKS, Folded(), out, order, RECIPE, track=["tensorbord"])


@pytest.mark.usefixtures("one_thread")
def test_trackers_are_told_of_every_stage(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    checkpoint, out = tiny_checkpoint(tmp_path / "tiny"), tmp_path / "warm"
    train_warmup(checkpoint, TASKS, Folded(), out, WarmupConfig(), RECIPE, track=["tensorboard"])
    for folder in (tmp_path / "warm.stage-1", out):
        assert list((folder / "tensorboard").iterdir())


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
def test_every_stage_goes_on_from_the_one_before(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    order = WarmupConfig(stages=2, replay=0.5, by="both")
    out = tmp_path / "warm"
    summary = train_warmup(checkpoint, TASKS, Folded(), out, order, RECIPE)
    first = read_json(tmp_path / "warm.stage-1" / "train_summary.json")
    assert first["examples"] == len(TASKS) // 2
    assert summary.examples == len(TASKS) // 2 + len(TASKS) // 4
    before, after = (
        [row["loss"] for _, row in read_jsonl(folder / "train_log.jsonl")[0]]
        for folder in (tmp_path / "warm.stage-1", out)
    )
    assert after[0] < before[0]
    assert train_warmup(checkpoint, TASKS, Folded(), out, order, RECIPE) == summary


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
def test_the_models_loss_is_measured_once_and_is_what_training_begins_with(tmp_path: Path) -> None:
    checkpoint, kept = tiny_checkpoint(tmp_path / "tiny"), tmp_path / "losses.jsonl"
    rows = demonstrations(6)
    base = Base(checkpoint, "tiny", None)
    together = measure_loss(base, rows, kept, RECIPE)
    apart = measure_loss(base, rows, tmp_path / "apart.jsonl", RECIPE, together=1)
    assert together == pytest.approx(apart, abs=1e-4)
    written = kept.read_text()
    assert measure_loss(base, rows, kept, RECIPE) == together
    assert kept.read_text() == written
    assert len(set(together.values())) == len(rows)
    trained = train_sft(checkpoint, rows, tmp_path / "adapter", RECIPE).adapter
    adapted = measure_loss(Base(checkpoint, "tiny", trained), rows, kept, RECIPE)
    assert sum(adapted.values()) < sum(together.values()), "an adapter's loss is its own"


@pytest.mark.model
@pytest.mark.usefixtures("one_thread")
def test_a_warm_up_goes_on_from_an_adapter(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    one = WarmupConfig(stages=1)
    first, second = tmp_path / "first", tmp_path / "second"
    train_warmup(checkpoint, TASKS, Folded(), first, one, RECIPE)
    train_warmup(checkpoint, TASKS, Folded(), second, one, RECIPE, base_adapter=first)
    began, went_on = (read_jsonl(out / "train_log.jsonl")[0][0][1]["loss"] for out in (first, second))
    assert went_on < began
