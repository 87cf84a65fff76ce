"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
LONGEST = 8192
"""Ids of prompt and answer that a benchmark gives a model of this machine: most single turns need no more."""

ModelArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="[MODEL]",
        help="Catalogue name, hub id, checkpoint directory or GGUF file.",
        show_default=True,
        is_eager=True,  # read before the options that depend on it, wherever it stands
    ),
]


def _place(text: str) -> Path:
    """The path; a directory that is called as the shipped adapter is, by its whole path."""
    from strop.agent.shipped import SHIPPED

    path = Path(text)
    return path.absolute() if text != SHIPPED and str(path) == SHIPPED else path


def _adapter(context: typer.Context, adapter: Path | None) -> Path | None:
    from strop.agent.shipped import adapter_named

    return None if adapter is None else adapter_named(str(adapter), context.params["model"])


AdapterOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        metavar="DIR|shipped",
        help="peft LoRA adapter to use with the model; shipped: Strop's own for the embedded model.",
        parser=_place,
        callback=_adapter,
    ),
]
EngineOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="KIND|URL",
        help="auto, vllm, transformers, or the base URL of a server whose /completions takes token ids.",
    ),
]
RefineOption: TypeAlias = Annotated[
    str, typer.Option("--refine", metavar="off|adaptive|N", help="Self-refinement of answers.")
]
ContextOption: TypeAlias = Annotated[
    int, typer.Option("--max-model-len", min=256, help="Most tokens of prompt and answer together.")
]
SeedOption: TypeAlias = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything random.")
]
UntrainedOption: TypeAlias = Annotated[
    bool,
    typer.Option("--untrained", help="The embedded model as it came, without the adapter shipped for it."),
]
EngineFlags: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-arg",
        metavar="NAME=VALUE",
        help="Passed on to vLLM, e.g. tensor_parallel_size=2; may be repeated.",
    ),
]
WorldsOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--worlds",
        metavar="MODULE",
        help="Simulated tools: calls that do in them what the gold's do are right.",
    ),
]
SelectOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="STRATEGY",
        help="Which tasks: band, band:solvable, perplexity:SHARE, quota:ERROR=N,…, diverse:N, random:N; "
        "repeated, each keeps some of what the one before kept. Default: band.",
    ),
]


def _trackers(names: list[str] | None) -> list[str] | None:
    """Before anything slow."""
    from strop.training.trackers import require_trackers

    require_trackers(names or ())
    return names


TrackOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="tensorboard, trackio or wandb; may be given again.",
        callback=_trackers,
    ),
]
