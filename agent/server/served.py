"""What a server serves: plain data, put together by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strop.agent.engines.base import Sampling
from strop.agent.refinement import OFF, RefineSetting
from strop.agent.server.guard import Limits
from strop.agent.server.roster import Roster, ServedModel

DEFAULT_SAMPLING: Final = Sampling(max_tokens=1024)
"""Greedy, which calls tools best, where OpenAI samples at temperature 1."""
DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Served:
    """The models behind one address, and how requests are treated."""

    models: Roster
    refine: RefineSetting = OFF
    """For requests that say nothing of it."""
    api_keys: tuple[str, ...] = ()
    """One of them is asked for under ``/v1``, if there are any."""
    sampling: Sampling = DEFAULT_SAMPLING
    """For requests that say nothing of it."""
    hot_adapters: bool = False
    """Whether clients may load adapters from this machine's directories, and unload them."""
    max_body_bytes: int = 8 * 2**20
    """Longer bodies are refused with 413."""
    limits: Limits = DEFAULT_LIMITS
    """On requests."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may send requests; none by default, ``*`` is all."""
    keep_alive: float = 5.0
    """Seconds between the comments that keep a stream open while nothing of the answer is ready."""

    @property
    def first(self) -> ServedModel:
        """The model for requests that name none."""
        return self.models.first
