"""Sharing prefixes changes neither log-probabilities nor loss nor gradients of stock TRL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPTNeoConfig, MptConfig, Qwen2Model
from trl.trainer.utils import add_fused_lm_head

from strop.training.adapter import load_model
from strop.training.datasets import PairRow
from strop.training.dpo import DpoConfig, pair_trainer
from strop.training.shared_prefix import (
    SharedPrefix,
    ancestor_mask,
    pack,
    pack_batch,
    share_prefixes,
    why_not,
)
from tests.training.tiny import CPU, PAD, ids, pairs, tiny_checkpoint, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=7)


@given(SEQUENCES)
def test_every_sequence_is_a_path_of_its_tree(sequences: list[list[int]]) -> None:
    trees, places = pack(sequences)
    for sequence, (number, path) in zip(sequences, places, strict=True):
        tree = trees[number]
        assert [tree.tokens[node] for node in path] == sequence
        assert [tree.depths[node] for node in path] == list(range(len(sequence)))
    assert sum(len(tree.tokens) for tree in trees) <= sum(map(len, sequences))


@given(SEQUENCES, st.integers(0, 3))
def test_a_token_sees_its_sequence_so_far_and_nothing_else(sequences: list[list[int]], padding: int) -> None:
    trees, places = pack(sequences)
    for number, path in places:
        width = len(trees[number].tokens) + padding
        mask = ancestor_mask(trees[number], width)
        for depth, node in enumerate(path):
            assert mask[node].nonzero().flatten().tolist() == sorted(path[: depth + 1])
        for column in range(width - padding, width):
            assert mask[column].nonzero().flatten().tolist() == [column]


@given(SEQUENCES)
def test_scattering_puts_a_value_at_every_label(sequences: list[list[int]]) -> None:
    length = max(map(len, sequences))
    labelled = [[True] * len(sequence) for sequence in sequences]
    packed = pack_batch(sequences, labelled, additive=False)
    tokens = packed.scatter(packed.labels + 1, (len(sequences), length - 1))
    for row, sequence in zip(tokens.tolist(), sequences, strict=True):
        assert row == [token + 1 for token in sequence[1:]] + [0] * (length - len(sequence))


def prompt_in_common() -> list[PairRow]:
    random = Random(3)
    prompt = ids(random, 20)
    return [PairRow(f"tree-{n}", prompt, ids(random, 3 + n), ids(random, 6 - n)) for n in range(3)]


def one_inside_the_other() -> list[PairRow]:
    random = Random(4)
    prompt, answer = ids(random, 9), ids(random, 7)
    return [
        PairRow("cut", prompt, answer, answer[:3]),
        PairRow("long", ids(random, 3), answer, ids(random, 12)),
    ]


def identical_rows() -> list[PairRow]:
    (pair, *_) = pairs(1)
    return [pair, pair]


BATCHES: dict[str, Callable[[], list[PairRow]]] = {
    "one pair": lambda: pairs(1),
    "no shared answer start": lambda: pairs(3)[1:],
    "many lengths": lambda: pairs(5, seed=1),
    "three pairs of one prompt": prompt_in_common,
    "one answer starts the other, and answers longer than prompts": one_inside_the_other,
    "identical rows": identical_rows,
    "prompt of one token": lambda: [PairRow("short", (5,), (6, 7), (8,))],
}


def outcome(
    checkpoint: Path, rows: list[PairRow], work: Path, **options: Any
) -> tuple[Any, Any, dict[str, Any]]:
    """(loss, reference log-probabilities, LoRA gradients) of one batch, by the trainer's own computations."""
    config = DpoConfig(batch_size=len(rows), micro_batch_size=len(rows), dtype="float32", **options)
    model = load_model(checkpoint, CPU)
    trainer = pair_trainer(model, checkpoint, rows, config, work)
    assert share_prefixes(trainer, config) == ("on" if config.shared_prefix else "off: not asked for")
    generator = torch.Generator().manual_seed(5)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:  # zero at first, when neither adapter nor its other half has any effect
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    reference = torch.stack(trainer.compute_ref_log_probs(trainer.model, batch))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {
        name: parameter.grad
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }
    return loss.detach(), reference, gradients


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
@pytest.mark.parametrize("batch", BATCHES)
def test_loss_reference_and_gradients_are_those_of_stock_trl(
    architecture: str, batch: str, tmp_path: Path
) -> None:
    checkpoint, rows = tiny_checkpoint(tmp_path / "model", architecture), BATCHES[batch]()
    stock = outcome(checkpoint, rows, tmp_path / "stock", shared_prefix=False)
    shared = outcome(checkpoint, rows, tmp_path / "shared", shared_prefix=True)
    torch.testing.assert_close(shared[0], stock[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(shared[1], stock[1], atol=1e-5, rtol=1e-6)
    assert shared[2].keys() == stock[2].keys()
    for name, gradient in stock[2].items():
        assert (shared[2][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-9, name


FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1", "label_mask", "loss")


def headed(attention: str, *, fields: tuple[str, ...] = FIELDS[:4], **overrides: Any) -> Any:
    """A tiny model with TRL's fused head."""
    torch.manual_seed(2)
    config = tiny_config("qwen2")
    config.update(overrides)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    add_fused_lm_head(model.eval(), outputs=fields)
    return model


def call(rows: list[list[int]], first_label: int) -> dict[str, Any]:
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    unlabelled = (mask == 0) | (torch.arange(width) < first_label)
    labels = tokens.masked_fill(unlabelled, -100)
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels, "fused_lm_head": True}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_field_of_the_fused_head_is_filled_the_same(attention: str) -> None:
    model = headed(attention)
    batch = call([[9, 8, 7, 6, 5], [9, 8, 7, 4], [9, 8, 7, 6, 3, 2], [9, 8, 7, 6, 3, 2], [30, 31]], 1)
    stock = model(**batch)
    assert SharedPrefix(model).install() is None
    shared = model(**batch)
    for name in FIELDS:
        torch.testing.assert_close(shared[name], stock[name], atol=1e-5, rtol=1e-5)
    # The first token after the prompt has its loss, too.
    assert shared.label_mask[0].tolist() == [True] * 4 + [False]


def test_batches_it_cannot_lay_out_go_the_stock_way() -> None:
    model = headed("sdpa")
    batch = call([[9, 8, 7, 6], [9, 8, 5, 4]], 2)
    left = {**batch, "attention_mask": torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])}
    foreign = {**batch, "labels": batch["labels"].masked_fill(batch["labels"] == 7, 8)}
    unlabelled = {**batch, "labels": torch.full((2, 4), -100)}
    placed = {**batch, "position_ids": torch.arange(4)[None]}
    stock = [model(**one).log_probs for one in (left, foreign, unlabelled, placed)]
    assert SharedPrefix(model).install() is None
    for one, expected in zip((left, foreign, unlabelled, placed), stock, strict=True):
        torch.testing.assert_close(model(**one).log_probs, expected, atol=0, rtol=0)
    assert model(input_ids=batch["input_ids"]).logits.shape == (2, 4, 64)


def test_models_it_would_be_wrong_for_are_named() -> None:
    assert why_not(headed("sdpa")) is None
    window = headed("sdpa", layer_types=["full_attention", "sliding_attention"], sliding_window=4)
    assert SharedPrefix(window).install() == "the model has sliding_attention layers"
    flash = headed("sdpa")
    flash.config._attn_implementation = "flash_attention_2"
    assert why_not(flash) == "attention 'flash_attention_2' takes no custom mask"


def other(config: Any) -> Any:
    """A tiny model of another architecture, its weights large enough that places matter."""
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    add_fused_lm_head(model.eval(), outputs=FIELDS[:4])
    return model


def test_attention_by_places_in_the_row_is_named() -> None:
    size = {"vocab_size": 64, "num_layers": 2, "num_heads": 4, "hidden_size": 32}
    local = other(
        GPTNeoConfig(**size, attention_types=[[["global", "local"], 1]], max_position_embeddings=256)
    )
    assert SharedPrefix(local).install() == "some layers attend through a window"
    far = MptConfig(vocab_size=64, d_model=32, n_heads=4, n_layers=2, max_seq_len=256)
    assert "ALiBi" in str(SharedPrefix(other(far)).install())


def test_attention_by_places_in_the_row_is_found_where_the_configuration_does_not_tell() -> None:
    unknown = other(MptConfig(vocab_size=64, d_model=32, n_heads=4, n_layers=2, max_seq_len=256))
    unknown.config.attn_config.alibi = False
    assert "apart on this model" in str(SharedPrefix(unknown).install())


class Deaf(Qwen2Model):  # type: ignore[misc]  # transformers is untyped here
    """A backbone that ignores the mask it is given; causal all the same."""

    def forward(self, *args: Any, attention_mask: Any = None, **rest: Any) -> Any:
        del attention_mask
        return super().forward(*args, **rest)


def test_a_model_on_which_sharing_comes_out_different_is_left_alone() -> None:
    model = headed("sdpa")
    model.model = Deaf(model.config).eval()
    forward = model.forward
    reason = SharedPrefix(model).install()
    assert reason is not None
    assert "apart on this model" in reason
    assert model.forward == forward
