"""What training changed, moved to a new version of the model (arXiv 2503.20110).

A difference learned on one version of a model is added to the next version of it instead of being learned
again. Nothing is adapted: it makes sense where both versions have the same layers and their token ids mean
the same, and that is what is checked. Whether it helps, only a benchmark can say.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from strop.agent.adapter import CONFIG, WEIGHTS
from strop.agent.checkpoint import require_checkpoint
from strop.agent.profile import PROFILE_FILE, Profile, read_profile, write_profile
from strop.tools.errors import ModelError
from strop.tools.files import read_json, whole_directory, write_json
from strop.training.factors import Adapter, read_adapter
from strop.training.rewriting import BLOCK, FLOATS, Weights, rewrite

_KINSHIP = (
    "architectures",
    "model_type",
    "hidden_act",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
"""What tensors' shapes do not tell of an architecture. Bases and scales of positions are not among it: new
versions have others, for longer contexts."""
_NAMED = 3
"""Most names in an error; the rest are counted."""


def transfer_adapter(adapter: Path, old: Path, new: Path, out: Path, *, name: str) -> int:
    """Write the adapter made for checkpoint `old` to `out`, as one of checkpoint `new`; returns its layers.

    Its difference stays as it is; `name` is recorded as its base model. Raises ModelError naming what differs
    where the two are not versions of one model, or the adapter fits neither; UsageError where `out` holds
    something, RunError where the disk refuses.
    """
    read = read_adapter(adapter)
    refuse_strange_model(old, new)
    with Weights(old) as before, Weights(new) as after:
        refuse_misfit(read, before)
        refuse_misfit(read, after)
        _refuse_other_layers(read, before, after)
    with whole_directory(out) as growing:
        shutil.copyfile(adapter / WEIGHTS, growing / WEIGHTS)
        write_json(growing / CONFIG, {**read.config, "base_model_name_or_path": name, "revision": None})
        if (adapter / PROFILE_FILE).exists():
            shutil.copyfile(adapter / PROFILE_FILE, growing / PROFILE_FILE)
    return len(read.factors)


def transfer_checkpoint(old: Path, tuned: Path, new: Path, out: Path, *, block: int = BLOCK) -> float:
    """Write the checkpoint new + (tuned − old) to `out`; returns what rounding took of the difference.

    Sums are made in float64, of some `block` numbers at once, and rounded once, to the number format of
    `new`. Where nothing was tuned, weights are exactly those of `new`; where `new` is `old`, exactly those of
    `tuned`. What is returned is the error of `strop.training.rewriting.Rounding`. Raises ModelError naming
    the tensor, token or setting in which the three differ, UsageError where `out` holds something, RunError
    where the disk refuses.
    """
    for one in (old, tuned):
        refuse_strange_model(one, new)
    profile = read_profile(tuned).over(read_profile(new))
    with Weights(old) as before, Weights(tuned) as trained, Weights(new) as after:
        for other in (before, trained):
            _refuse_other_tensors(other, after)

        def moved(name: str, rows: slice, stored: torch.Tensor) -> torch.Tensor:
            return _moved(name, before.rows(name, rows), trained.rows(name, rows), stored)

        with whole_directory(out) as growing:
            rounding = rewrite(after, growing, moved, block=block)
            if profile != Profile():
                write_profile(growing, profile)
    return rounding.error


def _moved(name: str, was: torch.Tensor, became: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    """`stored` + (`became` − `was`), in an order of sums that is exact where two of them are the same."""
    if _same(was, became):
        return stored
    if not all(one.dtype in FLOATS.values() for one in (was, became, stored)):
        raise ModelError(
            f"{name} was changed by tuning, from {was.dtype} to {became.dtype}, and is {stored.dtype} in the "
            f"new version: differences are made of {', '.join(FLOATS)} only"
        )
    return torch.where(was == became, stored.double(), became.double() + (stored.double() - was.double()))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Byte by byte: not every format in which weights are kept can be compared."""
    return one.dtype == other.dtype and bool(torch.equal(one.view(torch.uint8), other.view(torch.uint8)))


def refuse_strange_model(old: Path, new: Path) -> None:
    """Raises ModelError where two checkpoints are not of one architecture, or a token's id is another one."""
    for checkpoint in (old, new):
        require_checkpoint(checkpoint)
    was, now = _architecture(old), _architecture(new)
    for key in _KINSHIP:
        if was.get(key) != now.get(key):
            raise ModelError(
                f"{old} and {new} are not of one architecture: {key} is {was.get(key)!r} and {now.get(key)!r}"
            )
    ids = _vocabulary(new)
    other = [
        f"{token!r} {at}, {ids.get(token)}" for token, at in _vocabulary(old).items() if ids.get(token) != at
    ]
    if other:
        raise ModelError(f"token ids of {old} mean something else in {new}: {_some(sorted(other))}")


def _architecture(checkpoint: Path) -> Mapping[str, Any]:
    config: dict[str, Any] = read_json(checkpoint / "config.json")
    inner = config.get("text_config")
    return {**(inner if isinstance(inner, dict) else {}), **config}


def _vocabulary(checkpoint: Path) -> dict[str, int]:
    """{token: id}, added ones included."""
    from strop.training.adapter import load_tokenizer

    vocabulary: dict[str, int] = load_tokenizer(checkpoint).get_vocab()
    return vocabulary


def refuse_misfit(adapter: Adapter, weights: Weights) -> None:
    """Raises ModelError naming the layers that an adapter is for and a checkpoint does not have like that."""
    problems = []
    for name, factors in adapter.factors.items():
        stored = weights.tensors.get(f"{name}.weight")
        if stored is None:
            problems.append(f"it has no {name}.weight")
        elif stored.shape != factors.shape:
            problems.append(f"{name}.weight is {stored.shape}, the adapter's {factors.shape}")
        elif stored.dtype not in FLOATS:
            problems.append(f"{name}.weight is {stored.dtype}")
    if problems:
        raise ModelError(f"{adapter.path} does not fit {weights.directory}: {_some(problems)}")


def _refuse_other_layers(adapter: Adapter, before: Weights, after: Weights) -> None:
    """Raises ModelError where only one of the two has a layer of a name that the adapter is for."""
    kinds = {name.rpartition(".")[2] for name in adapter.factors}
    layers = [
        {name for name in one.tensors if name.removesuffix(".weight").rpartition(".")[2] in kinds}
        for one in (before, after)
    ]
    _refuse_unshared(layers[0] ^ layers[1], before, after)


def _refuse_other_tensors(one: Weights, after: Weights) -> None:
    _refuse_unshared(one.tensors.keys() ^ after.tensors.keys(), one, after)
    other = [
        f"{name} is {one.tensors[name].shape} and {stored.shape}"
        for name, stored in after.tensors.items()
        if one.tensors[name].shape != stored.shape
    ]
    if other:
        raise ModelError(f"{one.directory} and {after.directory} have other shapes: {_some(other)}")


def _refuse_unshared(names: set[str], one: Weights, other: Weights) -> None:
    if names:
        raise ModelError(
            f"only one of {one.directory} and {other.directory} has {_some(sorted(names))}: they are not "
            "versions of one model"
        )


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
