"""Output rows of special tokens: which were ever trained?

A token's logit is its row of the output matrix times the last hidden state. Two tokens with one and the
same row always get the same logit: the model cannot prefer either, and no training that leaves the matrix
alone, as LoRA on the layers does, can change that. Rows start out equal (or next to equal) and part only by
being trained, so equal rows are untrained ones.

Not covered: rows that were never trained but started from different random values look trained here. The edge
that imports torch for reading weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.weights import tensor_names
from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json

SAME = 0.999
"""Rows whose cosine is above this are the same row."""
APART = 0.9
"""Rows whose cosine with every untrained row is below this were clearly trained."""
_HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_SPARE_ROWS = 64
"""Rows beyond the tokenizer's last id that are looked at: known to be untrained."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that text is never merged into."""

    id: int
    text: str
    special: bool
    """Whether decoding may leave it out; ``<tool_call>`` often is not."""


@dataclass(frozen=True, slots=True)
class SpecialRow:
    """The output row of one added token."""

    token: AddedToken
    twins: int
    """How many other looked-at rows, spare ones included, are the same vector."""
    nearness: float
    """Largest cosine with a row that has twins; -1 where there is none."""
    norm: float
    """Euclidean length."""

    @property
    def trained(self) -> bool:
        """Whether the model can tell this token from others at all."""
        return self.twins == 0 and self.norm > 1e-6


def added_tokens(checkpoint: Path) -> tuple[AddedToken, ...]:
    """The added tokens of ``tokenizer.json``, by id. Raises ModelError where there is no such file."""
    path = checkpoint / "tokenizer.json"
    try:
        rows = read_json(path).get("added_tokens") or []
        tokens = [AddedToken(int(row["id"]), str(row["content"]), bool(row["special"])) for row in rows]
    except (DataError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: no readable list of added tokens ({error})") from error
    return tuple(sorted(tokens, key=lambda token: token.id))


def special_rows(checkpoint: Path) -> tuple[SpecialRow, ...]:
    """The output row of every added token, by id. Reads those rows only, whatever the size of the model.

    Raises ModelError where the checkpoint has no safetensors, no output matrix or no ``tokenizer.json``.
    """
    tokens = added_tokens(checkpoint)
    if not tokens:
        return ()
    rows = _output_rows(checkpoint, [token.id for token in tokens])
    norms = rows.norm(dim=1)
    unit = rows / norms.clamp_min(1e-12).unsqueeze(1)
    cosines = unit @ unit.T
    same = cosines > SAME
    same.fill_diagonal_(False)
    twins = same.sum(dim=1)
    nearness = cosines.clone()
    nearness.fill_diagonal_(-1.0)
    nearness[:, twins == 0] = -1.0
    return tuple(
        SpecialRow(token, int(twins[i]), float(nearness[i].max()), float(norms[i]))
        for i, token in enumerate(tokens)
    )


def _output_rows(checkpoint: Path, ids: Sequence[int]) -> Any:
    """float32 [len(ids) + spare, hidden]: the rows of `ids`, then spare rows the tokenizer never uses."""
    import torch
    from safetensors import SafetensorError, safe_open

    name, file = _output_matrix(checkpoint)
    try:
        with safe_open(str(file), framework="pt") as tensors:
            matrix = tensors.get_slice(name)
            rows = int(matrix.get_shape()[0])
            first_spare = max(*ids, _vocabulary_size(checkpoint) - 1) + 1
            wanted = [*ids, *range(first_spare, min(rows, first_spare + _SPARE_ROWS))]
            if max(ids) >= rows:
                raise ModelError(f"{file}: {name} has {rows} rows, the tokenizer has the id {max(ids)}")
            return torch.cat([matrix[i : i + 1] for i in wanted]).float()
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error


def _vocabulary_size(checkpoint: Path) -> int:
    vocabulary = (read_json(checkpoint / "tokenizer.json").get("model") or {}).get("vocab") or ()
    return len(vocabulary)


def _output_matrix(checkpoint: Path) -> tuple[str, Path]:
    """Name and file of the matrix that logits come from: the head, or the embeddings where they are tied."""
    where = _tensor_files(checkpoint)
    kinds = _EMBEDDINGS if _is_tied(checkpoint) else (*_HEADS, *_EMBEDDINGS)
    for kind in kinds:
        for name in sorted(where, key=len):
            if name == kind or name.endswith(f".{kind}"):
                return name, where[name]
    raise ModelError(f"{checkpoint}: no output matrix among the weights (looked for {', '.join(kinds)})")


def _is_tied(checkpoint: Path) -> bool:
    config = read_json(checkpoint / "config.json")
    text = config.get("text_config") or {}
    return bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))


def _tensor_files(checkpoint: Path) -> dict[str, Path]:
    """The safetensors file of every tensor, from the shard index or the files' own headers."""
    index = checkpoint / "model.safetensors.index.json"
    if index.is_file():
        return {name: checkpoint / shard for name, shard in read_json(index)["weight_map"].items()}
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{checkpoint}: no safetensors to look at (other weight formats are not read)")
    return {name: file for file in files for name in tensor_names(file)}
