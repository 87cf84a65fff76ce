"""What a checkpoint directory must hold to be one, and what tells it from others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from strop.agent.weights import tensor_names
from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json

_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TELLING = frozenset(
    {
        "adapter_config.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "strop.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    }
)
"""Files that decide what a model says, besides its weights."""
_SAMPLES, _BLOCK = 512, 2**16
"""Blocks of a large file that are looked at, and their bytes: 32 MiB, the most an adapter usually has."""
GGUF_MAGIC = b"GGUF"


def missing_parts(directory: Path) -> list[str]:
    """What a checkpoint directory lacks, each as a phrase for people; empty for a whole one."""
    missing = [] if _is_object(directory / "config.json") else ["config.json"]
    if not any(file for pattern in _WEIGHT_PATTERNS for file in directory.glob(pattern)):
        missing.append("weights (*.safetensors)")
    missing += [f"the shard {name}" for name in _absent_shards(directory)]
    missing += [
        f"a whole {file.name}" for file in sorted(directory.glob("*.safetensors")) if _is_broken(file)
    ]
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        missing.append("a tokenizer (tokenizer.json)")
    return missing


def _is_object(file: Path) -> bool:
    """Whether the file holds a JSON object."""
    try:
        return isinstance(read_json(file), dict)
    except DataError:
        return False


def _is_broken(file: Path) -> bool:
    try:
        tensor_names(file)
    except ModelError:
        return True
    return False


def _absent_shards(directory: Path) -> list[str]:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        shards = set(read_json(index)["weight_map"].values())
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index}: not an index of weight shards ({error}); fetch the file again") from error
    return sorted(name for name in shards if not (directory / name).is_file())


def require_checkpoint(directory: Path) -> None:
    """Raises ModelError naming what is missing where `directory` is no whole checkpoint."""
    if (directory / "adapter_config.json").is_file() and not (directory / "config.json").is_file():
        raise ModelError(f"{directory} is a LoRA adapter, not a model: pass it with --adapter")
    missing = missing_parts(directory)
    if missing:
        raise ModelError(f"{directory} is no whole checkpoint: it lacks {', '.join(missing)}")


def fingerprint(directory: Path) -> str:
    """16 hexadecimal digits that tell a checkpoint or adapter from any other, whatever it is called.

    Configuration, tokenizer and template count by their content. So do the weights of an adapter; of larger
    files `_SAMPLES` blocks do, since reading gigabytes takes longer than it is worth and training moves every
    block. Raises ModelError where a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(directory.iterdir()):
            if file.name in _TELLING or file.suffix in (".safetensors", ".bin"):
                digest.update(file.name.encode() + b"\0")
                digest.update(_content(file))
    except OSError as error:
        raise ModelError(f"{directory} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:16]


def _content(file: Path) -> bytes:
    """sha256 of a file's size and content, or of blocks evenly spread over a large one."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= _SAMPLES * _BLOCK:
            digest.update(stream.read())
        else:
            for number in range(_SAMPLES):
                stream.seek(number * (size - _BLOCK) // (_SAMPLES - 1))
                digest.update(stream.read(_BLOCK))
    return digest.digest()


def is_gguf(path: Path) -> bool:
    """Whether the file begins as GGUF files do. Raises ModelError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
