"""An adapter of ours is one of vLLM's: it loads as it is, and scores as peft does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from strop.agent.chat import ChatTemplate
from strop.agent.engines.base import Engine, Sampling
from strop.training.datasets import PairRow
from strop.training.dpo import DpoConfig, train_dpo

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="session")]


async def test_vllm_scores_with_a_trained_adapter_as_peft_does(
    smollm: Path, smollm_template: ChatTemplate, vllm_engine: Engine, tmp_path: Path
) -> None:
    prompt = smollm_template.prompt_ids([{"role": "user", "content": "What is the capital of France?"}], ())
    chosen = smollm_template.answer_ids("It is Paris, without a doubt.")
    rejected = smollm_template.answer_ids("I could not say.")
    pair = PairRow("capital", prompt, chosen, rejected)
    # One step has a learning rate of 0: the warm-up's. Rank 8 is what the engine has room for.
    config = DpoConfig(learning_rate=2e-3, batch_size=1, epochs=4, warmup=0.0, rank=8, alpha=16)
    summary = train_dpo(smollm, [pair], tmp_path / "adapter", config, model_name="smollm2-135m")
    assert summary.last["margin"] > 0.1

    await vllm_engine.load_adapter("trained", summary.adapter)
    scores = await vllm_engine.score(prompt, chosen, adapter="trained")
    base = await vllm_engine.score(prompt, chosen)
    assert sum(scores) > sum(base) + 0.5
    assert sum(scores) == pytest.approx(peft_score(smollm, summary.adapter, prompt, chosen), abs=0.05)
    [completion] = await vllm_engine.generate(prompt, Sampling(max_tokens=4), adapter="trained")
    assert len(completion.token_ids) == 4


def peft_score(checkpoint: Path, adapter: Path, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Log-probability of the answer, by transformers and peft."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokens = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        scores = PeftModel.from_pretrained(model, adapter)(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    return float(scores.gather(1, tokens[0, 1:, None])[len(prompt) - 1 :].sum())
