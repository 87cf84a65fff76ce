"""What the trainers have in common: how long, how fast, how much of it fits at once, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from strop.tools.bounds import require
from strop.tools.errors import UsageError

DTYPES = ("auto", "float32", "bfloat16")
"""What `Recipe.dtype` may be."""


OPEN: Any = None
"""Default of a setting that others decide."""
_HOW = ("save_steps", "gradient_checkpointing")
"""Settings that an interrupted training may go on with another value of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train a LoRA adapter (arXiv 2106.09685). Raises UsageError where a value is out of range."""

    learning_rate: float = 1e-4
    """Peak of the schedule: linear warm-up, then a cosine down to 0."""
    epochs: float = 1.0
    """Times every example is seen; may be a fraction."""
    batch_size: int = 8
    """Examples an optimiser step, of all processes together."""
    micro_batch_size: int = 1
    """Of these, how many go through the model at once; divides `batch_size`. Above 1, those with a common
    prompt are kept next to each other, for they compute it once; memory grows with prompts that differ."""
    max_length: int = 2048
    """Most ids of prompt and answer together; longer examples are refused, never cut."""
    warmup: float = 0.1
    """Part of all steps, in [0, 1), over which the learning rate rises."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay."""
    dtype: str = "auto"
    """Number format of weights and products: ``float32``, ``bfloat16``, or ``auto``, which is bfloat16 where
    the GPU, or the CPU (AMX, AVX-512 BF16), multiplies such matrices in hardware. The adapter itself is
    float32."""
    seed: int = 0
    """Of the adapter's first weights and the order of examples."""
    save_steps: int = 5
    """Optimiser steps between checkpoints: the most a SIGKILL costs."""
    rank: int = 16
    """Of the adapter; ignored where training goes on from an existing one."""
    alpha: int = OPEN
    """The adapter's output is scaled by `alpha / rank`; twice the rank where it is not given."""
    shared_prefix: bool = True
    """Compute prefixes that sequences of a micro-batch share once (`strop.training.shared_prefix`)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: a third slower, for much less memory."""

    def __post_init__(self) -> None:
        if self.alpha is OPEN:
            object.__setattr__(self, "alpha", 2 * self.rank)
        positive = (
            "learning_rate",
            "epochs",
            "batch_size",
            "micro_batch_size",
            "max_grad_norm",
            "save_steps",
        )
        require(self, [(name, getattr(self, name) > 0, "above 0") for name in positive])
        bounds = (
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("rank", self.rank >= 1, "at least 1"),
            ("alpha", self.alpha >= 1, "at least 1"),
            ("max_length", self.max_length >= 2, "at least 2"),
            ("warmup", 0 <= self.warmup < 1, "in [0, 1)"),
            ("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
            ("seed", 0 <= self.seed < 2**32, "in [0, 2**32)"),
        )
        require(self, bounds)
        if self.batch_size % self.micro_batch_size:
            raise UsageError(
                f"micro_batch_size {self.micro_batch_size} must divide batch_size {self.batch_size}"
            )

    def decides(self) -> dict[str, Any]:
        """The settings that the outcome depends on: all but those that only say how it is come by."""
        return {name: value for name, value in asdict(self).items() if name not in _HOW}

    def micro_batches(self, world: int) -> int:
        """Micro-batches an optimiser step for each of `world` processes.

        Raises UsageError where a step's examples cannot be shared out evenly.
        """
        at_once = self.micro_batch_size * world
        count, rest = divmod(self.batch_size, at_once)
        if rest:
            raise UsageError(
                f"batch_size {self.batch_size} is of all processes together and cannot be shared out to "
                f"{world} with micro_batch_size {self.micro_batch_size}: make it a multiple of {at_once}"
            )
        return count


@dataclass(frozen=True, slots=True)
class Refused:
    """An example that was not trained on."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What came of a training; also `train_summary.json` beside the adapter."""

    adapter: Path
    """Directory with `adapter_config.json` and `adapter_model.safetensors`."""
    examples: int
    """Trained on, each `Recipe.epochs` times."""
    steps: int
    """Optimiser steps."""
    seconds: float
    """Of training, all starts together; loading and reference log-probabilities excluded."""
    reference_seconds: float
    """Spent on reference log-probabilities by the start that computed them; 0 where there are none."""
    device: str
    """``cpu`` or ``cuda``, and the number format: ``cpu float32``; before it the processes, where they were
    several."""
    shared_prefix: str
    """``on``, or why every sequence was computed by itself."""
    resumed_from: int
    """Step of the checkpoint the last start began at; 0 for an unbroken training."""
    peak_memory: int
    """Bytes: of the GPU where there is one, else of the process; of the first, where they were several."""
    last: Mapping[str, float] = field(default_factory=dict)
    """The last row of the log."""
    refused: tuple[Refused, ...] = ()
    screening: Mapping[str, Any] = field(default_factory=dict)
    """Which benchmarks the data were compared with and what was found (`strop.tools.screening`); empty where
    whoever trained did not say."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; the adapter's own place is left out, for the directory may move."""
        row = {name: getattr(self, name) for name in self.__slots__ if name not in ("adapter", "refused")}
        return row | {"last": dict(self.last), "refused": [[one.id, one.reason] for one in self.refused]}

    @classmethod
    def from_json(cls, adapter: Path, row: Mapping[str, Any]) -> TrainSummary:
        """The inverse of `to_json`."""
        refused = tuple(Refused(name, reason) for name, reason in row["refused"])
        return cls(adapter=adapter, **{**row, "refused": refused})
