"""What an adapter cannot learn to write is refused before hours are spent on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from strop.tools.errors import DataError
from strop.training.datasets import PairRow, SftRow
from strop.training.dpo import DpoConfig, train_dpo
from strop.training.sft import SftConfig, train_sft
from strop.training.vocabulary import refuse_unlearnable
from tests.training.tiny import tiny_checkpoint

TWINS = (60, 61)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny model with three special tokens, of which two have the same output row."""
    directory = tiny_checkpoint(tmp_path / "tiny")
    weights = load_file(directory / "model.safetensors")
    [name] = (name for name in weights if name.endswith("embed_tokens.weight"))
    rows = weights[name].clone()
    rows[TWINS[1]] = rows[TWINS[0]]
    save_file({**weights, name: rows}, directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [
        {
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            "id": number,
            "content": f"w{number}",
            "special": True,
        }
        for number in (*TWINS, 62)
    ]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


def row(*answer: int, prompt: tuple[int, ...] = (5, 6)) -> SftRow:
    return SftRow("a", prompt, (*answer, 2))


def test_a_token_whose_row_is_anothers_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 'a' teaches w61"):
        train_sft(checkpoint, [row(7, 61)], tmp_path / "out", SftConfig(dtype="float32"))
    assert not (tmp_path / "out").exists()


def test_a_preference_for_such_a_token_is_refused_too(checkpoint: Path, tmp_path: Path) -> None:
    pair = PairRow("a", (5, 6), (61, 7, 2), (8, 7, 2))
    with pytest.raises(DataError, match="row 'a' teaches"):
        train_dpo(checkpoint, [pair], tmp_path / "adapter", DpoConfig(dtype="float32"))


def test_tokens_of_their_own_pass_and_so_do_prompts(checkpoint: Path) -> None:
    refuse_unlearnable(checkpoint, [row(7, 62), row(7, prompt=(60, 61))])


def test_a_checkpoint_that_cannot_be_looked_at_passes(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({}, checkpoint / "pytorch_model.bin")
    refuse_unlearnable(checkpoint, [row(61)])
