"""Bytes of activations that training keeps an id and layer, counted on a CPU.

    python benchmarks/activations.py [--width 256]

A Llama of 8B's proportions (feed-forward 3.5 times as wide, a quarter as many key-value heads) with Strop's
LoRA, in bfloat16 autocast. What autograd saves is counted once a storage, weights left out; the difference of
three layers and two is one layer's. Scales with the width, attention's own scores aside, which the kernels do
not keep.
"""

from __future__ import annotations

import argparse

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

from strop.training.adapter import lora
from strop.training.dpo import DpoConfig

IDS = 256
WIDTH_OF_8B = 4096


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--width", type=int, default=256, help="a multiple of 64")
    width = options.parse_args().width
    layer = saved_bytes(width, layers=3) - saved_bytes(width, layers=2)
    print(
        f"{layer:,} bytes an id and layer at width {width}; {layer * WIDTH_OF_8B // width:,} at {WIDTH_OF_8B}"
    )


def saved_bytes(width: int, *, layers: int) -> int:
    """Of one id."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=width * 7 // 2,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=max(1, width // 256),
        head_dim=64,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = get_peft_model(model, lora(DpoConfig(), model)).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        output = model(input_ids=torch.randint(0, 64, (1, IDS)), use_cache=False, logits_to_keep=1)
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) // IDS


if __name__ == "__main__":
    main()
