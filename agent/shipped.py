"""Adapters that come with Strop, by the catalogue name of the model they were trained from.

They lie in ``adapters/NAME`` beside this module, as peft and vLLM load them, made by the two
commands at the top of ``examples/recipe.toml``.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from strop.tools.errors import UsageError

SHIPPED = "shipped"
"""What an ``--adapter`` may be besides a directory: the one shipped for the embedded model."""


def shipped_adapter(model: str) -> Path | None:
    """The adapter shipped for a catalogue model; None where there is none."""
    # Looked up among the names there are: joined to a path, an absolute one would be itself.
    places = Path(str(files("strop.agent"))).joinpath("adapters").iterdir()
    return next((place for place in places if place.name == model and place.is_dir()), None)


def default_adapter(model: str, *, untrained: bool, elsewhere: bool) -> Path | None:
    """What a model is served with where no adapter is named: the one shipped for it, unless it is wanted
    `untrained` or runs `elsewhere`."""
    return None if untrained or elsewhere else shipped_adapter(model)


def adapter_named(text: str, model: str) -> Path:
    """The directory an ``--adapter`` names. Raises UsageError where none is shipped for `model`."""
    if text != SHIPPED:
        return Path(text)
    adapter = shipped_adapter(model)
    if adapter is None:
        raise UsageError(f"no adapter is shipped for {model}: give a directory")
    return adapter
