"""Padding and drawing with torch: what the transformers engine does between two forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strop.agent.engines.base import Sampling

LEAST_TEMPERATURE = 1e-5


def generator(sampling: Sampling, index: int) -> Any:
    """A torch.Generator of its own for sample `index`; the same for the same seed and index."""
    import torch

    source = torch.Generator()
    if sampling.seed is None:
        source.seed()
    else:
        source.manual_seed((sampling.seed + index) % 2**63)
    return source


def left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """ids and mask, both (rows, longest); what the padding ids are does not matter."""
    import torch

    longest = max(map(len, prompts))
    gaps = [longest - len(prompt) for prompt in prompts]
    ids = torch.tensor([[0] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps])
    return ids.to(device), mask.to(device)


def likeliest(scores: Any, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` largest of (vocabulary,) log-probabilities with their ids, best first."""
    values, ids = scores.topk(min(count, len(scores)))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def draw(logits: Any, sampling: Sampling, source: Any) -> int:
    """One id from (vocabulary,) logits: the likeliest at temperature 0, else within the nucleus."""
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    # Below that everything but the likeliest has vanished, and divisions overflow.
    temperature = max(sampling.temperature, LEAST_TEMPERATURE)
    shares, order = (logits.cpu() / temperature).softmax(-1).sort(descending=True)
    shares[shares.cumsum(0) - shares >= sampling.top_p] = 0
    return int(order[torch.multinomial(shares, 1, generator=source)])
