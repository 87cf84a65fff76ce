"""What training tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread: tiny tensors gain nothing from more, and threads wait long on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model whose form of calls is known."""
    from strop.agent.profile import Profile, write_profile
    from tests.training.tiny import tiny_checkpoint

    directory = tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")
    write_profile(directory, Profile(call_format="fenced_json"))
    return directory
