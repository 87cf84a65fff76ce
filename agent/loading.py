"""From a model's name to a policy that answers.

The one place that puts a checkpoint, its chat template, its profile, an engine and an adapter together.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from strop.agent.adapter import require_adapter
from strop.agent.chat import ChatTemplate
from strop.agent.checkpoint import fingerprint
from strop.agent.engines import open_engine
from strop.agent.engines.base import Engine
from strop.agent.engines.endpoint import EndpointEngine
from strop.agent.engines.fleet import FleetEngine
from strop.agent.engines.supervised import SupervisedEngine
from strop.agent.models import ModelStore, ResolvedModel
from strop.agent.policy import Policy
from strop.agent.profile import Profile, read_profile
from strop.tools.errors import UsageError


@dataclass(frozen=True, slots=True)
class PolicySource:
    """What to load, and into what."""

    model: str
    """Catalogue name, hub id, checkpoint directory or GGUF file."""
    adapter: Path | None = None
    """peft LoRA adapter directory."""
    engine: str = "auto"
    """``auto``, ``vllm``, ``transformers``, or the base URL of a completions server."""
    max_model_len: int = 4096
    """Most ids of prompt and answer together."""
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to vLLM as they are."""
    call_format: str | None = None
    """The form calls are written in, over what the model's profile and template say."""
    max_lora_rank: int = 0
    """Above 0: room in vLLM for adapters up to this rank beside the model."""
    max_adapters: int = 1
    """How many of them are computed together."""
    backends: tuple[str, ...] = ()
    """Base URLs of servers that run the model instead; then `engine` is not started."""
    serving: bool = False
    """Whether the engine is to be started again when it dies, and vLLM to count for ``/metrics``."""

    @property
    def gpus(self) -> int:
        """What the engine spreads over, where there are GPUs."""
        sizes = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
        return math.prod(int(self.engine_args.get(size, 1)) for size in sizes)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy, and what is known of how its model talks."""

    policy: Policy
    profile: Profile
    """The adapter's, completed by the model's."""
    checkpoint: Path
    """Directory of the model."""

    async def adapted(self, name: str, path: Path) -> Loaded:
        """This model with the peft LoRA adapter in directory `path`, which its engine loads as `name`.

        Raises ModelError where it cannot be read or does not fit, UsageError where the engine has no room.
        """
        weights = await asyncio.to_thread(weights_of, self.checkpoint, path)
        profile = read_profile(path).over(self.profile)
        template = await asyncio.to_thread(
            ChatTemplate.load, self.checkpoint, call_format=profile.call_format
        )
        engine = self.policy.engine
        await engine.load_adapter(name, path)
        policy = Policy(engine, template, name=name, adapter=name, weights=weights)
        return Loaded(policy, profile, self.checkpoint)


def _say(text: str) -> None:
    """On standard error; an error's text is no markup."""
    Console(stderr=True).print(text, markup=False)


def known_by(policy: Policy) -> dict[str, str]:
    """What tells a policy from others of its name, for the settings of whatever is made with it."""
    info = policy.engine.info
    return {
        "weights": policy.weights,
        "engine": info.detail or info.kind,
        "context": str(info.context_length),
    }


def weights_of(model: Path, adapter: Path | None) -> str:
    """What tells this checkpoint with this adapter from any other. Raises ModelError."""
    if adapter is not None:
        require_adapter(adapter)
    parts = [fingerprint(model)] + ([] if adapter is None else [fingerprint(adapter)])
    return "+".join(parts)


async def _engine(source: PolicySource, model: ResolvedModel, template: ChatTemplate) -> Engine:
    if source.backends:
        return await _fleet(source, model, template)

    async def start() -> Engine:
        return await open_engine(
            model.path,
            kind=source.engine,
            adapter=source.adapter,
            served_name=model.name,
            max_model_len=source.max_model_len,
            max_lora_rank=source.max_lora_rank,
            max_adapters=source.max_adapters,
            statistics=source.serving,
            engine_args=source.engine_args,
        )

    engine = await start()
    return SupervisedEngine(engine, start, _say) if source.serving else engine


async def _fleet(source: PolicySource, model: ResolvedModel, template: ChatTemplate) -> Engine:
    if source.adapter is not None or source.engine_args:
        raise UsageError("backends run the model: start them with the adapter and the engine's arguments")
    async with AsyncExitStack() as opened:
        engines = []
        for url in source.backends:
            engine = await EndpointEngine.connect(
                url,
                model=model.name,
                context_length=source.max_model_len,
                api_key=os.environ.get("STROP_BACKEND_KEY"),
                template=template,
                say=_say,
            )
            opened.push_async_callback(engine.close)
            engines.append(engine)
        opened.pop_all()  # all are there: the fleet closes them
    return FleetEngine(engines)


@asynccontextmanager
async def load_policy(source: PolicySource) -> AsyncIterator[Loaded]:
    """Load a policy and close its engine afterwards.

    Raises ModelError where model or adapter cannot be found or read, EngineError where no engine starts.
    """
    model = ModelStore().resolve(source.model)
    profile = model.profile
    if source.adapter is not None:
        require_adapter(source.adapter)
        profile = read_profile(source.adapter).over(profile)
    weights = weights_of(model.path, source.adapter)
    if source.call_format is not None:
        profile = replace(profile, call_format=source.call_format)
    template = ChatTemplate.load(model.path, call_format=profile.call_format)
    engine = await _engine(source, model, template)
    try:
        yield Loaded(Policy(engine, template, name=model.name, weights=weights), profile, model.path)
    finally:
        await engine.close()
