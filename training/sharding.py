"""Models that several processes hold in parts while they train: FSDP's, and DeepSpeed's ZeRO.

Until training begins each process has the whole model, and again for the adapter that it saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strop.tools.errors import UsageError


def is_sharded(trainer: Any) -> bool:
    """Whether each process is to hold but a part of the model, or DeepSpeed holds it."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


@contextmanager
def still_whole(trainer: Any) -> Iterator[None]:
    """For passes through the model before training begins: nothing is to be gathered for them.

    Where a configuration says ZeRO-3, TRL asks the head's weights where their parts are; they have none yet.
    """
    plugin = getattr(trainer.args, "deepspeed_plugin", None)
    if plugin is None:
        yield
        return
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        plugin.set_deepspeed_weakref()


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """A trained model's weights put together, for the process that saves; None where they never were apart.

    All processes take part, and call it.
    """
    return trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_sharded(trainer) else None


def require_same_holding(trainer: Any, checkpoint: Path) -> None:
    """Raises UsageError where a checkpoint's optimiser is held otherwise than this training holds its own.

    Left to themselves the trainers begin with a fresh optimiser and schedule then, or end in a traceback.
    """
    before, now = held_by_checkpoint(checkpoint), _held_by(trainer)
    if before != now:
        raise UsageError(
            f"{checkpoint} was written by {before}, and this is {now}: its optimiser's state cannot be read. "
            f"Go on as it was begun, or delete {checkpoint.parent}"
        )


WHOLE, FSDP = "processes that each have the whole model", "FSDP"


def held_by_checkpoint(checkpoint: Path) -> str:
    """What kind of training has written it, by the names of its files."""
    if parts := len(list(checkpoint.glob("*/zero_pp_rank_*_optim_states.pt"))):
        weights = any(checkpoint.glob("*/zero_pp_rank_*_model_states.pt"))
        return _zero(3 if weights else 2, parts)
    # One file with a full state dict, a directory with a sharded one.
    by_fsdp = (checkpoint / "optimizer.bin").exists() or any(checkpoint.glob("optimizer_*/"))
    return FSDP if by_fsdp else WHOLE


def _held_by(trainer: Any) -> str:
    if trainer.is_deepspeed_enabled:
        return _zero(trainer.args.deepspeed_plugin.zero_stage, trainer.args.world_size)
    return FSDP if trainer.is_fsdp_enabled else WHOLE


def _zero(stage: int, processes: int) -> str:
    """Each process writes its part, and as many have to read it again."""
    return f"DeepSpeed's ZeRO-{stage} in {processes} processes"
