"""``strop adapter``: what becomes of an adapter after training: mean, transfer, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from strop.agent.models import ResolvedModel

app = typer.Typer(
    help="Average adapters, move one to a new version of its model, or add it into the weights.",
    no_args_is_help=True,
)

NewOption: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where; it must not be there yet, or be empty.")
]


@app.command()
def soup(
    adapters: Annotated[list[Path], typer.Argument(metavar="ADAPTER ADAPTER …", help="Of one model.")],
    out: NewOption,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", metavar="SHARE,SHARE,…", help="Their shares, summing to 1; default: equal."
        ),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Most of any layer; default: the sum of theirs.")
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="float32|bfloat16", help="Number format of the factors.")
    ] = "float32",
) -> None:
    """The mean of what adapters of one model change, exactly, as an adapter; one alone is cut or rounded."""
    from strop.training.soup import make_soup

    made = make_soup(adapters, out, weights=_shares(weights), rank=rank, dtype=dtype)
    for layer in made.partly:
        typer.echo(
            f"{layer}: not in all of the adapters, where it is missing it counts as unchanged", err=True
        )
    typer.echo(
        f"mean of {_counted(len(made.adapters))} over {made.layers} layers, rank {made.rank}, "
        f"relative error {made.error:.2e}: {out}"
    )


def _counted(adapters: int) -> str:
    return f"{adapters} adapters" if adapters > 1 else "one adapter"


def _shares(text: str | None) -> list[float] | None:
    from strop.tools.errors import UsageError

    if text is None:
        return None
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--weights wants numbers between commas, got {text!r}") from error


@app.command()
def transfer(
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The new version of the model.")],
    out: NewOption,
    adapter: Annotated[
        Path | None, typer.Argument(metavar="[ADAPTER]", help="What was trained on the old version.")
    ] = None,
    from_base: Annotated[
        str | None,
        typer.Option(
            "--from-base",
            metavar="MODEL",
            help="The old version; default: the model ADAPTER names as its own.",
        ),
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(
            "--tuned", metavar="MODEL", help="In place of ADAPTER: the old version, wholly trained."
        ),
    ] = None,
) -> None:
    """Move what training changed to a new version of the model: NEW + (TUNED - OLD)."""
    from strop.agent.models import ModelStore
    from strop.tools.errors import UsageError
    from strop.training.transfer import transfer_adapter, transfer_checkpoint

    store = ModelStore()
    if adapter is not None and tuned is None:
        old, new = _made_for(adapter, from_base), store.resolve(to)
        layers = transfer_adapter(adapter, old.path, new.path, out, name=new.name)
        typer.echo(f"the difference in {layers} layers is now one to {new.name}: {out}")
    elif adapter is None and tuned is not None and from_base is not None:
        before, trained, after = (store.resolve(name).path for name in (from_base, tuned, to))
        error = transfer_checkpoint(before, trained, after, out)
        typer.echo(f"{to} + ({tuned} - {from_base}), {error:.2e} of the difference lost by rounding: {out}")
    else:
        raise UsageError("give either an ADAPTER, or --from-base and --tuned")


def _made_for(adapter: Path, said: str | None) -> ResolvedModel:
    """The model an adapter was trained on. Raises ModelError where it is not on this disk."""
    from strop.agent.adapter import adapter_config, require_adapter
    from strop.agent.models import ModelStore
    from strop.tools.errors import ModelError

    if said is not None:
        return ModelStore().resolve(said)
    require_adapter(adapter)
    name = str(adapter_config(adapter).get("base_model_name_or_path") or "")
    try:
        return ModelStore().resolve(name, fetch=False)
    except ModelError as error:
        raise ModelError(f"{error}; --from-base says which model {adapter} was trained on") from error


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Directory of it.")],
    model: Annotated[str, typer.Option("--model", help="The model it was trained on.")],
    out: NewOption,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="float32|bfloat16",
            help="Number format of the weights; default: the model's own.",
        ),
    ] = None,
) -> None:
    """Add an adapter into its model's weights: one checkpoint, for engines that take no adapters."""
    from strop.agent.models import ModelStore
    from strop.training.merging import merge_adapter

    merged = merge_adapter(adapter, ModelStore().resolve(model).path, out, dtype=dtype)
    typer.echo(f"{merged.layers} layers, {merged.error:.2e} of the difference lost by rounding: {out}")
