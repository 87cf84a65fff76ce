"""A difference is moved between versions of one model, and only between those."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from strop.agent.checkpoint import missing_parts
from strop.agent.profile import Profile, read_profile, write_profile
from strop.tools.errors import ModelError, UsageError
from strop.tools.files import read_json, write_json
from strop.training.merging import merge_adapter
from strop.training.transfer import transfer_adapter, transfer_checkpoint
from tests.training.tiny import tiny_adapter, tiny_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
ASKED = torch.arange(4, 30)[None]
Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("models") / "old")


@pytest.fixture(scope="module")
def adapter(old: Path) -> Path:
    return tiny_adapter(old, old.parent / "adapter")


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def version(
    of: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], **config: Any
) -> Path:
    """A copy with other weights and settings."""
    shutil.copytree(of, out)
    save_file(change(weights(of)), out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", {**read_json(of / "config.json"), **config})
    return out


def noise(seed: int, size: float = 0.1) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    def moved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: one + size * torch.randn(one.shape, generator=generator).to(one.dtype)
            for name, one in tensors.items()
        }

    return moved


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ASKED).logits
    return found


def loaded(checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)


def test_an_adapter_moves_with_its_difference_as_it_is(old: Path, adapter: Path, tmp_path: Path) -> None:
    new = version(old, tmp_path / "new", noise(1), rope_theta=5e5)
    write_profile(adapter, Profile(call_format="fenced_json"))
    assert transfer_adapter(adapter, old, new, tmp_path / "moved", name="tiny-2") == 6
    before, after = (load_file(one / "adapter_model.safetensors") for one in (adapter, tmp_path / "moved"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    config = read_json(tmp_path / "moved" / "adapter_config.json")
    assert config == {**read_json(adapter / "adapter_config.json"), "base_model_name_or_path": "tiny-2"}
    assert read_profile(tmp_path / "moved") == Profile(call_format="fenced_json")
    PeftModel.from_pretrained(loaded(new), tmp_path / "moved")


def test_what_was_tuned_comes_back_exactly_where_the_version_is_the_same(old: Path, tmp_path: Path) -> None:
    tuned = version(old, tmp_path / "tuned", noise(2, 1e-3))
    assert transfer_checkpoint(old, tuned, old, tmp_path / "same") == 0
    assert all(torch.equal(one, weights(tuned)[name]) for name, one in weights(tmp_path / "same").items())
    new = version(old, tmp_path / "new", noise(3))
    assert transfer_checkpoint(old, old, new, tmp_path / "untuned") == 0
    assert all(torch.equal(one, weights(new)[name]) for name, one in weights(tmp_path / "untuned").items())


def test_a_checkpoint_gets_the_difference_block_by_block(old: Path, tmp_path: Path) -> None:
    block = 70  # two rows of 32 at a time, and of 48 one
    tuned, new = version(old, tmp_path / "tuned", noise(2)), version(old, tmp_path / "new", noise(3))
    write_profile(tuned, Profile(stop_text="no changes"))
    assert transfer_checkpoint(old, tuned, new, tmp_path / "moved", block=block) < 1e-6
    was, became, now = weights(old), weights(tuned), weights(new)
    got = weights(tmp_path / "moved")
    assert got.keys() == now.keys()
    for name, one in got.items():
        torch.testing.assert_close(one, now[name] + (became[name] - was[name]), atol=1e-5, rtol=1e-5)
    assert not missing_parts(tmp_path / "moved")
    assert read_profile(tmp_path / "moved").stop_text == "no changes"
    assert torch.isfinite(logits(loaded(tmp_path / "moved"))).all()


def test_shards_and_number_formats_are_those_of_the_new_version(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    (new / "model.safetensors").unlink()
    model = loaded(old).to(torch.bfloat16)
    model.save_pretrained(new, max_shard_size="20KB")
    tuned = version(old, tmp_path / "tuned", noise(2, 1e-3))
    error = transfer_checkpoint(old, tuned, new, tmp_path / "moved")
    assert 0.01 < error < 10  # a small change of large weights does not survive bfloat16, and that is said
    names = {file.name for file in new.iterdir()}
    assert len([name for name in names if name.endswith(".safetensors")]) > 1
    assert {file.name for file in (tmp_path / "moved").iterdir()} == names
    assert {one.dtype for one in weights(tmp_path / "moved").values()} == {torch.bfloat16}
    index = "model.safetensors.index.json"
    assert read_json(tmp_path / "moved" / index)["weight_map"] == read_json(new / index)["weight_map"]
    loaded(tmp_path / "moved")


def test_other_shapes_and_names_are_refused_by_name(old: Path, adapter: Path, tmp_path: Path) -> None:
    def wider(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**tensors, Q: torch.zeros(40, 32)}

    def missing(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: one for name, one in tensors.items() if name != Q}

    wide, short = version(old, tmp_path / "wide", wider), version(old, tmp_path / "short", missing)
    with pytest.raises(
        ModelError, match=r"layers\.1\.self_attn\.q_proj\.weight is \(40, 32\), the adapter's"
    ):
        transfer_adapter(adapter, old, wide, tmp_path / "out", name="wide")
    with pytest.raises(ModelError, match=r"q_proj\.weight is \(32, 32\) and \(40, 32\)"):
        transfer_checkpoint(old, old, wide, tmp_path / "out")
    with pytest.raises(ModelError, match=r"it has no model\.layers\.1\.self_attn\.q_proj\.weight"):
        transfer_adapter(adapter, old, short, tmp_path / "out", name="short")
    with pytest.raises(ModelError, match=r"only one of .* has model\.layers\.1\.self_attn\.q_proj"):
        transfer_checkpoint(old, short, old, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_models_that_are_no_versions_of_each_other_are_refused(
    old: Path, adapter: Path, tmp_path: Path
) -> None:
    heads = version(old, tmp_path / "heads", dict, num_attention_heads=8)
    with pytest.raises(ModelError, match="num_attention_heads is 4 and 8"):
        transfer_adapter(adapter, old, heads, tmp_path / "out", name="heads")
    words = version(old, tmp_path / "words", dict)
    tokenizer = (words / "tokenizer.json").read_text()
    swapped = tokenizer.replace('"w9"', '"x"').replace('"w8"', '"w9"').replace('"x"', '"w8"')
    (words / "tokenizer.json").write_text(swapped)
    with pytest.raises(ModelError, match=r"token ids of .*old mean something else in .*words: 'w8' 8, 9"):
        transfer_checkpoint(old, old, words, tmp_path / "out")


def test_tokens_that_came_later_do_not_stand_in_an_adapters_way(
    old: Path, adapter: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    new = version(old, tmp_path / "new", dict)
    tokenizer = AutoTokenizer.from_pretrained(new)
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(new)
    transfer_adapter(adapter, old, new, tmp_path / "moved", name="new")
    with pytest.raises(ModelError, match="'another' 64, None"):
        transfer_adapter(adapter, new, old, tmp_path / "back", name="old")


def test_quantised_weights_are_kept_and_never_added_to(old: Path, tmp_path: Path) -> None:
    def with_codes(at: int) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        def coded(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {**tensors, "codes": torch.full((3,), at, dtype=torch.int8), "one": torch.tensor(2.0)}

        return coded

    first, second = (version(old, tmp_path / str(at), with_codes(at)) for at in (1, 2))
    transfer_checkpoint(first, first, second, tmp_path / "moved")
    assert weights(tmp_path / "moved")["codes"].tolist() == [2, 2, 2]
    assert weights(tmp_path / "moved")["one"].shape == ()
    with pytest.raises(ModelError, match="codes was changed by tuning"):
        transfer_checkpoint(first, second, second, tmp_path / "out")


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_a_merged_checkpoint_computes_what_model_and_adapter_do(
    dtype: str | None, old: Path, adapter: Path, tmp_path: Path
) -> None:
    wanted = logits(PeftModel.from_pretrained(loaded(old), adapter))
    merged = merge_adapter(adapter, old, tmp_path / "merged", dtype=dtype)
    assert merged.layers == 6
    assert merged.error < 1e-6
    torch.testing.assert_close(logits(loaded(tmp_path / "merged")), wanted, atol=1e-4, rtol=1e-4)
    assert not missing_parts(tmp_path / "merged")


def test_a_merge_can_be_rounded_and_says_what_that_takes(old: Path, adapter: Path, tmp_path: Path) -> None:
    merged = merge_adapter(adapter, old, tmp_path / "merged", dtype="bfloat16")
    assert 1e-4 < merged.error < 1
    assert {one.dtype for one in weights(tmp_path / "merged").values()} == {torch.bfloat16}
    assert read_json(tmp_path / "merged" / "config.json")["dtype"] == "bfloat16"
    with pytest.raises(UsageError, match="float32, bfloat16"):
        merge_adapter(adapter, old, tmp_path / "other", dtype="int4")
