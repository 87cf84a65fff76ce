"""Training inside an event loop's process is interrupted like any other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from strop.training.in_process import in_this_process


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Interrupts, which whoever started the tests may have had ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_ends_a_training_where_it_is() -> None:
    trained: list[str] = []

    async def a_round() -> None:
        with in_this_process():
            signal.raise_signal(signal.SIGINT)
            trained.append("to the end")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(a_round())
    assert not trained
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_interrupts_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with in_this_process():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
