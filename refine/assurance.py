"""How sure a draft was of itself, by the log-probabilities it was written with, and a gate that trusts it.

Not every draft is worth a check. The gate skips the check of a draft whose assurance is over a threshold
that was calibrated on tasks with known answers (`strop.refine.calibrate`); nothing about it is universal, so
it is made for one model and says for which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from strop.agent.answer import Draft
from strop.refine.check import is_readable
from strop.tools.errors import DataError
from strop.tools.files import read_json, write_json


class Statistic(StrEnum):
    """One number for the log-probabilities of a draft's ids; larger is surer."""

    MEAN = "mean"
    """Their mean."""
    LEAST = "least"
    """The least of them: one doubtful id is enough."""


def assurance(draft: Draft, statistic: Statistic) -> float | None:
    """None for a draft without log-probabilities, or one that cannot be served."""
    if not draft.logprobs or not is_readable(draft):
        return None
    return min(draft.logprobs) if statistic is Statistic.LEAST else sum(draft.logprobs) / len(draft.logprobs)


@dataclass(frozen=True, slots=True)
class Gate:
    """See the module."""

    statistic: Statistic
    threshold: float
    """Least assurance, in nats, of a draft that goes unchecked."""
    model: str = ""
    """Name of the model it was calibrated for."""
    weights: str = ""
    """What tells that model from others of its name (`strop.agent.policy.Policy.weights`)."""

    def opens(self, draft: Draft) -> bool:
        """Whether `draft` needs no check."""
        sure = assurance(draft, self.statistic)
        return sure is not None and sure >= self.threshold


def read_gate(path: Path) -> Gate:
    """Raises DataError naming the file and what is wrong in it."""
    row = read_json(path)
    try:
        return _gate_of(row)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no gate of `strop calibrate` ({type(error).__name__}: {error})") from error


def _gate_of(row: Mapping[str, Any]) -> Gate:
    return Gate(Statistic(row["statistic"]), float(row["threshold"]), str(row["model"]), str(row["weights"]))


def write_gate(path: Path, gate: Gate) -> None:
    """The inverse of `read_gate`. Raises RunError."""
    write_json(path, asdict(gate))
