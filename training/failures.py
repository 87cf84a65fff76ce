"""A training whose machine gives out ends with one line that says what to do, not with a library's trace.

An edge that imports torch, for the types of its errors.
"""

from __future__ import annotations

import errno
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from strop.tools.errors import RunError

_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED")
"""What torch and CUDA's libraries say where they raise no error of memory's own type."""
_TORN = ("PytorchStreamWriter", "iostream", "inline_container")
"""What torch says of a file that it could not write to its end."""
LOST = ("closed by peer", "reset by peer", "NCCL error: remote process exited")
"""What gloo and NCCL say of a process that is gone."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What gave out."""

    name: str
    kept: str
    """What of it stays, and where: said of a path."""
    remedy: str
    """Against exhausted memory."""


TRAINING = Doing(
    "training",
    "whole checkpoints in {} are kept",
    "Free memory, or set gradient_checkpointing; with a lower micro_batch_size or max_length it begins anew",
)
MEASURING = Doing("measuring losses", "losses in {} are kept", "Free memory, or leave out the longest rows")


@contextmanager
def clear_failures(place: Path, doing: Doing = TRAINING) -> Iterator[None]:
    """Turn a full disk, exhausted memory, damage and a lost process into RunErrors; let the rest pass.

    `place` is where what is done already lies.
    """
    kept = doing.kept.format(place)
    go_on = f"{kept}, and the same command goes on from them"
    memory = f"out of memory while {doing.name}; {go_on}. {doing.remedy}"
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunError(memory) from error
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        raise RunError(_disk(place, kept, error.strerror or str(error))) from error
    except Exception as error:  # torch and safetensors have no types of their own for these
        text = str(error)
        if any(sign in text for sign in _NO_MEMORY):
            raise RunError(memory) from error
        if isinstance(error, pickle.UnpicklingError) or "PytorchStreamReader" in text:
            reason = f"the newest checkpoint in {place} cannot be read ({text.splitlines()[0]})"
            raise RunError(
                f"{reason}: delete it, and the same command goes on from the one before"
            ) from error
        if any(sign in text for sign in LOST):
            raise RunError(f"another process of this training has ended; {go_on}") from error
        if type(error).__name__ == "SafetensorError" or any(sign in text for sign in _TORN):
            raise RunError(_disk(place, kept, text.splitlines()[0])) from error
        raise


def _disk(place: Path, kept: str, reason: str) -> str:
    return f"cannot write to {place}: {reason}; {kept}. Make room there, and the same command goes on"
