"""``together.py`` under FSDP on CPUs, which accelerate 1.15 has for GPUs only: it trains with DDP instead.

torch itself shards over gloo. So accelerate is told that its processes are such as have GPUs, and everything
else is as it is there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from strop.training.ranks import Ranks
from tests.training.together import train


def claim_gpus() -> None:
    """Have every state that accelerate makes from now on call gloo's processes MULTI_GPU."""
    begin = PartialState.__init__

    def begin_and_claim(state: Any, *args: Any, **kwargs: Any) -> None:
        begin(state, *args, **kwargs)
        if state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_and_claim


if __name__ == "__main__":
    claim_gpus()
    train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
    assert AcceleratorState().distributed_type == DistributedType.FSDP, "it was not sharded after all"
    Ranks.here().leave()
