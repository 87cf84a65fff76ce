"""Adapters come and go in the transformers engine, the last one too; on a random model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from strop.agent.engines.base import Engine, Sampling
from strop.agent.engines.transformers import TransformersEngine
from strop.tools.errors import UsageError
from tests.training.tiny import talking_checkpoint

PROMPT = tuple(range(10, 40))


def random_adapter(checkpoint: Path, directory: Path) -> Path:
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(checkpoint), config).save_pretrained(directory)
    return directory


async def score(engine: Engine, adapter: str | None = None) -> tuple[float, ...]:
    return tuple(await engine.score(PROMPT, (50, 51, 52), adapter=adapter))


async def test_the_last_adapter_may_go_and_come_back(tmp_path: Path) -> None:
    checkpoint = talking_checkpoint(tmp_path / "tiny")
    adapter = random_adapter(checkpoint, tmp_path / "adapter")
    engine = await TransformersEngine.start(checkpoint, served_name="tiny", max_model_len=256)
    plain = await score(engine)
    for _ in range(2):
        await engine.load_adapter("one", adapter)
        taught = await score(engine, "one")
        assert taught != plain
        await engine.load_adapter("two", adapter)
        await engine.unload_adapter("one")
        assert await score(engine, "two") == taught
        await engine.load_adapter("two", adapter)  # in the place of itself
        assert await score(engine) == plain
        await engine.unload_adapter("two")
        assert await score(engine) == plain
        [answer] = await engine.generate(PROMPT, Sampling(max_tokens=4))
        assert answer.token_ids
        with pytest.raises(UsageError, match="two"):
            await score(engine, "two")
    await engine.close()
