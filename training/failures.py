"""A training whose machine gives out ends with one line that says what to do, not with a library's trace.

An edge that imports torch, for the types of its errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from strop.tools.errors import RunError

LOST = ("closed by peer", "reset by peer", "NCCL error: remote process exited")
"""What gloo and NCCL say of a process that is gone."""


@contextmanager
def clear_failures(work: Path) -> Iterator[None]:
    """Turn a full disk, exhausted memory and a lost process into RunErrors; let the rest pass.

    `work` is where checkpoints lie.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(_memory(work)) from error
    except MemoryError as error:
        raise RunError(_memory(work)) from error
    except OSError as error:
        raise RunError(_disk(work, error.strerror or str(error))) from error
    except Exception as error:  # torch and safetensors have no types of their own for these
        text = str(error)
        if "can't allocate memory" in text or "not enough memory" in text:
            raise RunError(_memory(work)) from error
        if any(sign in text for sign in LOST):
            raise RunError(
                f"another process of this training has ended; whole checkpoints in {work} are kept, and the "
                "same command goes on from them"
            ) from error
        if type(error).__name__ == "SafetensorError" or "PytorchStreamWriter" in text or "iostream" in text:
            raise RunError(_disk(work, text.splitlines()[0])) from error
        raise


def _memory(work: Path) -> str:
    return (
        f"out of memory while training; whole checkpoints in {work} are kept, and the same command goes on "
        "from them. Free memory, or lower micro_batch_size or max_length, or set gradient_checkpointing"
    )


def _disk(work: Path, reason: str) -> str:
    kept = "Whole checkpoints are kept; make room there, and the same command goes on"
    return f"cannot write to {work}: {reason}. {kept}"
