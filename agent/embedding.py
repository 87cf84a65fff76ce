"""Questions as vectors: the mean of a checkpoint's last hidden states. The edge that imports torch for it.

What a policy's own model makes of a question is the cheapest embedding there is where that model is on disk
anyway. It is loaded beside the engine for as long as it takes, on the CPU; an adapter is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strop.agent.models import ModelStore
from strop.tools.errors import ModelError
from strop.tools.task import Task

MOST_IDS = 512
"""Ids of a question that are looked at."""
BATCH = 16


def question_of(task: Task) -> str:
    """Text of the last user message; of the last message where no user speaks."""
    asked = [message for message in task.messages if message.get("role") == "user"]
    content = (asked or list(task.messages))[-1].get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Embedder:
    """Embeds tasks with a model; the same vectors for the same tasks."""

    def __init__(self, model: str):
        """`model` as `ModelStore.resolve` takes it: nothing is loaded before tasks are to be embedded."""
        self._model = model

    def __call__(self, tasks: Sequence[Task]) -> list[list[float]]:
        """A vector for each task's last user message, as long as the model is wide.

        Raises ModelError where the model cannot be found or loaded.
        """
        checkpoint = ModelStore().resolve(self._model).path
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
            # By way of the whole model: without its head, transformers reports the head as unexpected.
            whole = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype="auto").eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{checkpoint}: cannot be loaded to embed questions: {error}") from error
        encoded = [
            tokenizer(question_of(task), truncation=True, max_length=MOST_IDS)["input_ids"] for task in tasks
        ]
        # Like lengths together, so that little is padded; each vector depends on its own question only.
        order = sorted(range(len(tasks)), key=lambda place: (len(encoded[place]), place))
        found: dict[int, list[float]] = {}
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                means = mean_states(whole.base_model, [encoded[place] for place in places])
                found.update(zip(places, means, strict=True))
        return [found[place] for place in range(len(tasks))]


def mean_states(model: Any, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Mean last hidden state of each row of ids; of an empty one, that of id 0."""
    import torch

    filled = [list(row) or [0] for row in rows]
    longest = max(map(len, filled))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in filled])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in filled])
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    summed = (states * mask[:, :, None]).sum(1)
    means: list[list[float]] = (summed / mask.sum(1, keepdim=True)).tolist()
    return means
