"""``strop train``: a LoRA adapter out of demonstrations or preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from strop.agent.cli.options import DEFAULT_MODEL, AdapterOption, ModelArgument, SeedOption, TrackOption
from strop.training.ranks import Ranks

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
    int, typer.Option("--batch-size", min=1, help="Examples an optimiser step, of all processes.")
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
MicroOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--micro-batch-size",
        min=1,
        help="Of these, in one forward, where they share what they can; divides --batch-size.",
    ),
]
RecomputeOption: TypeAlias = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Recompute activations: slower, for less memory.")
]
OpeningOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--opening-share",
        min=0,
        max=1,
        help="Answers weigh alike, their first four ids have this part; default: every id weighs the same.",
    ),
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
    micro_batch_size: MicroOption = 1,
    max_length: LengthOption = 2048,
    opening_share: OpeningOption = None,
    rank: RankOption = 16,
    gradient_checkpointing: RecomputeOption = False,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    track: TrackOption = None,
    allow_copies: CopiesOption = False,
) -> None:
    """Supervised fine-tuning: DATA is a file of tasks, whose gold is what is learned, or of token ids.

    Tasks may be in any layout that 'strop data convert' reads. Under 'accelerate launch -m strop.agent.cli'
    several processes train together.
    """
    from strop.agent.chat import ChatTemplate
    from strop.training.copies import refuse_copies
    from strop.training.datasets import read_sft
    from strop.training.demonstrations import Student, known
    from strop.training.sft import SftConfig, train_sft
    from strop.training.transcripts import demonstrated

    resolved, profile = known(Student(model, adapter))
    screening = refuse_copies(
        demonstrated(data, resolved.path), allowed=allow_copies, lifted_by="--allow-copies"
    )
    _say_compared(screening)
    rows, bad = read_sft(data, ChatTemplate.load(resolved.path, call_format=profile.call_format))
    _warn(data, bad)
    recipe = _given(
        rank=rank,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        max_length=max_length,
        gradient_checkpointing=gradient_checkpointing,
        dtype=dtype,
        seed=seed,
    )
    summary = train_sft(
        resolved.path,
        rows,
        out,
        SftConfig(**recipe, opening_share=opening_share),
        base_adapter=adapter,
        model_name=resolved.name,
        track=track or (),
        screening=screening,
    )
    _report(summary)


@app.command()
def warmup(
    data: DataOption,
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    stages: Annotated[int, typer.Option("--stages", min=1, help="From easy to hard.")] = 2,
    replay: Annotated[
        float,
        typer.Option("--replay", min=0, help="Easier tasks that a stage repeats, as a share of its own."),
    ] = 0.25,
    by: Annotated[
        str, typer.Option("--by", metavar="features|loss|both", help="What tells how hard a task is.")
    ] = "features",
    learning_rate: RateOption = 1e-4,
    epochs: EpochsOption = 1.0,
    batch_size: BatchOption = 16,
    micro_batch_size: MicroOption = 4,
    max_length: LengthOption = 2048,
    opening_share: OpeningOption = None,
    rank: RankOption = 16,
    gradient_checkpointing: RecomputeOption = False,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    track: TrackOption = None,
    allow_copies: CopiesOption = False,
) -> None:
    """Supervised fine-tuning in stages, easy tasks first (iTool): DATA is a file of tasks with their gold.

    The adapters of the stages before the last stay beside OUT.
    """
    from strop.agent.chat import ChatTemplate
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.training.copies import refuse_copies
    from strop.training.datasets import is_demonstration
    from strop.training.demonstrations import Student, known
    from strop.training.sft import SftConfig
    from strop.training.warmup import WarmupConfig, train_warmup

    read = read_tasks_aloud(data)
    tasks = [task for task in read if is_demonstration(task)]
    for task in read:
        if not is_demonstration(task):
            typer.echo(f"{data}: skipped: {task.id} has no gold to learn", err=True)
    screening = refuse_copies(tasks, allowed=allow_copies, lifted_by="--allow-copies")
    _say_compared(screening)
    resolved, profile = known(Student(model, adapter))
    template = ChatTemplate.load(resolved.path, call_format=profile.call_format)
    recipe = _given(
        rank=rank,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        max_length=max_length,
        gradient_checkpointing=gradient_checkpointing,
        dtype=dtype,
        seed=seed,
    )
    config = SftConfig(**recipe, opening_share=opening_share)
    order = WarmupConfig(stages=stages, replay=replay, by=by, seed=seed)
    summary = train_warmup(
        resolved.path,
        tasks,
        template,
        out,
        order,
        config,
        base_adapter=adapter,
        model_name=resolved.name,
        track=track or (),
        screening=screening,
    )
    _report(summary)


@app.command()
def samples(
    collection: Annotated[
        Path, typer.Argument(metavar="COLLECTION", help="What strop collect or deficiencies wrote.")
    ],
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="The tasks that were sampled.")],
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    accepted: Annotated[
        int, typer.Option("--accepted", min=0, help="Right answers of a task to learn (rejection sampling).")
    ] = 1,
    drafts: Annotated[
        int, typer.Option("--drafts", min=0, help="Drafts of a task to learn to check (refinement corpus).")
    ] = 2,
    right_share: Annotated[
        float, typer.Option("--right-share", help="Of the checks, those of drafts that stand, at most.")
    ] = 0.5,
    stop_token: Annotated[
        bool, typer.Option("--stop-token/--stop-text", help="What a check of a right draft is answered with.")
    ] = True,
    learning_rate: RateOption = 5e-5,
    epochs: EpochsOption = 1.0,
    batch_size: BatchOption = 16,
    micro_batch_size: MicroOption = 4,
    max_length: LengthOption = 2048,
    opening_share: OpeningOption = None,
    rank: RankOption = 16,
    gradient_checkpointing: RecomputeOption = False,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    track: TrackOption = None,
    allow_copies: CopiesOption = False,
) -> None:
    """Learn from a policy's own samples: right answers as they are, and checks of its drafts (ToolACE-R).

    COLLECTION must have been sampled from the very policy that is trained.
    """
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.tools.errors import UsageError
    from strop.training.copies import refuse_copies
    from strop.training.corpus import CorpusConfig
    from strop.training.demonstrations import Student, learn_from_samples
    from strop.training.sft import SftConfig

    tasks = read_tasks_aloud(data)
    screening = refuse_copies(tasks, allowed=allow_copies, lifted_by="--allow-copies")
    _say_compared(screening)
    recipe = _given(
        rank=rank,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        max_length=max_length,
        gradient_checkpointing=gradient_checkpointing,
        dtype=dtype,
        seed=seed,
    )
    summary = learn_from_samples(
        Student(model, adapter),
        tasks,
        collection,
        out,
        CorpusConfig(accepted=accepted, drafts=drafts, right_share=right_share, seed=seed),
        SftConfig(**recipe, opening_share=opening_share),
        stop_token=stop_token,
        track=track or (),
        screening=screening,
    )
    if summary is None:
        raise UsageError(f"{collection} has no sample of {data} that could be learned from")
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
    micro_batch_size: MicroOption = 1,
    max_length: LengthOption = 2048,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Of the adapter.", show_default=OWN)
    ] = None,
    gradient_checkpointing: RecomputeOption = False,
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    track: TrackOption = None,
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
        **_given(
            rank=rank,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            max_length=max_length,
            gradient_checkpointing=gradient_checkpointing,
            dtype=dtype,
            seed=seed,
        ),
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
        track=track or (),
        screening=screening,
    )
    _report(summary)


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that were said; the others are left to the configuration."""
    return {name: value for name, value in settings.items() if value is not None}


def _warn(path: Path, bad: list[BadRow]) -> None:
    if not Ranks.here().first:
        return
    for row in bad:
        typer.echo(f"{path}:{row.line}: skipped: {row.reason}", err=True)


def _say_compared(screening: Mapping[str, Any]) -> None:
    """Which benchmarks the data were compared with, in a line; the reasons are in the summary."""
    if not Ranks.here().first:
        return
    names = ", ".join(screening["compared"]) or "no benchmark"
    others = ", ".join(screening["not_compared"])
    typer.echo(f"compared with {names}" + (f"; not with {others}" if others else ""), err=True)


def _report(summary: TrainSummary) -> None:
    here = Ranks.here()
    if here.first:
        for one in summary.refused:
            typer.echo(f"{one.id}: refused: {one.reason}", err=True)
        typer.echo(
            f"{summary.steps} steps over {summary.examples} examples in {summary.seconds:.0f} s "
            f"on {summary.device}; the adapter is in {summary.adapter}"
        )
    here.leave()
