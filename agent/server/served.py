"""What a server serves: plain data, put together by the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from strop.agent.answer import Answerer
from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.agent.server.protocol import RefineSetting

DEFAULT_SAMPLING: Final = Sampling(max_tokens=1024)
"""Greedy, which calls tools best, where OpenAI samples at temperature 1."""


@dataclass(frozen=True, slots=True)
class Served:
    """One model behind one address."""

    policy: Policy
    """Answers without refinement, and streams."""
    refiners: Callable[[RefineSetting], Answerer]
    """What answers under a setting other than ``"off"``; called once a choice, so it should be cheap."""
    refine: RefineSetting = "off"
    """For requests that say nothing of it."""
    name: str = ""
    """Model name clients use; the policy's own if empty."""
    created: int = field(default_factory=lambda: int(time.time()))
    """Unix seconds."""
    api_key: str | None = None
    """Asked for under ``/v1`` if set."""
    sampling: Sampling = DEFAULT_SAMPLING
    """For requests that say nothing of it."""
    max_body_bytes: int = 8 * 2**20
    """Longer bodies are refused with 413."""
    keep_alive: float = 5.0
    """Seconds between the comments that keep a stream open while nothing of the answer is ready."""

    @property
    def model(self) -> str:
        """The name clients use."""
        return self.name or self.policy.name
