"""``strop models``: what is in the catalogue, fetch it, find it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="List, fetch and locate models.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The catalogue, and what of it is in the cache."""
    from rich.console import Console
    from rich.padding import Padding

    from strop.agent.models import ModelStore

    console = Console(markup=False, highlight=False)
    for row in ModelStore().list():
        size = f"{row.size / 1e6:.0f} MB"
        cached = "in the cache" if row.cached else "not in the cache"
        console.print(f"{row.name}: {row.parameters}, {size}, {row.licence}, {cached}")
        console.print(Padding(row.description, (0, 0, 0, 4)))


@app.command()
def pull(name: Annotated[str, typer.Argument(metavar="NAME", help="Catalogue name or hub id.")]) -> None:
    """Fetch a model, check its hash, convert it; does nothing where that was done before."""
    from strop.agent.models import ModelStore

    typer.echo(ModelStore().pull(name).path)


@app.command()
def path(name: Annotated[str, typer.Argument(metavar="NAME", help="Catalogue name or hub id.")]) -> None:
    """Print the checkpoint directory of a model that is in the cache; fails where it is not."""
    from strop.agent.models import ModelStore

    typer.echo(ModelStore().resolve(name, fetch=False).path)
