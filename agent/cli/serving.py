"""What ``strop serve`` puts together: a policy, refiners around it, adapters beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from strop.agent.answer import Answerer
from strop.agent.loading import Loaded, PolicySource, load_policy, weights_of
from strop.agent.refinement import OFF, RefineSetting
from strop.agent.server.guard import Limits
from strop.agent.server.roster import REFINED, Roster, ServedModel
from strop.agent.server.served import DEFAULT_LIMITS, Served
from strop.refine.assurance import Gate
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

    Raises what `load_policy` raises, ModelError for an adapter that cannot be loaded, UsageError for a
    name of one that is taken.
    """
    for name, _ in settings.adapters:
        if name.startswith(REFINED) or name == (settings.name or settings.source.model):
            raise UsageError(f"an adapter cannot be called {name!r}: the name is taken or reserved")
    async with load_policy(settings.source) as loaded:
        first = _served_model(loaded, settings, settings.name)

        async def adapt(name: str, path: Path) -> ServedModel:
            if settings.stopping.gate is not None:  # before the engine takes it
                weights = await asyncio.to_thread(weights_of, loaded.checkpoint, path)
                _require_same(settings.stopping.gate, weights, name)
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
    if stopping.gate is not None:
        _require_same(stopping.gate, loaded.policy.weights, loaded.policy.name)
    return lambda setting: answerer_for(loaded.policy, loaded.profile, setting, stopping)


def _require_same(gate: Gate, weights: str, name: str) -> None:
    """Raises UsageError where a gate was calibrated for another policy."""
    if gate.weights != weights:
        raise UsageError(
            f"the gate was calibrated for {gate.model}, with other weights than {name} has here: "
            "run `strop calibrate` with the same model and adapter"
        )


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
