"""Samples teach the policy they are of, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.refine.store import CollectionDir
from strop.tools.errors import UsageError
from strop.tools.files import write_json
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.corpus import CorpusConfig
from strop.training.datasets import is_demonstration
from strop.training.demonstrations import Student, learn_from_samples
from strop.training.sft import SftConfig
from tests.training.tiny import tiny_checkpoint


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
