"""Questions as vectors: the same for the same question, whatever lies beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from strop.agent.embedding import BATCH, Embedder, mean_states, question_of
from strop.tools.errors import ModelError
from strop.tools.task import Task
from tests.training.tiny import ids, tiny_config


def asking(text: str) -> Task:
    return Task(id=text, messages=({"role": "user", "content": text},), tools=())


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_a_mean_is_of_its_own_ids_and_not_of_the_padding(architecture: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    torch.manual_seed(7)
    model = AutoModel.from_config(tiny_config(architecture), dtype=torch.float32).eval()
    rows = [ids(Random(size), size) for size in (1, 4, 9, 30)] + [()]
    with torch.inference_mode():
        together = mean_states(model, rows)
        for row, mean in zip(rows, together, strict=True):
            (alone,) = mean_states(model, [row])
            assert mean == pytest.approx(alone, abs=1e-5)
        states = model(input_ids=torch.tensor([rows[2]])).last_hidden_state[0]
    assert together[2] == pytest.approx(states.mean(0).tolist(), abs=1e-5)
    assert together[1] != pytest.approx(together[2], abs=1e-2)


@pytest.mark.model
def test_questions_alike_have_vectors_alike(smollm: Path) -> None:
    import numpy as np

    questions = ["Weather in Oslo tomorrow?", "Weather in Bergen today?", "Convert 3 miles to kilometres."]
    embed = Embedder(str(smollm))
    vectors = np.array(embed([asking(question) for question in questions * BATCH]))
    assert (vectors == np.array(embed([asking(question) for question in questions * BATCH]))).all()
    one, two, three = (vector / np.linalg.norm(vector) for vector in vectors[:3])
    assert one @ two > max(one @ three, two @ three)


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no whole checkpoint"):
        Embedder(str(tmp_path))([asking("w5")])


def test_the_question_is_what_the_user_said_last() -> None:
    talk = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "then?"}]},
        {"role": "tool", "content": "{}"},
    )
    assert question_of(replace(asking("x"), messages=talk)) == "And then?"
    assert question_of(replace(asking("x"), messages=talk[:1])) == "Be brief."
    assert question_of(replace(asking("x"), messages=({"role": "user", "content": None},))) == ""
