"""The models behind one address, by the names clients use.

The first is the one the server was started with; the others are adapters of it. Any name may be written
with ``strop:`` before it, which asks for adaptive refinement: the way for clients that can set nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from strop.agent.answer import Answerer
from strop.agent.policy import Policy
from strop.agent.refinement import ADAPTIVE, RefineSetting
from strop.agent.server.errors import ApiError, refused

REFINED: Final = "strop:"
"""Before a model's name: adaptive refinement, unless the request says otherwise."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, or one adapter."""

    policy: Policy
    """Answers without refinement, and streams."""
    refiners: Callable[[RefineSetting], Answerer]
    """What answers under a setting with any rounds; called once a choice, so it should be cheap."""
    name: str = ""
    """What clients call it; the policy's own name if empty."""
    created: int = field(default_factory=lambda: int(time.time()))
    """Unix seconds."""
    parent: str | None = None
    """Name of the model that this is an adapter of."""
    root: str | None = None
    """Where an adapter was loaded from."""

    @property
    def model(self) -> str:
        """The name clients use."""
        return self.name or self.policy.name

    @property
    def card(self) -> dict[str, Any]:
        """OpenAI's model object, with vLLM's additions."""
        return {
            "id": self.model,
            "object": "model",
            "created": self.created,
            "owned_by": "strop",
            "root": self.root or self.model,
            "parent": self.parent,
            "max_model_len": self.policy.engine.info.context_length,
        }


Adapt: TypeAlias = Callable[[str, Path], Awaitable[ServedModel]]
"""Loads the adapter in a directory into the engine under a name."""


class Roster:
    """See the module."""

    def __init__(self, first: ServedModel, adapt: Adapt | None = None):
        """`adapt` loads adapters; without it there can be none."""
        self.first = first
        """The model the server was started with."""
        self._adapt = adapt
        self._models = {first.model: first}
        self._changing = asyncio.Lock()

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """All, the first first."""
        return tuple(self._models.values())

    def find(self, name: str | None) -> tuple[ServedModel, RefineSetting | None]:
        """The model, and the refinement its name asks for; None asks for the first. Raises ApiError 404."""
        if name is None:
            return self.first, None
        if name in self._models:
            return self._models[name], None
        plain = name.removeprefix(REFINED)
        if plain != name and plain in self._models:
            return self._models[plain], ADAPTIVE
        known = ", ".join(map(repr, self._models))
        message = f"no model {name[:200]!r} here; this server has {known}"
        raise ApiError(404, message, param="model", code="model_not_found")

    async def load(self, name: str, path: Path) -> None:
        """Load an adapter. Raises ApiError 400 for a name that is taken, ModelError for a bad directory."""
        if self._adapt is None:
            raise refused("this server was started without room for adapters (--hot-loras or --max-loras)")
        async with self._changing:
            if not name or name.startswith(REFINED) or name in self._models:
                raise refused(f"the name {name[:200]!r} is taken or reserved", "lora_name")
            self._models[name] = await self._adapt(name, path)

    async def unload(self, name: str) -> None:
        """Forget an adapter; requests that are running keep it. Raises ApiError 404, 400 for the first."""
        async with self._changing:
            model, _ = self.find(name)
            if model.parent is None or model.model != name:
                raise refused(f"{name[:200]!r} is no adapter", "lora_name")
            del self._models[name]
            await model.policy.engine.unload_adapter(name)
