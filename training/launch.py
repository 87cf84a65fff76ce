"""A preference training in processes of its own: what a round does where its configuration names a launcher.

The round writes an order and runs ``LAUNCHER -m strop.training.launch ORDER.json``, with as many processes on
as many machines as the launcher starts. Each of them carries out the order, which is how they train together
(`strop.training.ranks`); who computes does not change what is computed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from strop.agent.engines.children import end_with_parent
from strop.tools.errors import RunError, StropError, UsageError
from strop.tools.files import read_json, write_json
from strop.training.datasets import read_pairs
from strop.training.dpo import DpoConfig, train_dpo
from strop.training.ranks import Ranks

GRACE = 60.0
"""Seconds a launcher has to end its processes when the round is interrupted."""


@dataclass(frozen=True, slots=True)
class Order:
    """A preference training to be carried out, here or elsewhere."""

    model_path: Path
    """Checkpoint directory."""
    model_name: str
    """Recorded as the adapter's base model."""
    pairs: Path
    """``pairs.jsonl``; every row must be sound."""
    out: Path
    """The adapter's place."""
    config: DpoConfig
    base_adapter: Path | None = None
    """Adapter that training goes on from."""
    track: tuple[str, ...] = ()
    """Trackers, by name."""
    screening: Mapping[str, Any] = field(default_factory=dict)
    """What the data were compared with, as the summary has it."""

    def carry_out(self) -> None:
        """Train, in this process. Raises RunError for a bad row, and what `train_dpo` does."""
        rows, bad = read_pairs(self.pairs)
        if bad:
            raise RunError(f"{self.pairs}:{bad[0].line}: {bad[0].reason}")
        train_dpo(
            self.model_path,
            rows,
            self.out,
            self.config,
            base_adapter=self.base_adapter,
            model_name=self.model_name,
            track=self.track,
            screening=self.screening,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; paths are absolute, for a launcher may start elsewhere."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("model_path", "pairs", "out")}
        base = None if self.base_adapter is None else str(self.base_adapter.absolute())
        rest = {"model_name": self.model_name, "config": asdict(self.config), "track": list(self.track)}
        return {**paths, **rest, "base_adapter": base, "screening": dict(self.screening)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        base = row["base_adapter"]
        return cls(
            model_path=Path(row["model_path"]),
            model_name=row["model_name"],
            pairs=Path(row["pairs"]),
            out=Path(row["out"]),
            config=DpoConfig(**row["config"]),
            base_adapter=None if base is None else Path(base),
            track=tuple(row["track"]),
            screening=row["screening"],
        )


async def launch(launcher: Sequence[str], order: Order, folder: Path) -> None:
    """Have the processes that `launcher` starts carry out `order`, whose file lies in `folder` meanwhile.

    Raises UsageError where there is no such launcher, RunError with the first error of a process, or with the
    launcher's exit status where none left word. Interrupted, it ends what it has started.
    """
    program = _program(launcher[0])
    file = folder / "order.json"
    failure = _failure(file)
    failure.unlink(missing_ok=True)
    write_json(file, order.to_json())
    process = await asyncio.create_subprocess_exec(
        program,
        *launcher[1:],
        *("-m", __name__, str(file.absolute())),
        start_new_session=True,  # a Ctrl-C is the round's to pass on
        preexec_fn=end_with_parent,
    )
    try:
        status = await process.wait()
    finally:
        await _ended(process)
    if status:
        raise RunError(_reason(failure, launcher, status))
    file.unlink()


def _program(name: str) -> str:
    """Where a launcher is: on the path, or beside this Python. Raises UsageError."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise UsageError(f"train_with.launch: there is no program {name!r}")
    return found


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a launcher that is still there, and with it its processes."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _failure(order: Path) -> Path:
    return order.with_name("failure.json")


def _reason(failure: Path, launcher: Sequence[str], status: int) -> str:
    if failure.exists():
        return str(read_json(failure)["error"])
    return (
        f"{launcher[0]} ended with status {status} before the adapter was finished, and what it printed "
        "is above; whole checkpoints are kept, and the same command goes on from them"
    )


def main(file: Path) -> None:
    """One of the launcher's processes."""
    end_with_parent(signal.SIGKILL)
    try:
        Order.from_json(read_json(file)).carry_out()
    except StropError as error:
        # The first to fail knows why; the others only that it is gone.
        if not _failure(file).exists():
            write_json(_failure(file), {"error": str(error)})
        sys.exit(f"error: {error}")
    Ranks.here().leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
