"""A checkpoint written anew with other weights, some rows at a time: no model is ever in memory.

The files have the names, the tensors and their order of the checkpoint they come from; the safetensors format
is as `strop.agent.weights` says.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

import torch
from safetensors import SafetensorError, safe_open

from strop.agent.weights import INDEX, StoredTensor, stored_tensors
from strop.tools.errors import ModelError, RunError
from strop.tools.files import read_json, write_json

BLOCK = 1 << 22
"""Numbers that are worked on at once, unless told otherwise: 32 MiB in float64."""
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Number formats in which weights can be added to."""
DTYPES = {"float32": "F32", "bfloat16": "BF16"}
"""What a checkpoint can be rewritten in."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")

Change: TypeAlias = Callable[[str, slice, torch.Tensor], torch.Tensor]
"""Of a tensor's name, which of its rows, and those rows as they are: the rows as they are to be, in float64
where they are numbers to calculate with, or the very same object where nothing changes."""


class Weights(AbstractContextManager["Weights"]):
    """The tensors of a checkpoint, read a few rows at a time. Raises ModelError, as `stored_tensors` does."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.tensors: Mapping[str, StoredTensor] = stored_tensors(directory)
        self._open: dict[Path, Any] = {}
        self._stack = ExitStack()

    def rows(self, name: str, rows: slice) -> torch.Tensor:
        """Some rows of a tensor; a single number is one row."""
        stored = self.tensors[name]
        try:
            if stored.file not in self._open:
                opened = self._stack.enter_context(safe_open(stored.file, framework="pt"))
                self._open[stored.file] = opened
            file = self._open[stored.file]
            tensor: torch.Tensor = (
                file.get_slice(name)[rows] if stored.shape else file.get_tensor(name).reshape(1)
            )
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{stored.file}: {name} cannot be read: {error}") from error
        return tensor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self


@dataclass(slots=True)
class Rounding:
    """How much of a change a number format keeps."""

    moved: float = 0.0
    """Sum of squares of the change."""
    lost: float = 0.0
    """Sum of squares of what is saved less what should be."""

    @property
    def error(self) -> float:
        """‖saved − exact‖ / ‖exact − before‖ over all weights that change, Frobenius norms."""
        return math.sqrt(self.lost / self.moved) if self.moved else 0.0


def rewrite(
    source: Weights, out: Path, change: Change, dtype: str | None = None, *, block: int = BLOCK
) -> Rounding:
    """Fill the directory `out` with the checkpoint `source`, its weights changed, `block` numbers at once.

    Weights keep their number format, or get `dtype`, a name in `DTYPES`. Configuration, tokenizer and
    whatever else lies beside the weights is copied. Raises ModelError where a tensor cannot be read or does
    not fit its format, RunError where the disk refuses.
    """
    rounding = Rounding()
    files: dict[Path, list[str]] = {}
    for name, stored in source.tensors.items():
        files.setdefault(stored.file, []).append(name)
    try:
        for file, names in files.items():
            kinds = {name: _target(source.tensors[name].dtype, dtype) for name in names}
            with (out / file.name).open("wb") as stream:
                _write_header(stream, {name: source.tensors[name] for name in names}, kinds)
                for name in names:
                    for rows in _blocks(source.tensors[name].shape, block):
                        stream.write(_changed(source, name, rows, change, kinds[name], rounding))
                stream.flush()
                os.fsync(stream.fileno())
        _copy_beside(source, out, dtype)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
    return rounding


def _target(stored: str, dtype: str | None) -> str:
    return DTYPES[dtype] if dtype and stored in FLOATS else stored


def _write_header(stream: IO[bytes], tensors: Mapping[str, StoredTensor], kinds: Mapping[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, stored in tensors.items():
        end = place + _size(stored, kinds[name])
        header[name] = {"dtype": kinds[name], "shape": stored.shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that tensors begin at a multiple of eight
    stream.write(len(text).to_bytes(8, "little") + text)


def _size(stored: StoredTensor, kind: str) -> int:
    """Bytes of a tensor in the number format `kind`."""
    return stored.size if kind == stored.dtype else math.prod(stored.shape) * FLOATS[kind].itemsize


def _blocks(shape: tuple[int, ...], block: int) -> Iterator[slice]:
    """Rows that are worked on together: as many as have `block` numbers, and at least one."""
    count = shape[0] if shape else 1
    step = max(1, block // max(1, math.prod(shape[1:])))
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))


def _changed(source: Weights, name: str, rows: slice, change: Change, kind: str, rounding: Rounding) -> bytes:
    stored = source.rows(name, rows)
    exact = change(name, rows, stored)
    saved = exact.to(FLOATS[kind]) if kind in FLOATS else exact
    if exact is not stored:
        if not torch.isfinite(saved).all():
            raise ModelError(f"{name}: the new weights are not finite in {kind}")
        rounding.moved += float((exact - stored.double()).square().sum())
        rounding.lost += float((saved.double() - exact).square().sum())
    data: bytes = saved.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def _copy_beside(source: Weights, out: Path, dtype: str | None) -> None:
    """Everything but the weights; what says in which format they are is put right."""
    for file in source.directory.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHTS):
            shutil.copyfile(file, out / file.name)
    if (source.directory / INDEX).is_file():
        index = read_json(source.directory / INDEX)
        size = sum(_size(one, _target(one.dtype, dtype)) for one in source.tensors.values())
        metadata = {**(index.get("metadata") or {}), "total_size": size}
        write_json(out / INDEX, {**index, "metadata": metadata})
    if dtype:
        config = {key: value for key, value in read_json(out / "config.json").items() if key != "torch_dtype"}
        write_json(out / "config.json", {**config, "dtype": dtype})
