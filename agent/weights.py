"""Weight files as they lie on disk: what is in them, and whether they are whole.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON (name → type, shape, place of
each tensor) and the tensors' bytes, in this order and nothing else
(the safetensors format, https://github.com/huggingface/safetensors). Torch is not needed to look at that.
"""

from __future__ import annotations

import json
from pathlib import Path

from strop.tools.errors import ModelError

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


def _header(file: Path) -> tuple[dict[str, dict[str, list[int]]], int]:
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
