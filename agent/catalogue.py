"""The models Strop knows by name, read from ``catalogue.toml`` beside this module."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from strop.agent.profile import Profile


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file inside a wheel of the package index."""

    package: str
    version: str
    member: str
    """End of the file's path inside the wheel; exactly one path ends so."""


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model whose exact bytes are pinned."""

    name: str
    description: str
    """One sentence for people."""
    parameters: str
    """How many, for people: ``0.5B``."""
    licence: str
    """SPDX identifier."""
    hub: str
    """Hub id of the original checkpoint."""
    gguf_hub: str
    """Hub id of the repository that holds the GGUF file."""
    gguf_revision: str
    """Branch or commit of `gguf_hub`."""
    gguf_file: str
    """The file's name there."""
    size: int
    """Bytes of the GGUF file."""
    sha256: str
    """Of the GGUF file, 64 lower-case hexadecimal digits."""
    call_format: str
    """The form the model writes calls in; a name in `strop.tools.formats.FORMATS`."""
    stop_text: str
    """Answer to a check turn that means "the draft stands"."""
    packages: tuple[PackageFile, ...]
    """Pieces of the GGUF file in the package index, in the order in which they are joined."""

    @property
    def profile(self) -> Profile:
        """How the model talks, as it is kept beside its checkpoint."""
        return Profile(call_format=self.call_format, stop_text=self.stop_text)

    @classmethod
    def from_toml(cls, name: str, table: Mapping[str, Any]) -> CatalogueModel:
        """Read one table of the catalogue. Raises TypeError for a missing or unknown key."""
        pieces = tuple(PackageFile(**piece) for piece in table.get("packages", ()))
        return cls(name=name, **{**table, "packages": pieces})


def load_catalogue() -> Mapping[str, CatalogueModel]:
    """The shipped catalogue by name, in its own order: the first is the default model."""
    text = files("strop.agent").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: CatalogueModel.from_toml(name, table) for name, table in tomllib.loads(text).items()}
