"""A mean of adapters of one model ("model soups", arXiv 2203.05482, in the space of LoRA's differences).

The mean of B·A over adapters is not the product of the factors' means: two adapters may hold one difference
in different factors. Factors that are put side by side, [w₁B₁ w₂B₂ …]·[A₁; A₂; …], are the mean exactly, at
the sum of the ranks. Cut to a lower rank by singular values it is the nearest matrix of that rank there is
(Eckart and Young, 1936).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from strop.agent.profile import PROFILE_FILE, Profile, read_profile, write_profile
from strop.tools.errors import ModelError, UsageError
from strop.tools.files import whole_directory, write_json
from strop.training.factors import Adapter, Factors, read_adapter, write_adapter

ORIGIN = "soup.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What a soup's factors may be saved in."""


@dataclass(frozen=True, slots=True)
class Soup:
    """What came of it; also ``soup.json`` beside the adapter."""

    adapters: tuple[str, ...]
    """Names of the directories it is made of."""
    weights: tuple[float, ...]
    """Their shares; the sum is 1."""
    rank: int
    layers: int
    """Layers that the mean changes."""
    partly: tuple[str, ...]
    """Those that not all of the adapters change; the others count as no change there."""
    error: float
    """‖saved − exact‖ / ‖exact‖ over all layers' differences, Frobenius norms: of cutting and rounding."""


def make_soup(
    paths: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    rank: int | None = None,
    dtype: str = "float32",
) -> Soup:
    """Write the weighted mean of the adapters in `paths` to `out`, as an adapter.

    Shares are equal where no `weights` are given. No layer's rank exceeds `rank`; None keeps all of them.
    Raises UsageError for weights that are no shares or where `out` holds something, ModelError where an
    adapter cannot be read or the adapters are not of one model, RunError where the disk refuses.
    """
    shares = _shares(weights, len(paths))
    if dtype not in DTYPES:
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    adapters = [read_adapter(path) for path in paths]
    refuse_strangers(adapters)
    profile = common_profile(paths)
    exact = mean(adapters, shares)
    cut = {name: one if rank is None else truncated(one, rank) for name, one in exact.items()}
    with whole_directory(out) as growing:
        saved = write_adapter(growing, cut, adapters, DTYPES[dtype])
        soup = Soup(
            adapters=tuple(path.absolute().name for path in paths),
            weights=shares,
            rank=max(one.rank for one in saved.values()),
            layers=len(saved),
            partly=tuple(name for name in exact if any(name not in one.factors for one in adapters)),
            error=relative_error(exact, saved),
        )
        write_json(growing / ORIGIN, asdict(soup))
        if profile != Profile():
            write_profile(growing, profile)
    return soup


def _shares(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    if count == 0:
        raise UsageError("a mean takes an adapter at least")
    if weights is None:
        return (1 / count,) * count
    if len(weights) != count:
        raise UsageError(f"{len(weights)} weights for {count} adapters: give one for each")
    if not all(0 <= one <= 1 for one in weights) or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise UsageError(f"weights must be shares that sum to 1, got {', '.join(map(str, weights))}")
    return tuple(weights)


def refuse_strangers(adapters: Sequence[Adapter]) -> None:
    """Raises ModelError where adapters were made for different models, or a layer has different shapes."""
    first = adapters[0]
    for other in adapters[1:]:
        if other.base != first.base:
            raise ModelError(
                f"{first.path} was made for {first.base or 'an unnamed model'}, {other.path} for "
                f"{other.base or 'an unnamed model'}: only adapters of one model have a mean"
            )
    known: dict[str, tuple[tuple[int, int], Path]] = {}
    for one in adapters:
        for name, factors in one.factors.items():
            shape, path = known.setdefault(name, (factors.shape, one.path))
            if shape != factors.shape:
                raise ModelError(f"{name} is {shape} in {path} and {factors.shape} in {one.path}")


def common_profile(paths: Sequence[Path]) -> Profile:
    """What the adapters' profiles say together. Raises ModelError where two say different things."""
    said: dict[str, tuple[object, Path]] = {}
    common = Profile()
    for path in paths:
        profile = read_profile(path)
        for name, value in asdict(profile).items():
            before, other = said.setdefault(name, (value, path)) if value is not None else (None, path)
            if before != value:
                raise ModelError(
                    f"{name} is {before!r} in {other / PROFILE_FILE} and {value!r} in {path / PROFILE_FILE}: "
                    "their mean would talk like neither"
                )
        common = common.over(profile)
    return common


def mean(adapters: Sequence[Adapter], shares: Sequence[float]) -> dict[str, Factors]:
    """{layer: factors of the exact mean}, in float64, with scale 1; a layer an adapter lacks is no change."""
    layers = sorted({name for one in adapters for name in one.factors})
    return {name: _side_by_side(name, adapters, shares) for name in layers}


def _side_by_side(layer: str, adapters: Sequence[Adapter], shares: Sequence[float]) -> Factors:
    parts = [
        (share, one.factors[layer])
        for share, one in zip(shares, adapters, strict=True)
        if layer in one.factors
    ]
    a = torch.cat([factors.a.double() for _, factors in parts])
    b = torch.cat([share * factors.scale * factors.b.double() for share, factors in parts], dim=1)
    return Factors(a, b)


def truncated(factors: Factors, rank: int) -> Factors:
    """The nearest factors of at most `rank`, the singular values' roots in both; scale 1.

    The difference itself is never formed: what its singular values are is in the factors' triangles.
    """
    if rank < 1:
        raise UsageError(f"rank must be at least 1, got {rank}")
    if factors.rank <= rank:
        return factors
    left, upper = torch.linalg.qr(factors.scale * factors.b.double())
    right, lower = torch.linalg.qr(factors.a.double().T)
    u, sizes, vt = torch.linalg.svd(upper @ lower.T)
    roots = sizes[:rank].sqrt()
    kept = len(roots)  # no more than the layer is wide
    return Factors(roots[:, None] * (vt[:kept] @ right.T), (left @ u[:, :kept]) * roots)


def relative_error(exact: Mapping[str, Factors], saved: Mapping[str, Factors]) -> float:
    """‖saved − exact‖ / ‖exact‖ over all layers of `exact`; 0 where that changes nothing."""
    apart = math.hypot(*(_norm(_difference(one, saved[name])) for name, one in exact.items()))
    whole = math.hypot(*(_norm(one) for one in exact.values()))
    return apart / whole if whole else 0.0


def _difference(one: Factors, other: Factors) -> Factors:
    a = torch.cat([one.a.double(), other.a.double()])
    return Factors(a, torch.cat([one.scale * one.b.double(), -other.scale * other.b.double()], dim=1))


def _norm(factors: Factors) -> float:
    """Frobenius norm of the difference, from the triangles of its factors: Gram matrices would halve the
    digits."""
    upper = torch.linalg.qr(factors.b.double(), mode="r").R
    lower = torch.linalg.qr(factors.a.double().T, mode="r").R
    return abs(factors.scale) * float(torch.linalg.matrix_norm(upper @ lower.T))
