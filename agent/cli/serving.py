"""What ``strop serve`` puts together: a policy, refiners around it, adapters beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from strop.agent.answer import Answerer
from strop.agent.loading import Loaded, PolicySource, load_policy
from strop.agent.refinement import OFF, RefineSetting
from strop.agent.server.guard import Limits
from strop.agent.server.roster import Roster, ServedModel
from strop.agent.server.served import DEFAULT_LIMITS, Served
from strop.refine.choice import answerer_for
from strop.refine.refiner import Stopping
from strop.tools.errors import UsageError


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What is served, and how; plain data, so that it can be sent to another process."""

    source: PolicySource
    name: str = ""
    """What clients call the model; its own name if empty."""
    refine: RefineSetting = OFF
    stopping: Stopping = field(default_factory=Stopping)
    adapters: tuple[tuple[str, Path], ...] = ()
    """Names and directories of adapters to load at the start."""
    hot_adapters: bool = False
    """Whether clients may load others."""
    api_keys: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS


@asynccontextmanager
async def serving(settings: ServeSettings) -> AsyncIterator[Served]:
    """Everything loaded and ready to be given to `create_app`; the engine is closed afterwards.

    Raises what `load_policy` raises, ModelError for an adapter that cannot be loaded.
    """
    async with load_policy(settings.source) as loaded:
        first = _served_model(loaded, settings, settings.name)

        async def adapt(name: str, path: Path) -> ServedModel:
            adapted = await loaded.adapted(name, path)
            return _served_model(adapted, settings, name, parent=first.model, root=str(path))

        takes_adapters = settings.source.max_lora_rank > 0 or bool(settings.source.backends)
        roster = Roster(first, adapt if takes_adapters else None)
        for name, path in settings.adapters:
            await roster.load(name, path)
        yield Served(
            roster,
            refine=settings.refine,
            api_keys=settings.api_keys,
            hot_adapters=settings.hot_adapters,
            limits=settings.limits,
            cors_origins=settings.cors_origins,
        )


def _served_model(
    loaded: Loaded, settings: ServeSettings, name: str, *, parent: str | None = None, root: str | None = None
) -> ServedModel:
    return ServedModel(loaded.policy, _refiners(loaded, settings.stopping), name, parent=parent, root=root)


def _refiners(loaded: Loaded, stopping: Stopping) -> Callable[[RefineSetting], Answerer]:
    gate = stopping.gate
    if gate is not None and gate.weights != loaded.policy.weights:
        raise UsageError(
            f"the gate was calibrated for {gate.model}, with other weights than {loaded.policy.name} has: "
            "run `strop calibrate` for these"
        )
    return lambda setting: answerer_for(loaded.policy, loaded.profile, setting, stopping)


def run_serve(settings: ServeSettings, host: str, port: int) -> None:
    """Serve until a signal. Raises UsageError, EngineError for an address that cannot be had."""
    from strop.agent.server.app import create_app
    from strop.agent.server.run import bind, run_server

    async def run() -> None:
        # The address first: a taken port should not cost the minute an engine takes to start.
        with bind(host, port) as listening:
            async with serving(settings) as served:
                await run_server(create_app(served), listening)

    asyncio.run(run())
