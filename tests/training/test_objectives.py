"""Every objective is TRL's where TRL has it, with and without shared prefixes, and the paper's where not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer

from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_jsonl
from strop.training.adapter import load_model, load_tokenizer, lora
from strop.training.config import read_config
from strop.training.datasets import PairRow
from strop.training.dpo import DpoConfig, pair_trainer, train_dpo
from strop.training.objectives import OBJECTIVES
from strop.training.reference_free import ReferenceFreeTrainer, log_odds
from strop.training.shared_prefix import share_prefixes
from strop.training.trainers import arguments
from tests.training.tiny import CPU, PAD, ids, pairs, tiny_checkpoint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TRL says that what is experimental may change
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

Outcome = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""Loss, and gradient by parameter."""
REFERENCE_FREE = [name for name, one in OBJECTIVES.items() if not one.reference]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


def moved(checkpoint: Path) -> Any:
    """The model with an adapter that does something, so that policy and reference differ."""
    model = get_peft_model(load_model(checkpoint, CPU), lora(DpoConfig(), load_model(checkpoint, CPU)))
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def outcome_of(loss: torch.Tensor, model: Any) -> Outcome:
    loss.backward()
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return loss.detach(), found


def ours(checkpoint: Path, rows: Sequence[PairRow], work: Path, config: DpoConfig) -> Outcome:
    """By the trainer that trains, all rows in one micro-batch, with the adapter of `moved`."""
    many = len(rows)
    config = replace(config, batch_size=many, micro_batch_size=many, dtype="float32", rank=16, alpha=32)
    trainer = pair_trainer(load_model(checkpoint, CPU), checkpoint, rows, config, work)
    trainer.model.load_state_dict(moved(checkpoint).state_dict())
    assert share_prefixes(trainer, config) == ("on" if config.shared_prefix else "off: not asked for")
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    return outcome_of(trainer.compute_loss(trainer.model, batch), trainer.model)


class StockDpo(DPOTrainer):  # type: ignore[misc]  # TRL is untyped here
    """TRL's own, but for the tokenising."""

    def _prepare_dataset(self, dataset: Dataset, *_args: Any, **_kwargs: Any) -> Dataset:
        return dataset


def stock_dpo(checkpoint: Path, rows: Sequence[PairRow], work: Path, config: DpoConfig) -> Outcome:
    """By TRL's DPO trainer, the reference computed beside the policy."""
    weights = {OBJECTIVES[config.objective].loss: 1.0}
    if config.sft_weight is not None:
        weights["sft"] = config.sft_weight
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    trainer = StockDpo(
        model=load_model(checkpoint, CPU),
        args=DPOConfig(
            **arguments(config, work, CPU, len(rows)),
            beta=config.beta,
            loss_type=list(weights),
            loss_weights=list(weights.values()),
        ),
        train_dataset=Dataset.from_list([{key: list(getattr(row, key)) for key in columns} for row in rows]),
        processing_class=load_tokenizer(checkpoint),
        peft_config=lora(config, load_model(checkpoint, CPU)),
    )
    trainer.model.load_state_dict(moved(checkpoint).state_dict())
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    return outcome_of(trainer.compute_loss(trainer.model, batch), trainer.model)


def padded(sequences: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    width = max(map(len, sequences))
    return torch.tensor([[*one, *[value] * (width - len(one))] for one in sequences])


def experimental(trainer: Any, rows: Sequence[PairRow], checkpoint: Path, config: DpoConfig) -> Outcome:
    """By the methods of TRL's experimental trainer; its constructor would tokenise text."""
    batch = {}
    for side in ("chosen", "rejected"):
        answers = [getattr(row, f"{side}_ids") for row in rows]
        whole = [[*row.prompt_ids, *answer] for row, answer in zip(rows, answers, strict=True)]
        labels = [[-100] * len(row.prompt_ids) + [*answer] for row, answer in zip(rows, answers, strict=True)]
        batch[f"{side}_input_ids"] = padded(whole, PAD)
        batch[f"{side}_attention_mask"] = padded([[1] * len(one) for one in whole], 0)
        batch[f"{side}_labels"] = padded(labels, -100)
    settings = {
        "beta": config.beta,
        "simpo_gamma": config.gamma,
        "loss_type": "simpo",
        "alpha": 0.0,
        "cpo_alpha": 0.0,
        "label_smoothing": 0.0,
        "aux_loss_enabled": False,
        "is_encoder_decoder": False,
        "pad_token_id": PAD,
        "padding_value": PAD,
        "accelerator": SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda value: value),
    }
    vars(trainer).update(settings)
    model = moved(checkpoint)
    loss, _ = trainer.get_batch_loss_metrics(model, batch)
    return outcome_of(loss, model)


class StockSimpo(CPOTrainer):  # type: ignore[misc]  # TRL is untyped here
    def __init__(self) -> None:
        """Without the tokenising."""


class StockOrpo(ORPOTrainer):  # type: ignore[misc]  # TRL is untyped here
    def __init__(self) -> None:
        """Without the tokenising."""


def by_hand(rows: Sequence[PairRow], checkpoint: Path, config: DpoConfig) -> Outcome:
    """ORPO a pair at a time, as the paper writes it, with the geometric mean of an answer's probabilities."""
    model = moved(checkpoint)
    ratios, likelihoods = [], []
    for row in rows:
        per_id = []
        for answer in (row.chosen_ids, row.rejected_ids):
            tokens = torch.tensor([[*row.prompt_ids, *answer]])
            scores = model(input_ids=tokens).logits[0, :-1].log_softmax(-1)
            per_id.append(scores.gather(1, tokens[0, 1:, None])[len(row.prompt_ids) - 1 :, 0])
        chosen, rejected = (one.mean().exp() for one in per_id)
        ratios.append(-logsigmoid((chosen / (1 - chosen) / (rejected / (1 - rejected))).log()))
        likelihoods.append(-per_id[0])
    loss = torch.cat(likelihoods).mean() + config.beta * torch.stack(ratios).mean()
    return outcome_of(loss, model)


def assert_same(got: Outcome, expected: Outcome) -> None:
    torch.testing.assert_close(got[0], expected[0], atol=1e-4, rtol=1e-4)
    assert got[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert (got[1][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-9, name


def after_one_id() -> list[PairRow]:
    """Prompts of one id, where TRL's ORPO, which counts prompts in its likelihood, has nothing to count."""
    random, rows = Random(9), []
    for number in range(3):
        start = ids(random, 8)
        rows.append(PairRow(f"{number}", (5,), (*start, *ids(random, 2 + number)), (*start, *ids(random, 3))))
    return rows


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("objective", [name for name, one in OBJECTIVES.items() if one.reference])
def test_with_a_reference_it_is_stock_trl(
    objective: str, shared: bool, checkpoint: Path, tmp_path: Path
) -> None:
    config = DpoConfig(objective=objective, shared_prefix=shared)
    got = ours(checkpoint, pairs(4), tmp_path / "ours", config)
    assert_same(got, stock_dpo(checkpoint, pairs(4), tmp_path / "stock", config))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("objective", ["simpo", "itool"])
def test_simpo_is_that_of_trls_experimental_trainer(
    objective: str, shared: bool, checkpoint: Path, tmp_path: Path
) -> None:
    config = DpoConfig(objective=objective, shared_prefix=shared)
    got = ours(checkpoint, pairs(4), tmp_path, config)
    assert_same(got, experimental(StockSimpo(), pairs(4), checkpoint, config))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
def test_orpo_is_that_of_trls_experimental_trainer_and_the_papers(
    shared: bool, checkpoint: Path, tmp_path: Path
) -> None:
    config = DpoConfig(objective="orpo", shared_prefix=shared)
    got = ours(checkpoint, after_one_id(), tmp_path / "one", config)
    assert_same(got, experimental(StockOrpo(), after_one_id(), checkpoint, config))
    got = ours(checkpoint, pairs(4), tmp_path / "many", config)
    assert_same(got, by_hand(pairs(4), checkpoint, config))


def test_odds_of_certainty_are_finite_and_ask_for_nothing_more() -> None:
    value = torch.tensor([0.0, -1e-9, -0.5, -40.0], requires_grad=True)
    odds = log_odds(value)
    odds.sum().backward()
    assert value.grad is not None
    assert odds.isfinite().all()
    assert value.grad.tolist()[:2] == [0.0, 0.0]
    assert odds[2].item() == pytest.approx(torch.tensor(-0.5).exp().logit().item(), abs=1e-6)


def log_of(directory: Path) -> list[dict[str, float]]:
    return [row for _, row in read_jsonl(directory / "train_log.jsonl")[0]]


QUICK: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 4, "save_steps": 50, "dtype": "float32"}


@pytest.mark.model
@pytest.mark.parametrize("objective", REFERENCE_FREE)
def test_without_a_reference_none_is_computed_or_kept(
    objective: str, checkpoint: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", DpoConfig(objective=objective, **{**QUICK, "epochs": 3})
    seen = []
    summary = train_dpo(
        checkpoint,
        pairs(8),
        out,
        config,
        on_log=lambda _: seen.append((tmp_path / "out.part" / "reference.jsonl").exists()),
    )
    rows = log_of(out)
    assert (summary.reference_seconds, summary.shared_prefix, set(seen)) == (0.0, "on", {False})
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["margin"] > rows[0]["margin"]


@pytest.mark.model
def test_rewards_in_the_log_are_what_simpo_compares(checkpoint: Path, tmp_path: Path) -> None:
    (pair,) = pairs(1)
    train_dpo(checkpoint, [pair], tmp_path / "out", DpoConfig(objective="simpo", **QUICK))
    (row,) = log_of(tmp_path / "out")
    assert row["reward_chosen"] == pytest.approx(2.0 * row["logp_chosen"] / len(pair.chosen_ids), abs=1e-4)
    assert row["margin"] == pytest.approx(row["reward_chosen"] - row["reward_rejected"], abs=1e-4)
    assert row["loss"] == pytest.approx(-logsigmoid(torch.tensor(row["margin"] - 1.0)).item(), abs=1e-4)


@pytest.mark.model
def test_it_goes_on_from_an_adapter_without_a_copy_of_it(checkpoint: Path, tmp_path: Path) -> None:
    config = DpoConfig(objective="simpo", **QUICK)
    first = train_dpo(checkpoint, pairs(4), tmp_path / "first", config).adapter
    second = train_dpo(checkpoint, pairs(4), tmp_path / "second", config, base_adapter=first).adapter
    assert log_of(second)[0]["margin"] > log_of(first)[0]["margin"]
    assert sorted(path.name for path in second.iterdir()) == sorted(path.name for path in first.iterdir())


@pytest.mark.model
def test_another_objective_is_another_job(checkpoint: Path, tmp_path: Path) -> None:
    beta, out = 0.1, tmp_path / "out"
    train_dpo(checkpoint, pairs(4), out, DpoConfig(objective="dpo", beta=beta, **QUICK))
    for other in ("ipo", "dpo_norm", "orpo"):
        with pytest.raises(UsageError, match="holds something else already"):
            train_dpo(checkpoint, pairs(4), out, DpoConfig(objective=other, beta=beta, **QUICK))
    calls: list[object] = []
    same = DpoConfig(objective="dpo", beta=beta, **QUICK)
    train_dpo(checkpoint, pairs(4), out, same, on_log=calls.append)
    assert calls == []


def test_an_objective_brings_its_settings_and_yields_to_those_given() -> None:
    assert (DpoConfig().objective, DpoConfig().beta, DpoConfig().sft_weight) == ("dpo_sft", 0.1, 0.2)
    assert (DpoConfig(objective="simpo").beta, DpoConfig(objective="simpo").gamma) == (2.0, 1.0)
    assert (DpoConfig(objective="simpo", beta=10.0).beta, DpoConfig(objective="simpo").rank) == (10.0, 16)
    itool = DpoConfig(objective="itool", epochs=1)
    assert (itool.beta, itool.gamma, itool.learning_rate, itool.rank) == (2.5, 0.5, 1e-6, 8)
    assert itool.epochs == 1
    assert DpoConfig(objective="simpo", gamma=0.0).gamma == 0.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"objective": "guess"}, "objective: there is none called 'guess'; there are dpo, dpo_norm, ipo"),
        ({"gamma": 1.0}, "gamma is no setting of objective 'dpo_sft', only of simpo and itool"),
        ({"objective": "dpo", "sft_weight": 0.1}, "sft_weight is no setting of objective 'dpo'"),
        ({"objective": "orpo", "gamma": 0.0}, "gamma is no setting of objective 'orpo'"),
        ({"objective": "simpo", "gamma": -1.0}, "gamma must be 0 or more"),
        ({"sft_weight": -0.1}, "sft_weight must be 0 or more"),
        ({"beta": 0}, "beta must be above 0"),
    ],
)
def test_what_does_not_go_together_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DpoConfig(**settings)


def test_a_round_says_it_in_its_train_table(tmp_path: Path) -> None:
    path = tmp_path / "round.toml"
    path.write_text("[tasks]\nsynthesise = 50\n[train]\nobjective = 'simpo'\ngamma = 0.5\n")
    train = read_config(path).train
    assert train == DpoConfig(objective="simpo", gamma=0.5)
    path.write_text("[tasks]\nsynthesise = 50\n[train]\nobjective = 'ipo'\ngamma = 0.5\n")
    with pytest.raises(DataError, match="gamma is no setting of objective 'ipo'"):
        read_config(path)


def test_the_trainer_is_the_objectives(checkpoint: Path, tmp_path: Path) -> None:
    for name in OBJECTIVES:
        config = DpoConfig(objective=name)
        trainer = pair_trainer(load_model(checkpoint, CPU), checkpoint, pairs(2), config, tmp_path)
        assert isinstance(trainer, ReferenceFreeTrainer) == (name in REFERENCE_FREE)
