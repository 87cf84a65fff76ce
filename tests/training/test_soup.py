"""A mean of adapters is the mean of what they change, whatever factors they write it in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from strop.agent.adapter import adapter_rank
from strop.agent.profile import Profile, read_profile, write_profile
from strop.tools.errors import ModelError, UsageError
from strop.tools.files import read_json, write_json
from strop.training.factors import read_adapter
from strop.training.soup import make_soup
from tests.training.tiny import VOCABULARY, tiny_adapter, tiny_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
ASKED = torch.arange(4, 30)[None]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")
    write_profile(directory, Profile(call_format="fenced_json"))
    return directory


@pytest.fixture(scope="module")
def one(checkpoint: Path) -> Path:
    return tiny_adapter(checkpoint, checkpoint.parent / "one", rank=4, seed=1)


@pytest.fixture(scope="module")
def other(checkpoint: Path) -> Path:
    """Of another rank, another scale and a layer of its own; it lacks one of the first's."""
    layers = ("q_proj", "v_proj", "up_proj")
    return tiny_adapter(checkpoint, checkpoint.parent / "other", rank=3, alpha=5, seed=2, layers=layers)


def deltas(adapter: Path) -> dict[str, torch.Tensor]:
    return {name: factors.delta() for name, factors in read_adapter(adapter).factors.items()}


def close(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], within: float) -> bool:
    assert got.keys() == wanted.keys()
    return all(float((got[name] - wanted[name]).abs().max()) < within for name in wanted)


def meant(one: Path, other: Path, share: float) -> dict[str, torch.Tensor]:
    """The mean of two adapters' differences, as a matrix for every layer."""
    left, right = deltas(one), deltas(other)
    names = sorted({**left, **right})
    zero = {name: torch.zeros_like({**left, **right}[name]) for name in names}
    return {
        name: share * left.get(name, zero[name]) + (1 - share) * right.get(name, zero[name]) for name in names
    }


@pytest.mark.parametrize("rank", [None, 4])
def test_an_adapter_with_itself_is_itself(rank: int | None, one: Path, tmp_path: Path) -> None:
    soup = make_soup([one, one], tmp_path / "soup", rank=rank)
    assert adapter_rank(tmp_path / "soup") == soup.rank == (rank or 8)
    assert close(deltas(tmp_path / "soup"), deltas(one), 1e-6)
    assert soup.error < 1e-6


def test_the_difference_is_the_mean_of_the_differences(one: Path, other: Path, tmp_path: Path) -> None:
    soup = make_soup([one, other], tmp_path / "soup", weights=[0.25, 0.75])
    assert close(deltas(tmp_path / "soup"), meant(one, other, 0.25), 1e-6)
    assert soup.rank == 7
    # 2 layers of the model, each with a layer that only one of the two changes.
    assert {name.rpartition(".")[2] for name in soup.partly} == {"down_proj", "up_proj"}
    assert len(soup.partly) == 4
    assert read_json(tmp_path / "soup" / "soup.json")["weights"] == [0.25, 0.75]
    assert read_profile(tmp_path / "soup") == Profile(call_format="fenced_json")


def test_peft_loads_it_and_computes_with_the_mean(
    checkpoint: Path, one: Path, other: Path, tmp_path: Path
) -> None:
    make_soup([one, other], tmp_path / "soup")
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        plain = base(input_ids=ASKED).logits
        for name, delta in meant(one, other, 0.5).items():
            base.get_submodule(name).weight += delta.float()
        wanted = base(input_ids=ASKED).logits
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        got = PeftModel.from_pretrained(model, tmp_path / "soup")(input_ids=ASKED).logits
    assert got.shape == (1, ASKED.shape[1], VOCABULARY)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(got, plain, atol=0.1)


def test_a_lower_rank_is_the_nearest_there_is_and_its_error_is_said(
    one: Path, other: Path, tmp_path: Path
) -> None:
    soup = make_soup([one, other], tmp_path / "soup", rank=2)
    exact, saved = meant(one, other, 0.5), deltas(tmp_path / "soup")
    lost = {name: torch.linalg.svdvals(delta)[2:].square().sum() for name, delta in exact.items()}
    apart = {name: (saved[name] - exact[name]).square().sum() for name in exact}
    assert all(float(apart[name]) == pytest.approx(float(lost[name]), rel=1e-4) for name in exact)
    whole = sum(float(delta.square().sum()) for delta in exact.values())
    assert soup.error == pytest.approx((sum(map(float, lost.values())) / whole) ** 0.5, rel=1e-5)
    assert adapter_rank(tmp_path / "soup") == 2


def test_bfloat16_halves_the_file_and_its_rounding_counts_as_error(one: Path, tmp_path: Path) -> None:
    soup = make_soup([one, one], tmp_path / "soup", dtype="bfloat16")
    tensors = load_file(tmp_path / "soup" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert 1e-4 < soup.error < 1e-2


def changed(adapter: Path, out: Path, **settings: object) -> Path:
    """A copy with another configuration."""
    out.mkdir()
    for file in adapter.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    config = json.loads((adapter / "adapter_config.json").read_text())
    write_json(out / "adapter_config.json", {**config, **settings})
    return out


def test_scales_are_those_peft_computes_with(checkpoint: Path, one: Path, tmp_path: Path) -> None:
    settings = {"use_rslora": True, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}}
    odd = changed(one, tmp_path / "odd", **settings)
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    after = PeftModel.from_pretrained(base, odd).merge_and_unload().state_dict()
    for name, delta in deltas(odd).items():
        apart = after[f"{name}.weight"] - before[f"{name}.weight"] - delta
        assert float(apart.abs().max()) < 1e-5, name


def test_adapters_of_a_part_of_the_model_name_their_layers(
    checkpoint: Path, one: Path, tmp_path: Path
) -> None:
    first = changed(one, tmp_path / "first", layers_to_transform=[0])
    tensors = load_file(one / "adapter_model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".layers.0." in name}
    save_file(kept, first / "adapter_model.safetensors")
    make_soup([first, first], tmp_path / "soup")
    config = read_json(tmp_path / "soup" / "adapter_config.json")
    assert config["target_modules"] == sorted(read_adapter(first).factors)
    assert config["layers_to_transform"] is None
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(model, tmp_path / "soup")
    assert all(".layers.0." in name for name, _ in loaded.named_parameters() if "lora_" in name)


def test_what_has_no_mean_is_refused_with_the_reason(one: Path, tmp_path: Path) -> None:
    foreign = changed(one, tmp_path / "foreign", base_model_name_or_path="another")
    with pytest.raises(ModelError, match=r"was made for tiny, .*foreign for another"):
        make_soup([one, foreign], tmp_path / "soup")
    dora = changed(one, tmp_path / "dora", use_dora=True, bias="all", init_lora_weights="pissa")
    with pytest.raises(ModelError, match="use_dora = True, bias = 'all', init_lora_weights = 'pissa'"):
        make_soup([one, dora], tmp_path / "soup")
    wide = changed(one, tmp_path / "wide")
    tensors = load_file(one / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    save_file({**tensors, name: torch.zeros(33, 4)}, wide / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.q_proj is \(32, 32\) in .*\(33, 32\)"):
        make_soup([one, wide], tmp_path / "soup")
    heads = changed(one, tmp_path / "heads")
    save_file(
        {**tensors, "base_model.model.lm_head.weight": torch.zeros(2, 2)}, heads / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match=r"has base_model\.model\.lm_head\.weight, which is no factor"):
        make_soup([one, heads], tmp_path / "soup")
    stranger = changed(one, tmp_path / "stranger")
    write_profile(stranger, Profile(call_format="hermes"))
    with pytest.raises(ModelError, match=r"call_format is 'fenced_json' in .* and 'hermes'"):
        make_soup([one, stranger], tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0], "1 weights for 2"),
        ([0.5, 0.6], "sum to 1"),
        ([-0.5, 1.5], "shares"),
        ([float("nan"), 1], "sh"),
    ],
)
def test_weights_that_are_no_shares_are_refused(
    weights: list[float], says: str, one: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        make_soup([one, one], tmp_path / "soup", weights=weights)


def test_a_directory_that_holds_something_is_not_written_to(one: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    with pytest.raises(UsageError, match="holds something"):
        make_soup([one, one], tmp_path)
    with pytest.raises(UsageError, match="an adapter at least"):
        make_soup([], tmp_path / "soup")


def test_one_adapter_alone_is_only_rounded(one: Path, tmp_path: Path) -> None:
    make_soup([one], tmp_path / "soup", dtype="bfloat16")
    before, after = read_adapter(one), read_adapter(tmp_path / "soup")
    for name, factors in before.factors.items():
        assert torch.allclose(after.factors[name].delta(), factors.delta(), rtol=2e-2, atol=1e-3)


def test_an_adapter_with_values_that_are_none_is_refused(one: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(one, broken)
    tensors = load_file(one / "adapter_model.safetensors")
    name = next(iter(tensors))
    no_number = torch.full_like(tensors[name], torch.nan)
    save_file(tensors | {name: no_number}, broken / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="not finite"):
        make_soup([one, broken], tmp_path / "soup")
    assert not (tmp_path / "soup").exists()
