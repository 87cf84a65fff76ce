"""An engine that dies is started again, with its adapters; until then nobody is kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.engines.supervised import MOST_STARTS, SupervisedEngine
from strop.tools.errors import EngineDeadError, EngineError, UsageError

PROMPT = tuple(b"?")


class Loading(ScriptedEngine):
    """Calls `before_load` before it loads an adapter."""

    before_load: Callable[[], Awaitable[None]] | None = None

    async def load_adapter(self, name: str, path: Path) -> None:
        if self.before_load is not None:
            await self.before_load()
        await super().load_adapter(name, path)


class Mortal:
    """Makes engines; the script of each fails while `dead`."""

    def __init__(self) -> None:
        self.dead = False
        self.made: list[Loading] = []
        self.refuse = 0
        """Starts that fail."""
        self.refusal: Exception = EngineError("no memory")
        self.before_load: Callable[[], Awaitable[None]] | None = None
        """Of engines made from now on."""

    async def start(self) -> ScriptedEngine:
        await asyncio.sleep(0.01)
        if self.refuse:
            self.refuse -= 1
            raise self.refusal
        self.dead = False
        self.made.append(Loading(lambda _: EngineDeadError("gone") if self.dead else "fine"))
        self.made[-1].before_load = self.before_load
        return self.made[-1]


async def supervised(mortal: Mortal, say: Callable[[str], None] = lambda _: None) -> SupervisedEngine:
    return SupervisedEngine(await mortal.start(), mortal.start, say, pause=0.001)


async def ask(engine: SupervisedEngine) -> str:
    [done] = await engine.generate(PROMPT, Sampling(max_tokens=8))
    return bytes(i for i in done.token_ids if i < 256).decode()


async def die(mortal: Mortal, engine: SupervisedEngine) -> None:
    mortal.dead = True
    with pytest.raises(EngineDeadError):
        await ask(engine)


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


async def test_an_engine_that_died_while_nobody_asked_is_noticed() -> None:
    class Quiet(ScriptedEngine):
        @property
        def trouble(self) -> str | None:
            return "the engine process died"

    mortal = Mortal()
    engine = SupervisedEngine(Quiet(lambda _: "never"), mortal.start, pause=0.001)
    assert engine.trouble is not None
    assert "started again" in engine.trouble
    async with asyncio.timeout(5):
        while engine.trouble is not None:
            await asyncio.sleep(0.005)
    assert await ask(engine) == "fine"
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


async def test_an_adapter_that_is_gone_is_given_up_and_the_engine_kept(tmp_path: Path) -> None:
    mortal, said = Mortal(), list[str]()
    engine = await supervised(mortal, said.append)
    for name in ("gone", "there"):
        (tmp_path / name).mkdir()
        await engine.load_adapter(name, tmp_path / name)
    (tmp_path / "gone").rmdir()
    await die(mortal, engine)
    await until_it_runs(engine)
    assert await ask(engine) == "fine"
    assert len(mortal.made) == 2
    assert mortal.made[1].adapters == {"there": tmp_path / "there"}
    assert any("adapter gone could not be loaded again" in line for line in said)
    with pytest.raises(UsageError, match="gone"):
        await engine.generate(PROMPT, Sampling(), adapter="gone")
    await die(mortal, engine)
    await until_it_runs(engine)
    assert sum("could not be loaded" in line for line in said) == 1  # it is not tried for ever


async def test_an_engine_that_dies_of_an_adapter_is_closed(tmp_path: Path) -> None:
    mortal = Mortal()
    engine = await supervised(mortal)
    await engine.load_adapter("a", tmp_path)

    async def dead_at_first() -> None:
        if len(mortal.made) == 2:
            raise EngineDeadError("gone")

    mortal.before_load = dead_at_first
    await die(mortal, engine)
    await until_it_runs(engine)
    assert await ask(engine) == "fine"
    assert [bool(one.trouble) for one in mortal.made] == [True, True, False]
    assert mortal.made[2].adapters == {"a": tmp_path}


async def test_closing_in_the_midst_of_a_restart_closes_the_new_engine(tmp_path: Path) -> None:
    mortal = Mortal()
    engine = await supervised(mortal)
    await engine.load_adapter("a", tmp_path)
    loading = asyncio.Event()

    async def never() -> None:
        loading.set()
        await asyncio.Event().wait()

    mortal.before_load = never
    await die(mortal, engine)
    async with asyncio.timeout(5):
        await loading.wait()
        await engine.close()
    assert len(mortal.made) == 2
    assert all(one.trouble for one in mortal.made)


async def test_a_start_that_fails_by_a_bug_is_a_failed_start() -> None:
    mortal, said = Mortal(), list[str]()
    engine = await supervised(mortal, said.append)
    mortal.refuse, mortal.refusal = 2, AttributeError("no such attribute")
    await die(mortal, engine)
    await until_it_runs(engine)
    assert await ask(engine) == "fine"
    assert sum("no such attribute" in line for line in said) == 2


async def test_the_last_start_counts_and_giving_up_is_said() -> None:
    mortal, said = Mortal(), list[str]()
    engine = await supervised(mortal, said.append)
    mortal.refuse = MOST_STARTS - 1
    await die(mortal, engine)
    await until_it_runs(engine)
    assert "the engine runs again" in said
    await die(mortal, engine)  # before it has served anything
    async with asyncio.timeout(5):
        while "not started again" not in str(engine.trouble):
            await asyncio.sleep(0.005)
    assert "not started again" in said[-1]
    assert len(mortal.made) == 2
