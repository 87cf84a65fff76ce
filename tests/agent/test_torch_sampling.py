"""What the transformers engine draws."""

from __future__ import annotations

import pytest
import torch

from strop.agent.engines.base import Sampling
from strop.agent.engines.torch_sampling import draw, generator


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-40, 1e-8])
def test_at_next_to_no_temperature_the_likeliest_is_drawn(temperature: float) -> None:
    sampling = Sampling(max_tokens=1, temperature=temperature, seed=0)
    assert draw(torch.tensor([1.0, 3.0, 2.0]), sampling, generator(sampling, 0)) == 1
