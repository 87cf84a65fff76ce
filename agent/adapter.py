"""peft LoRA adapters as they lie on disk: whether a directory is one, its rank, the model it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.agent.weights import tensor_names
from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def require_adapter(adapter: Path) -> None:
    """Raises ModelError where `adapter` is not the whole directory of a LoRA adapter."""
    for name in (CONFIG, WEIGHTS):
        if not (adapter / name).is_file():
            raise ModelError(f"{adapter} is no adapter: it has no {name}")
    kind = adapter_config(adapter).get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{adapter} is no LoRA adapter: its {CONFIG} has peft_type {kind!r}")
    tensor_names(adapter / WEIGHTS)


def adapter_rank(adapter: Path) -> int:
    """Largest LoRA rank in the adapter. Raises ModelError where its configuration cannot be read."""
    require_adapter(adapter)
    config = adapter_config(adapter)
    try:
        return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{adapter / CONFIG} has no readable rank: {error}") from error


def misfit(adapter: Path, model: Path | str, error: BaseException) -> ModelError:
    """The error for an adapter that a library could not put on a model, saying which it was made for."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # torch's first line only announces those that follow.
    why = next((line for line in lines if not line.endswith(":")), type(error).__name__)
    made_for = adapter_config(adapter).get("base_model_name_or_path")
    return ModelError(f"adapter {adapter}, made for {made_for}, does not fit {model}: {why}")


def adapter_config(adapter: Path) -> Mapping[str, Any]:
    """What an adapter says of itself, as peft writes it. Raises ModelError where it cannot be read."""
    try:
        config = read_json(adapter / CONFIG)
    except DataError as error:
        raise ModelError(f"{adapter} is no adapter: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{adapter} is no adapter: its {CONFIG} is no JSON object")
    return config
