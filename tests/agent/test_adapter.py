"""What is no adapter is said so, by what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from strop.agent.adapter import adapter_rank, misfit, require_adapter
from strop.tools.errors import ModelError
from tests.agent.index import as_weights

CONFIG = {"peft_type": "LORA", "r": 4, "rank_pattern": {"q_proj": 16}, "base_model_name_or_path": "tiny"}


def adapter(directory: Path, config: object = CONFIG, weights: bytes = as_weights(b"abc")) -> Path:
    (directory / "adapter_config.json").write_text(json.dumps(config))
    (directory / "adapter_model.safetensors").write_bytes(weights)
    return directory


def test_the_rank_is_the_largest(tmp_path: Path) -> None:
    assert adapter_rank(adapter(tmp_path)) == 16


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([1], "no JSON object"),
        ({}, "peft_type None"),
        ({**CONFIG, "peft_type": "IA3"}, "peft_type 'IA3'"),
    ],
)
def test_another_configuration_is_refused(tmp_path: Path, config: object, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        require_adapter(adapter(tmp_path, config))


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter_config"):
        require_adapter(tmp_path)
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors is damaged"):
        require_adapter(adapter(tmp_path, weights=as_weights(b"abc")[:-1]))
    adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"adapter_config\.json:1: not JSON"):
        require_adapter(tmp_path)
    with pytest.raises(ModelError, match="no readable rank"):
        adapter_rank(adapter(tmp_path, {"peft_type": "LORA", "r": "many"}))


def test_a_misfit_says_what_it_was_made_for_and_the_first_thing_that_does_not_fit(tmp_path: Path) -> None:
    error = RuntimeError("Error(s) in loading state_dict for X:\n\tsize mismatch for a: 1 and 2\n\tmore")
    text = str(misfit(adapter(tmp_path), "this model", error))
    assert "made for tiny, does not fit this model: size mismatch for a: 1 and 2" in text
    assert "\n" not in text
