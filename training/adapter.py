"""LoRA adapters through peft: begin one, go on with one, save one that peft and vLLM load as it is.

The edge that imports torch, transformers and peft for training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import TrainableTokensWrapper
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from strop.agent.adapter import CONFIG, WEIGHTS, misfit, require_adapter
from strop.agent.cpu import multiplies_bfloat16
from strop.agent.profile import PROFILE_FILE
from strop.tools.errors import ModelError, UsageError
from strop.tools.files import write_json
from strop.training.recipe import Recipe

_EXPERTS = {"gate_proj", "up_proj", "down_proj"}
"""Layers of a feed-forward part, as transformers names them."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where to train and in which number format."""

    device: str
    """``cuda`` or ``cpu``."""
    bf16: bool
    """bfloat16 weights and autocast; float32 otherwise."""

    @property
    def dtype(self) -> str:
        """``bfloat16`` or ``float32``."""
        return "bfloat16" if self.bf16 else "float32"

    def __str__(self) -> str:
        return f"{self.device} {self.dtype}"


def hardware(dtype: str = "auto") -> Hardware:
    """The GPU where there is one, else the CPU; `dtype` is one of `DTYPES`."""
    gpu = torch.cuda.is_available()
    if dtype == "auto":
        fast = torch.cuda.is_bf16_supported() if gpu else multiplies_bfloat16()
    else:
        fast = dtype == "bfloat16"
    return Hardware("cuda" if gpu else "cpu", bf16=fast)


def load_model(path: Path, where: Hardware, *, base_adapter: Path | None = None) -> Any:
    """The checkpoint at `path`, with the adapter that training goes on from, if any.

    Raises ModelError where either cannot be loaded, or the adapter changes the output head.
    """
    disable_progress_bar()
    dtype = torch.bfloat16 if where.bf16 else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype)
    except Exception as error:  # a damaged file makes the libraries raise whatever they trip over
        raise ModelError(f"cannot load {path} for training: {str(error).splitlines()[0]}") from error
    if base_adapter is None:
        return model
    require_adapter(base_adapter)
    try:
        model = PeftModel.from_pretrained(model, str(base_adapter), is_trainable=True)
    except Exception as error:
        raise misfit(base_adapter, path.name, error) from error
    if isinstance(model.get_output_embeddings(), (BaseTunerLayer, TrainableTokensWrapper)):
        raise ModelError(
            f"{base_adapter} changes the output head, or single tokens of one that is tied to it: losses are "
            "taken with the head's own weight, so that training cannot go on from it"
        )
    # The recorded name may be of a hub; checkpoints would look it up there.
    model.peft_config["default"].base_model_name_or_path = str(path)
    return model


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a checkpoint; the trainers pad with its padding id. Raises ModelError."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the tokenizer of {path}: {str(error).splitlines()[0]}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def vocabulary_size(model: Any) -> int:
    """How many token ids `model` knows; of one that also sees, its part for text says that."""
    return int(model.config.get_text_config().vocab_size)


def longest_row(model: Any) -> int | None:
    """Most ids that `model` says it takes; None where it says nothing."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None


def lora(recipe: Recipe, model: Any) -> LoraConfig:
    """A new adapter for every linear layer of `model` but its output head.

    The head stays out: TRL multiplies by its weight directly, and special tokens' rows are not ours to move.
    Of a mixture of experts that are one tensor a layer, feed-forward layers stay out, dense ones and shared
    experts included: peft takes their names for the experts', which it would adapt in a way of its own that
    neither vLLM nor our soups read. Raises UsageError for a rank above the model's width, ModelError where it
    has no linear layer.
    """
    width = model.config.get_text_config().hidden_size
    if recipe.rank > width:
        raise UsageError(f"rank must be at most {width}, the width of this model, got {recipe.rank}")
    head = model.get_output_embeddings()
    modules = model.named_modules()
    layers = [name for name, one in modules if isinstance(one, torch.nn.Linear) and one is not head]
    if not layers:
        raise ModelError(f"{model.config.model_type} has no linear layers that an adapter could be added to")
    targets = {name.rpartition(".")[2] for name in layers}
    if stacked_experts(model):
        targets -= _EXPERTS
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=sorted(targets),
        task_type="CAUSAL_LM",
    )


def stacked_experts(model: Any) -> list[str]:
    """Names of weights that hold all experts of a layer in one tensor."""
    return [name for name, one in model.named_parameters() if one.dim() == 3 and "expert" in name]


def save_adapter(
    model: Any, directory: Path, *, base: Path, name: str, profile: Path | None, weights: Any = None
) -> None:
    """Write the adapter called ``default`` to `directory`, which must not exist.

    `weights` are the model's by name, where processes hold a part of them each; None: its own.
    `name` is recorded as the base model, never the private place `base`; a ``strop.json`` beside `profile`
    or `base`, in this order, comes along.
    """
    model.save_pretrained(
        str(directory), selected_adapters=["default"], save_embedding_layers=False, state_dict=weights
    )
    config: Mapping[str, Any] = json.loads((directory / CONFIG).read_text())
    layers = sorted(config["target_modules"])
    write_json(directory / CONFIG, {**config, "base_model_name_or_path": name, "target_modules": layers})
    (directory / "README.md").unlink(missing_ok=True)
    # safetensors writes for its user alone; whoever may read the configuration may read the weights.
    (directory / WEIGHTS).chmod((directory / CONFIG).stat().st_mode)
    for source in (profile, base):
        if source is not None and (source / PROFILE_FILE).exists():
            shutil.copyfile(source / PROFILE_FILE, directory / PROFILE_FILE)
            break
