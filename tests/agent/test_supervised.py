"""An engine that dies is started again, with its adapters; until then nobody is kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.engines.supervised import MOST_STARTS, SupervisedEngine
from strop.tools.errors import EngineDeadError, EngineError

PROMPT = tuple(b"?")


class Mortal:
    """Makes engines; the script of each fails while `dead`."""

    def __init__(self) -> None:
        self.dead = False
        self.made: list[ScriptedEngine] = []
        self.refuse = 0
        """Starts that fail."""

    async def start(self) -> ScriptedEngine:
        await asyncio.sleep(0.01)
        if self.refuse:
            self.refuse -= 1
            raise EngineError("no memory")
        self.dead = False
        self.made.append(ScriptedEngine(lambda _: EngineDeadError("gone") if self.dead else "fine"))
        return self.made[-1]


async def supervised(mortal: Mortal, say: Callable[[str], None] = lambda _: None) -> SupervisedEngine:
    return SupervisedEngine(await mortal.start(), mortal.start, say, pause=0.001)


async def ask(engine: SupervisedEngine) -> str:
    [done] = await engine.generate(PROMPT, Sampling(max_tokens=8))
    return bytes(i for i in done.token_ids if i < 256).decode()


async def until_it_runs(engine: SupervisedEngine) -> None:
    async with asyncio.timeout(5):
        while engine.trouble:
            await asyncio.sleep(0.005)


async def test_a_dead_engine_is_replaced_once_with_its_adapters(tmp_path: Path) -> None:
    mortal, said = Mortal(), list[str]()
    engine = await supervised(mortal, said.append)
    await engine.load_adapter("a", tmp_path)
    assert await ask(engine) == "fine"
    mortal.dead = True
    results = await asyncio.gather(*(ask(engine) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, EngineDeadError) for result in results)
    with pytest.raises(EngineError, match="started again"):
        await ask(engine)
    await until_it_runs(engine)
    assert await ask(engine) == "fine"
    assert len(mortal.made) == 2
    assert mortal.made[1].adapters == {"a": tmp_path}
    with pytest.raises(EngineError, match="closed"):  # the old one was given back
        await mortal.made[0].generate(PROMPT, Sampling())
    assert said == ["the engine died; starting it again", "the engine runs again"]
    await engine.close()


async def test_starts_that_fail_are_tried_again_and_given_up() -> None:
    mortal = Mortal()
    engine = await supervised(mortal)
    mortal.dead, mortal.refuse = True, 2
    with pytest.raises(EngineDeadError):
        await ask(engine)
    await until_it_runs(engine)
    assert await ask(engine) == "fine"
    mortal.dead, mortal.refuse = True, MOST_STARTS
    with pytest.raises(EngineDeadError):
        await ask(engine)
    async with asyncio.timeout(5):
        while "not started again" not in str(engine.trouble):
            await asyncio.sleep(0.005)
    await engine.close()


async def test_streams_notice_too_and_closing_stops_a_restart() -> None:
    mortal = Mortal()
    engine = await supervised(mortal)
    mortal.dead = True
    with pytest.raises(EngineDeadError):
        async for _ in engine.stream(PROMPT, Sampling()):
            pass
    assert engine.trouble
    await engine.close()
    await asyncio.sleep(0.05)
    assert len(mortal.made) == 1
