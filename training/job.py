"""The directory a training grows in, until its adapter is whole and takes its final place.

OUT.part/job.json              what is trained on what, as a hash: another job does not go on here
OUT.part/reference.jsonl       log-probabilities under the reference, a row a pair (DPO); reference-N.jsonl of
                               process N, where several train together
OUT.part/train_log.jsonl       a row an optimiser step
OUT.part/checkpoint-N/         with whole.json, written last: the size of every file
OUT.part/tensorboard/          what that tracker is told, where it is asked for; goes with the adapter
OUT/                           the adapter, its log and its summary; appears in one rename
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.checkpoint import fingerprint
from strop.agent.lock import held
from strop.agent.profile import Profile
from strop.tools.errors import DataError, RunError, UsageError
from strop.tools.files import read_json, read_jsonl, write_json, write_jsonl
from strop.training.ranks import Ranks
from strop.training.recipe import TrainSummary

MARK = "whole.json"
SUMMARY = "train_summary.json"


@dataclass(frozen=True, slots=True)
class Base:
    """What a training starts from."""

    path: Path
    """Checkpoint directory."""
    name: str
    """Recorded as the adapter's base model."""
    adapter: Path | None
    """Adapter that training goes on from, if any."""
    teaches: Profile | None = None
    """What the training data teach the model about how it talks."""


class TrainJob:
    """One training and where it stands."""

    def __init__(self, out: Path, identity: Mapping[str, Any]):
        """Go on with the job of this identity, or begin it.

        `identity` is plain JSON: everything the outcome depends on. Raises UsageError where `out` or `work`
        holds something else, RunError where the disk refuses.
        """
        out = out.absolute()
        self.out = out
        self.work = out.with_name(out.name + ".part")
        self.fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.ranks = Ranks()
        """The processes that work on it; only `opened` makes them more than one."""
        self.discarded = False
        """Whether another job had begun in `work`, without a checkpoint yet, and was deleted."""
        self._refuse_other_content()
        if self.finished:
            shutil.rmtree(self.work, ignore_errors=True)
        else:
            self._begin()

    @classmethod
    @contextmanager
    def opened(cls, out: Path, identity: Mapping[str, Any]) -> Iterator[TrainJob]:
        """The job, held against other processes than those that train together.

        Raises RunError where one works on it, and what making a job raises.
        """
        ranks, out = Ranks.here(), out.absolute()
        with ExitStack() as stack:

            def begin() -> TrainJob:
                stack.enter_context(held(out.with_name(f".{out.name}.lock"), f"a training in {out}"))
                return cls(out, identity)

            job = ranks.from_first(begin)
            job.ranks = ranks
            yield job

    @property
    def finished(self) -> bool:
        """Whether `out` holds this very job's adapter."""
        return (self.out / SUMMARY).exists() and self._summary()["job"] == self.fingerprint

    @property
    def log_path(self) -> Path:
        return self.work / "train_log.jsonl"

    @property
    def tracked(self) -> Path:
        return self.work / "tensorboard"

    @property
    def reference_path(self) -> Path:
        """Where this process writes what it computes of the reference."""
        return self.work / ("reference.jsonl" if self.ranks.first else f"reference-{self.ranks.rank}.jsonl")

    def number_format(self, here: str) -> str:
        """The number format this training began with; `here` where it begins now. What ``auto`` means depends
        on the machine, and neither steps nor reference may be of two formats."""
        mark = self.work / "job.json"
        known = read_json(mark)
        if "dtype" not in known:
            write_json(mark, known | {"dtype": here})
        return str(known.get("dtype", here))

    def reference(self) -> dict[int, tuple[float, float]]:
        """Log-probabilities of chosen and rejected under the reference, by row, whichever process has
        computed them in this start or an earlier one."""
        files = sorted(self.work.glob("reference*.jsonl"))
        rows = (row for file in files for _, row in read_jsonl(file)[0])
        return {row["row"]: (row["chosen"], row["rejected"]) for row in rows}

    def summary(self) -> TrainSummary:
        """What came of the finished job."""
        row = self._summary()
        return TrainSummary.from_json(self.out, {key: value for key, value in row.items() if key != "job"})

    def newest_checkpoint(self) -> Path | None:
        """The last whole checkpoint; unfinished ones are deleted, and log rows after it dropped."""
        newest: Path | None = None
        for directory in sorted(self.work.glob("checkpoint-*"), key=step_of):
            if is_whole(directory):
                newest = directory
            else:
                shutil.rmtree(directory)
        self._rewind_log(step_of(newest) if newest else 0)
        return newest

    def log_rows(self) -> list[dict[str, Any]]:
        """Rows of the log, one an optimiser step, in order."""
        return [row for _, row in read_jsonl(self.log_path)[0]] if self.log_path.exists() else []

    def publish(self, adapter: Path, summary: TrainSummary) -> None:
        """Give the finished `adapter` directory its place, and drop everything that led to it."""
        try:
            shutil.copyfile(self.log_path, adapter / self.log_path.name)
            if self.tracked.exists():
                os.rename(self.tracked, adapter / self.tracked.name)
            write_json(adapter / SUMMARY, summary.to_json() | {"job": self.fingerprint})
            if self.out.exists():
                self.out.rmdir()
            os.rename(adapter, self.out)
            shutil.rmtree(self.work)
        except OSError as error:
            raise RunError(f"cannot write {self.out}: {error.strerror or error}") from error

    def _begin(self) -> None:
        mark = self.work / "job.json"
        if self.work.exists() and not (mark.exists() and read_json(mark).get("job") == self.fingerprint):
            self._refuse_to_delete(mark)
            shutil.rmtree(self.work)
            self.discarded = True
        if not mark.exists():
            write_json(mark, {"job": self.fingerprint})

    def _refuse_to_delete(self, mark: Path) -> None:
        """Raises UsageError where `work` holds more than the beginning of another training."""
        elsewhere = "name another directory or delete it"
        if self.work.is_file() or (not mark.exists() and any(self.work.iterdir())):
            raise UsageError(f"{self.work}, where this training would work, is something else: {elsewhere}")
        if steps := [step_of(path) for path in self.work.glob("checkpoint-*") if is_whole(path)]:
            done = f"{max(steps)} steps of another training, with other data or settings"
            raise UsageError(f"{self.work} holds {done}: {elsewhere}")

    def _refuse_other_content(self) -> None:
        if self.out.exists() and not self.finished and (self.out.is_file() or any(self.out.iterdir())):
            raise UsageError(f"{self.out} holds something else already: name another directory or delete it")

    def _summary(self) -> dict[str, Any]:
        row = read_json(self.out / SUMMARY)
        if not isinstance(row, dict):
            raise DataError("not a training summary", path=self.out / SUMMARY)
        return row

    def _rewind_log(self, step: int) -> None:
        rows = self.log_rows()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            write_jsonl(self.log_path, kept)


def identity(
    kind: str, config: Mapping[str, Any], data: str, model: Path, adapter: Path | None
) -> dict[str, Any]:
    """Everything that the outcome of a training depends on, as `TrainJob` wants it. Raises ModelError."""
    return {
        "kind": kind,
        "config": dict(config),
        "data": data,
        "model": fingerprint(model),
        "adapter": fingerprint(adapter) if adapter else None,
    }


def mark_whole(checkpoint: Path) -> None:
    """Write down the size of every file of a checkpoint that has just been finished."""
    write_json(checkpoint / MARK, _sizes(checkpoint))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was finished and every file still has its size."""
    try:
        sizes = read_json(checkpoint / MARK)
    except DataError:
        return False
    return bool(sizes == _sizes(checkpoint))


def step_of(checkpoint: Path) -> int:
    """Optimiser steps done at a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def digest(items: Iterable[Any]) -> str:
    """sha256 over plain JSON items, in order."""
    sha = hashlib.sha256()
    for item in items:
        sha.update(json.dumps(item).encode())
    return sha.hexdigest()


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARK)
    return {str(path.relative_to(checkpoint)): path.stat().st_size for path in sorted(files)}
