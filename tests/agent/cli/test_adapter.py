"""``strop adapter`` and ``strop pairs mix`` from the command line to the files they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from strop.agent.adapter import adapter_rank
from strop.agent.checkpoint import missing_parts
from strop.agent.cli.app import app
from strop.tools.errors import ModelError
from strop.tools.files import read_json, write_jsonl
from tests.training.tiny import tiny_adapter, tiny_checkpoint


def strop(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def test_a_mean_is_moved_to_another_version_and_merged_there(model: Path, tmp_path: Path) -> None:
    one, other = (tiny_adapter(model, tmp_path / str(seed), seed=seed) for seed in (1, 2))
    output = strop("adapter", "soup", one, other, "--out", tmp_path / "soup", "--weights", "0.25,0.75")
    assert "mean of 2 adapters over 6 layers, rank 8, relative error" in output
    output = strop("adapter", "soup", one, other, "--out", tmp_path / "cut", "--rank", 3)
    assert adapter_rank(tmp_path / "cut") == 3

    new = tiny_checkpoint(tmp_path / "newer")
    moved = ("adapter", "transfer", tmp_path / "soup", "--to", new, "--out", tmp_path / "moved")
    # Its base model is called "tiny", which nobody's catalogue knows.
    with pytest.raises(ModelError, match=r"'tiny'.*--from-base"):
        strop(*moved)
    assert "6 layers" in strop(*moved, "--from-base", model)
    assert read_json(tmp_path / "moved" / "adapter_config.json")["base_model_name_or_path"] == "newer"

    assert "lost by rounding" in strop(
        "adapter", "merge", tmp_path / "moved", "--model", new, "--out", tmp_path / "whole"
    )
    whole = ("adapter", "transfer", "--from-base", new, "--tuned", tmp_path / "whole", "--to", model)
    strop(*whole, "--out", tmp_path / "again")
    assert not missing_parts(tmp_path / "again")


def test_pairs_are_mixed(tmp_path: Path) -> None:
    for name in ("now", "before"):
        rows = [
            {"id": f"{name}-{at}", "prompt_ids": [at + 1, len(name)], "chosen_ids": [5], "rejected_ids": [6]}
            for at in range(10)
        ]
        write_jsonl(tmp_path / name, rows)
    output = strop(
        "pairs", "mix", tmp_path / "now", tmp_path / "before", "--share", 0.2, "--out", tmp_path / "mixed"
    )
    assert "2 earlier pairs among them (2 wanted)" in output
    assert len((tmp_path / "mixed").read_text().splitlines()) == 12
