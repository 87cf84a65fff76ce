"""The processes that train one adapter together, as ``accelerate launch`` and ``torchrun`` start them.

All of them compute. The first alone takes the job's lock, keeps its log, shows progress and gives the adapter
its place; what it finds or makes it tells the others. A job's directory lies where all of them see it.

Not covered: processes that MPI starts, and a training over several machines without a common file system.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

from strop.tools.errors import RunError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    """Counted from 0 over all machines."""
    world: int = 1
    """How many there are."""

    @classmethod
    def here(cls) -> Self:
        """By the environment that a launcher gives its processes; alone where there is none."""
        # Clusters set WORLD_SIZE in shells, too; LOCAL_RANK is the launcher's.
        if "LOCAL_RANK" not in os.environ:
            return cls()
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def leave(self) -> None:
        """End this process, done with all it had to do, where there are several.

        Else one now and then aborts while torch takes gloo down (docs/log.md), and is said to have failed.
        """
        if self.world > 1:
            atexit._run_exitfuncs()  # trackers send what they still hold
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.world > 1:
            _joined().wait_for_everyone()

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in every process; it is called nowhere else.

        What it raises there is raised there, and a RunError that says so elsewhere. The value must be one
        that can be pickled.
        """
        if self.world == 1:
            return make()
        value, failure = None, ""
        if self.first:
            try:
                value = make()
            except Exception as error:
                self._tell(None, str(error) or type(error).__name__)
                raise
        value, failure = self._tell(value, "")
        if failure:
            raise RunError(f"the first process of this training gave up: {failure}")
        return cast(T, value)

    def of_all(self, values: list[T]) -> list[T]:
        """What every process has, in every process, that of the first coming first; all of them call it."""
        if self.world == 1:
            return values
        from accelerate.utils import gather_object

        _joined()
        return cast(list[T], gather_object(values))

    def _tell(self, value: Any, failure: str) -> tuple[Any, str]:
        """(value, failure) of the first process, in every process."""
        from accelerate.utils import broadcast_object_list

        _joined()
        told = broadcast_object_list([value, failure])
        return told[0], told[1]


def _joined() -> Any:
    """accelerate's state, its process group begun: with the trainers' own choice of device and time limit."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
