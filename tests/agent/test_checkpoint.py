from __future__ import annotations

import os
from pathlib import Path

import pytest

from strop.agent.checkpoint import fingerprint
from strop.tools.errors import ModelError

LARGE = 600 * 2**16


def checkpoint(directory: Path) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(LARGE))
    (directory / "train_summary.json").write_text("1")
    return directory


def test_copies_are_the_same_whatever_they_are_called_and_whenever_made(tmp_path: Path) -> None:
    one, other = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "other")
    os.utime(other / "model.safetensors", (1, 1))
    (other / "train_summary.json").write_text("2")
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("at", [0, LARGE // 2, LARGE - 1])
def test_other_weights_of_the_same_size_are_told_apart(tmp_path: Path, at: int) -> None:
    one, other = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "other")
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(max(0, at - 2**17))
        file.write(b"\1" * min(2**18, LARGE - max(0, at - 2**17)))
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("name", ["config.json", "strop.json", "adapter_model.safetensors"])
def test_whatever_decides_an_answer_counts(tmp_path: Path, name: str) -> None:
    one, other = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "other")
    (other / name).write_text('{"other": 1}')
    assert fingerprint(one) != fingerprint(other)


def test_no_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing here"):
        fingerprint(tmp_path / "nothing here")
