"""A fleet sends what goes on to where it began, leaves out who is ill, and asks again what was not begun."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from strop.agent.engines.base import Sampling
from strop.agent.engines.endpoint import EndpointEngine
from strop.agent.engines.fleet import FleetEngine
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.policy import Policy
from strop.agent.server.app import create_app
from strop.agent.server.guard import Limits
from strop.agent.server.roster import Roster, ServedModel
from strop.agent.server.run import bind, running
from strop.agent.server.served import Served
from strop.refine.refiner import Refiner
from strop.tools.errors import EngineError, UsageError
from strop.tools.task import Task
from tests.agent.server.serving import no_refiner, roster_over

ANSWER = "word " * 12


class Fleet:
    """Two real servers over scripted engines, and the fleet in front of them."""

    def __init__(self, scripted: list[ScriptedEngine], engine: FleetEngine, stacks: list[AsyncExitStack]):
        self.scripted, self.engine, self.stacks = scripted, engine, stacks

    @property
    def counts(self) -> list[int]:
        return [len(engine.requests) for engine in self.scripted]


@pytest.fixture
async def two() -> AsyncIterator[Fleet]:
    scripted, engines, stacks = [], [], []
    for _ in range(2):
        script = ScriptedEngine(lambda _: ANSWER, latency=0.01, model="m")
        served = Served(Roster(ServedModel(Policy(script, ScriptedTemplate()), no_refiner)))
        stack = AsyncExitStack()
        url = await stack.enter_async_context(running(create_app(served)))
        engines.append(await EndpointEngine.connect(url, model="m"))
        scripted.append(script)
        stacks.append(stack)
    engine = FleetEngine(engines, check_seconds=0.1)
    yield Fleet(scripted, engine, stacks)
    await engine.close()
    for stack in stacks:
        await stack.aclose()


async def serve_until_cancelled(app: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(app, lifespan="off", log_config=None)
    await uvicorn.Server(config)._serve([listening])


def prompt(text: str) -> tuple[int, ...]:
    return ScriptedTemplate().prompt_ids([{"role": "user", "content": text}], ())


async def test_what_begins_anew_is_spread_and_what_goes_on_returns(two: Fleet) -> None:
    begun = [prompt(f"{index} {index * 7919} " * 12) for index in range(6)]
    sampling = Sampling(max_tokens=80)
    await asyncio.gather(*(two.engine.generate(ids, sampling) for ids in begun))
    assert two.counts == [3, 3]
    for ids in begun:
        homes = [any(r.prompt_ids == ids for r in engine.requests) for engine in two.scripted]
        for end in (10, 20, 30):
            await two.engine.generate((*ids, *ANSWER[:end].encode()), Sampling(max_tokens=4))
            home = two.scripted[homes.index(True)]
            assert home.requests[-1].prompt_ids[: len(ids)] == ids


async def test_a_shared_beginning_does_not_gather_everything_in_one_place(two: Fleet) -> None:
    system = "You are one of many. " * 4
    for index in range(8):
        await two.engine.generate(
            prompt(f"{system}{index} " + f"{index * 104729} " * 30), Sampling(max_tokens=4)
        )
    assert min(two.counts) >= 3


async def test_checks_of_an_answer_stay_where_its_draft_is(two: Fleet) -> None:
    refiner = Refiner(Policy(two.engine, ScriptedTemplate()))
    tasks = [Task(f"t{i}", ({"role": "user", "content": f"{i} {i * 7919} " * 20},), ()) for i in range(4)]
    answers = await asyncio.gather(*(refiner.answer(task, Sampling(max_tokens=100)) for task in tasks))
    assert all(answer.rounds == 1 for answer in answers)
    for engine in two.scripted:
        drafts = [request.prompt_ids for request in engine.requests[:2]]
        assert all(any(r.prompt_ids[: len(d)] == d for d in drafts) for r in engine.requests)


async def test_a_backend_that_is_gone_is_left_out_and_comes_back(two: Fleet) -> None:
    ids = prompt("Where are you? " * 10)
    await two.engine.generate(ids, Sampling(max_tokens=4))
    home = two.counts.index(1)
    await two.stacks[home].aclose()
    done = await two.engine.generate(ids, Sampling(max_tokens=80))  # asked elsewhere, unnoticed
    assert len(done) == 1
    chunks = [chunk async for chunk in two.engine.stream(ids, Sampling(max_tokens=80))]
    assert sum((chunk.token_ids for chunk in chunks), ()) == done[0].token_ids
    assert two.engine.backends[home].trouble
    assert two.engine.trouble is None
    await two.stacks[1 - home].aclose()
    with pytest.raises(EngineError, match="no backend"):
        await two.engine.generate(ids, Sampling(max_tokens=4))
    assert two.engine.trouble
    # A server on the address of the first is found by the health check.
    served = Served(Roster(ServedModel(Policy(two.scripted[home], ScriptedTemplate()), no_refiner)))
    host, port = two.engine.backends[home].url.removeprefix("http://").split(":")
    with bind(host, int(port)) as listening:
        server = asyncio.ensure_future(serve_until_cancelled(create_app(served), listening))
        async with asyncio.timeout(5):
            while two.engine.trouble:
                await asyncio.sleep(0.02)
        assert len(await two.engine.generate(ids, Sampling(max_tokens=4))) == 1
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def test_a_backend_without_the_fleets_adapters_gets_them_again(tmp_path: Path) -> None:
    scripted = [
        ScriptedEngine(lambda _: ANSWER, model="m", adapters={"x": lambda _: "tuned"}) for _ in range(2)
    ]
    served = [Served(roster_over(engine, "m"), hot_adapters=True) for engine in scripted]
    async with running(create_app(served[0])) as first, running(create_app(served[1])) as second:
        engines = [await EndpointEngine.connect(url, model="m") for url in (first, second)]
        fleet = FleetEngine(engines, check_seconds=0.05)
        await fleet.load_adapter("x", tmp_path)
        await served[0].models.unload("x")  # as if it had been started again
        await fleet.generate(prompt("?"), Sampling(max_tokens=4))
        async with asyncio.timeout(5):
            while "x" not in await engines[0].served_names():
                await asyncio.sleep(0.02)
        asked = [fleet.generate(prompt(f"{n}?" * 20), Sampling(max_tokens=9), adapter="x") for n in range(6)]
        assert len(await asyncio.gather(*asked)) == 6
        # Where one has lost it again, the other forgets it all the same, and the name is free.
        await served[1].models.unload("x")
        await fleet.unload_adapter("x")
        for engine in engines:
            assert "x" not in await engine.served_names()
        await fleet.load_adapter("x", tmp_path)
        await fleet.close()


async def test_what_a_backend_has_no_room_for_is_asked_of_another() -> None:
    busy, idle = (
        ScriptedEngine(lambda _: ANSWER, latency=0.5, model="m"),
        ScriptedEngine(lambda _: ANSWER, model="m"),
    )
    full = Served(
        Roster(ServedModel(Policy(busy, ScriptedTemplate()), no_refiner)), limits=Limits(requests=1)
    )
    other = Served(
        Roster(ServedModel(Policy(idle, ScriptedTemplate()), no_refiner)), limits=Limits(requests=1)
    )
    async with running(create_app(full)) as first, running(create_app(other)) as second:
        fleet = FleetEngine([await EndpointEngine.connect(url, model="m") for url in (first, second)])
        waiting = asyncio.ensure_future(
            fleet.backends[0].engine.generate(prompt("!"), Sampling(max_tokens=40))
        )
        await asyncio.sleep(0.1)
        assert len(await fleet.generate(prompt("?"), Sampling(max_tokens=4))) == 1
        assert fleet.trouble is None
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await fleet.close()


async def test_a_request_that_is_wrong_is_not_tried_elsewhere(two: Fleet) -> None:
    with pytest.raises(UsageError):
        await two.engine.generate(prompt("?"), Sampling(max_tokens=4, structure="{}"))
    assert sum(two.counts) <= 1
    with pytest.raises(UsageError):
        FleetEngine([])
