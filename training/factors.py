"""LoRA adapters as what they add: a pair of factors for every layer (arXiv 2106.09685, equation 3).

A layer W of an adapted model computes with W + scale · B·A. Adapters are read and written here without the
model they are for, and without peft. Not covered: what is more than that sum (DoRA's magnitudes, biases,
retrained embeddings, activated or replicated layers) is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from strop.agent.adapter import CONFIG, WEIGHTS, adapter_config, require_adapter
from strop.tools.errors import ModelError, RunError
from strop.tools.files import write_json

_FACTOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_MORE_THAN_A_SUM = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "layer_replication",
    "use_qalora",
    "use_bdlora",
    "fan_in_fan_out",
)
"""peft's settings under which an adapter is not W + scale · B·A of linear layers."""
_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Ways to begin an adapter that leave the model as it is; peft's others change W when it is loaded."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What an adapter adds to one layer: scale · b·a."""

    a: torch.Tensor
    """(rank, inputs)."""
    b: torch.Tensor
    """(outputs, rank)."""
    scale: float = 1.0

    @property
    def rank(self) -> int:
        return int(self.a.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs), as of the layer's weight."""
        return self.b.shape[0], self.a.shape[1]

    def delta(self, rows: slice = slice(None)) -> torch.Tensor:
        """The difference to the layer's weight, or some rows of it, in float64."""
        return self.scale * (self.b[rows].double() @ self.a.double())


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in memory."""

    path: Path
    config: Mapping[str, Any]
    """As peft writes it."""
    factors: Mapping[str, Factors]
    """By the layer's name in the model: ``model.layers.0.self_attn.q_proj``."""

    @property
    def base(self) -> str:
        """The model it was made for, as recorded; empty where it is not."""
        return str(self.config.get("base_model_name_or_path") or "")


def read_adapter(path: Path) -> Adapter:
    """The adapter in a directory.

    Raises ModelError where there is none, it is more than its factors, or some of these are not finite.
    """
    require_adapter(path)
    config = adapter_config(path)
    _refuse_more(path, config)
    try:
        tensors = load_file(path / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path / WEIGHTS} cannot be read: {error}") from error
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        found = _FACTOR.fullmatch(name)
        if found is None or tensor.dim() != 2:
            raise ModelError(f"{path} has {name}, which is no factor of a linear layer")
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"{path} has values in {name} that are not finite")
        halves.setdefault(found[1], {})[found[2]] = tensor
    if not halves:
        raise ModelError(f"{path / WEIGHTS} holds no factors: this adapter changes nothing")
    return Adapter(
        path, config, {name: _factors(path, config, name, halves[name]) for name in sorted(halves)}
    )


def _refuse_more(path: Path, config: Mapping[str, Any]) -> None:
    more = [name for name in _MORE_THAN_A_SUM if config.get(name)]
    if config.get("bias", "none") != "none":
        more.append("bias")
    if config.get("init_lora_weights", True) not in _INITS:
        more.append("init_lora_weights")
    if more:
        settings = ", ".join(f"{name} = {config[name]!r}" for name in more)
        raise ModelError(f"{path} is more than the sum of its factors: its {CONFIG} has {settings}")


def _factors(
    path: Path, config: Mapping[str, Any], layer: str, halves: Mapping[str, torch.Tensor]
) -> Factors:
    if len(halves) < 2 or halves["A"].shape[0] != halves["B"].shape[1]:
        raise ModelError(f"{path}: the two factors of {layer} do not fit together")
    rank = halves["A"].shape[0]
    try:
        alpha = float(_of_layer(config.get("alpha_pattern") or {}, layer, config["lora_alpha"]))
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise ModelError(f"{path / CONFIG} has no readable lora_alpha: {error!r}") from error
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Factors(halves["A"], halves["B"], scale)


def _of_layer(patterns: Mapping[str, Any], layer: str, otherwise: Any) -> Any:
    """The first pattern that the end of a layer's name matches, as peft looks it up."""
    fitting = (value for key, value in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", layer))
    return next(fitting, otherwise)


def write_adapter(
    directory: Path, factors: Mapping[str, Factors], like: Sequence[Adapter], dtype: torch.dtype
) -> dict[str, Factors]:
    """Write factors of scale 1 into an existing directory; returns them as they were rounded to `dtype`.

    Settings that are nobody's business here (dropout, task type) are those of the first of `like`, the
    adapters it is made of. All layers get the largest rank, filled up with zeros, so that one rank and one
    scale hold for all of them in any reader. Raises RunError where the disk refuses.
    """
    rank = max(one.rank for one in factors.values())
    rounded = {name: _filled(one, rank, dtype) for name, one in factors.items()}
    tensors = {}
    for name, one in rounded.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = one.a
        tensors[f"base_model.model.{name}.lora_B.weight"] = one.b
    write_json(directory / CONFIG, _config(like, list(factors), rank))
    try:
        save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
        # safetensors writes for its user alone; whoever may read the configuration may read the weights.
        (directory / WEIGHTS).chmod((directory / CONFIG).stat().st_mode)
    except (SafetensorError, OSError) as error:
        raise RunError(f"cannot write {directory / WEIGHTS}: {error}") from error
    return rounded


def _filled(one: Factors, rank: int, dtype: torch.dtype) -> Factors:
    """With rows and columns of zeros up to `rank`."""
    a, b = one.a.new_zeros(rank, one.a.shape[1]), one.b.new_zeros(one.b.shape[0], rank)
    a[: one.rank], b[:, : one.rank] = one.a, one.b
    return Factors(a.to(dtype), b.to(dtype))


def _config(like: Sequence[Adapter], layers: Sequence[str], rank: int) -> dict[str, Any]:
    own = {"r": rank, "lora_alpha": rank, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    where = {"target_modules": _targets(like, layers), "exclude_modules": None}
    return {**like[0].config, **own, **where, "layers_to_transform": None, "layers_pattern": None}


def _targets(like: Sequence[Adapter], layers: Sequence[str]) -> list[str]:
    """Short names of layers where all adapters have those in the whole model, else every layer's own name."""
    narrower = ("layers_to_transform", "layers_pattern", "exclude_modules")
    names: set[str] = set()
    for one in like:
        targets = one.config.get("target_modules")
        if not isinstance(targets, list) or any(one.config.get(key) for key in narrower):
            return sorted(layers)
        names.update(map(str, targets))
    return sorted(names)
