"""Weight files as they lie on disk: what is in them, and whether they are whole.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON (name → type, shape, place of
each tensor) and the tensors' bytes, in this order and nothing else
(the safetensors format, https://github.com/huggingface/safetensors). Torch is not needed to look at that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json

INDEX = "model.safetensors.index.json"
"""Says which shard of a checkpoint holds which tensor."""

_LONGEST_HEADER = 1 << 27
"""Bytes; a length beyond this is no header's."""


def tensor_names(file: Path) -> list[str]:
    """The tensors of one file. Raises ModelError where it is no safetensors file, or not a whole one."""
    header, begin = _header(file)
    try:
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        size = file.stat().st_size
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"{file} is no safetensors file: its header is damaged") from error
    if size != begin + end:
        raise ModelError(f"{file} is damaged: it has {size} bytes, and its header says {begin + end}")
    return list(tensors)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as it lies in a file."""

    file: Path
    dtype: str
    """In the format's words: ``F32``, ``BF16``, …"""
    shape: tuple[int, ...]
    size: int
    """Bytes."""


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """{name: tensor} of a checkpoint, file by file, each in the order its tensors lie in.

    Raises ModelError where its weights are not in whole safetensors files, or two files have one name.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(directory):
        tensor_names(file)  # says so where the file is damaged
        entries: dict[str, Any] = {n: e for n, e in _header(file)[0].items() if n != "__metadata__"}
        for name, entry in sorted(entries.items(), key=lambda item: tuple(item[1]["data_offsets"])):
            if name in found:
                raise ModelError(f"{directory}: {name} is both in {found[name].file.name} and {file.name}")
            begin, end = entry["data_offsets"]
            found[name] = StoredTensor(file, str(entry["dtype"]), tuple(entry["shape"]), end - begin)
    return found


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those its index names, or all. Raises ModelError."""
    index = directory / INDEX
    if index.is_file():
        try:
            return [directory / name for name in sorted(set(read_json(index)["weight_map"].values()))]
        except (DataError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index}: not an index of weight shards ({error}); fetch it again") from error
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{directory} has no *.safetensors: weights of another kind are not read here")
    return files


def _header(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The header, and where the tensors begin."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _LONGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} is no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise ModelError(f"{file} is no safetensors file: its header is no JSON object")
    return header, 8 + length
