"""``strop train``: a LoRA adapter out of demonstrations or preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from strop.agent.cli.options import DEFAULT_MODEL, AdapterOption, ModelArgument, SeedOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strop.tools.files import BadRow
    from strop.training.recipe import TrainSummary

app = typer.Typer(help="Train a LoRA adapter that vLLM and peft load as it is.", no_args_is_help=True)

DataOption: TypeAlias = Annotated[Path, typer.Option("--data", metavar="DIR|FILE", help="What to train on.")]
OutOption: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The adapter; an interrupted training goes on.")
]
RateOption: TypeAlias = Annotated[float, typer.Option("--learning-rate", "--lr", help="Peak learning rate.")]
EpochsOption: TypeAlias = Annotated[float, typer.Option("--epochs", help="Times every example is seen.")]
BatchOption: TypeAlias = Annotated[
    int, typer.Option("--batch-size", min=1, help="Examples an optimiser step.")
]
LengthOption: TypeAlias = Annotated[
    int, typer.Option("--max-length", min=2, help="Longer examples are refused, never cut.")
]
DtypeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="auto|float32|bfloat16", help="Number format; auto: what the hardware multiplies."
    ),
]
CopiesOption: TypeAlias = Annotated[
    bool, typer.Option("--allow-copies", help="Also train on what repeats something of a benchmark.")
]
OWN = "the objective's"
"""Default of what the objective decides."""
RankOption: TypeAlias = Annotated[int, typer.Option("--rank", min=1, help="Of the adapter.")]


@app.command()
def sft(
    data: DataOption,
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    learning_rate: RateOption = 1e-4,
    epochs: EpochsOption = 1.0,
    batch_size: BatchOption = 8,
    max_length: LengthOption = 2048,
    rank: RankOption = 16,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    allow_copies: CopiesOption = False,
) -> None:
    """Supervised fine-tuning: DATA is a file of tasks, whose gold is what is learned, or of token ids.

    Tasks may be in any layout that 'strop data convert' reads.
    """
    from strop.agent.chat import ChatTemplate
    from strop.agent.models import ModelStore
    from strop.training.copies import refuse_copies
    from strop.training.datasets import read_sft
    from strop.training.sft import SftConfig, train_sft
    from strop.training.transcripts import demonstrated

    resolved = ModelStore().resolve(model)
    screening = refuse_copies(
        demonstrated(data, resolved.path), allowed=allow_copies, lifted_by="--allow-copies"
    )
    _say_compared(screening)
    rows, bad = read_sft(data, ChatTemplate.load(resolved.path, call_format=resolved.call_format))
    _warn(data, bad)
    config = SftConfig(**_recipe(learning_rate, epochs, batch_size, max_length, rank, dtype, seed))
    summary = train_sft(
        resolved.path,
        rows,
        out,
        config,
        base_adapter=adapter,
        model_name=resolved.name,
        screening=screening,
    )
    _report(summary)


@app.command()
def dpo(
    data: DataOption,
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    objective: Annotated[
        str, typer.Option("--objective", help="dpo, dpo_norm, ipo, simpo, orpo, dpo_sft or itool.")
    ] = "dpo_sft",
    beta: Annotated[
        float | None,
        typer.Option("--beta", help="Steepness, or pull towards the reference.", show_default=OWN),
    ] = None,
    gamma: Annotated[
        float | None, typer.Option("--gamma", help="simpo, itool: the margin aimed at.", show_default=OWN)
    ] = None,
    sft_weight: Annotated[
        float | None,
        typer.Option(
            "--sft-weight", help="dpo_sft: weight of the chosen answer's likelihood.", show_default=OWN
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Peak learning rate.", show_default=OWN)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Times every pair is seen.", show_default=OWN)
    ] = None,
    batch_size: BatchOption = 8,
    max_length: LengthOption = 2048,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Of the adapter.", show_default=OWN)
    ] = None,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    allow_copies: CopiesOption = False,
) -> None:
    """Preference optimisation: DATA is a pairs.jsonl, or the directory `strop collect` wrote."""
    from strop.agent.models import ModelStore
    from strop.training.copies import refuse_copies
    from strop.training.datasets import read_pairs
    from strop.training.dpo import DpoConfig, train_dpo
    from strop.training.transcripts import preferred

    config = DpoConfig(
        objective=objective,
        **_given(beta=beta, gamma=gamma, sft_weight=sft_weight),
        **_recipe(learning_rate, epochs, batch_size, max_length, rank, dtype, seed),
    )
    pairs, bad = read_pairs(data)
    _warn(data, bad)
    resolved = ModelStore().resolve(model)
    screening = refuse_copies(
        preferred(data, resolved.path), allowed=allow_copies, lifted_by="--allow-copies"
    )
    _say_compared(screening)
    summary = train_dpo(
        resolved.path,
        pairs,
        out,
        config,
        base_adapter=adapter,
        model_name=resolved.name,
        screening=screening,
    )
    _report(summary)


def _recipe(
    learning_rate: float | None,
    epochs: float | None,
    batch_size: int,
    max_length: int,
    rank: int | None,
    dtype: str,
    seed: int,
) -> dict[str, Any]:
    return _given(
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        max_length=max_length,
        rank=rank,
        alpha=None if rank is None else 2 * rank,
        dtype=dtype,
        seed=seed,
    )


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that were said; the others are left to the configuration."""
    return {name: value for name, value in settings.items() if value is not None}


def _warn(path: Path, bad: list[BadRow]) -> None:
    for row in bad:
        typer.echo(f"{path}:{row.line}: skipped: {row.reason}", err=True)


def _say_compared(screening: Mapping[str, Any]) -> None:
    """Which benchmarks the data were compared with, in a line; the reasons are in the summary."""
    names = ", ".join(screening["compared"]) or "no benchmark"
    others = ", ".join(screening["not_compared"])
    typer.echo(f"compared with {names}" + (f"; not with {others}" if others else ""), err=True)


def _report(summary: TrainSummary) -> None:
    for one in summary.refused:
        typer.echo(f"{one.id}: refused: {one.reason}", err=True)
    typer.echo(
        f"{summary.steps} steps over {summary.examples} examples in {summary.seconds:.0f} s "
        f"on {summary.device}; the adapter is in {summary.adapter}"
    )
