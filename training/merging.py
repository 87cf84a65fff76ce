"""An adapter added into its model's weights: one checkpoint that any engine loads as it is.

What `strop.agent.engines.merge` does for an engine on CPUs, in float32, this does for keeps, and some rows
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from strop.agent.checkpoint import require_checkpoint
from strop.agent.profile import Profile, read_profile, write_profile
from strop.tools.errors import UsageError
from strop.tools.files import whole_directory
from strop.training.factors import read_adapter
from strop.training.rewriting import DTYPES, Weights, rewrite
from strop.training.transfer import refuse_misfit


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it."""

    layers: int
    error: float
    """‖saved − exact‖ / ‖difference‖: what rounding the sum took of the adapter's difference."""


def merge_adapter(adapter: Path, model: Path, out: Path, *, dtype: str | None = None) -> Merged:
    """Write the checkpoint `model` with the adapter's difference added in to `out`.

    Sums are made in float64 and rounded once, to each tensor's own number format or to `dtype`, ``float32``
    or ``bfloat16``. Raises ModelError where the two cannot be read or do not fit together, UsageError where
    `out` holds something, RunError where the disk refuses.
    """
    if dtype not in (None, *DTYPES):
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    require_checkpoint(model)
    read = read_adapter(adapter)
    profile = read_profile(adapter).over(read_profile(model))
    with Weights(model) as weights, whole_directory(out) as growing:
        refuse_misfit(read, weights)

        def added(name: str, rows: slice, stored: torch.Tensor) -> torch.Tensor:
            factors = read.factors.get(name.removesuffix(".weight"))
            return stored if factors is None else stored.double() + factors.delta(rows)

        rounding = rewrite(weights, growing, added, dtype)
        if profile != Profile():
            write_profile(growing, profile)
    return Merged(len(read.factors), rounding.error)
