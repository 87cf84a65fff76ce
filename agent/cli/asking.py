"""Who answers a benchmark: a model of this machine, or somebody's endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.answer import Answerer
from strop.agent.cache import CachedAnswerer
from strop.agent.cli.options import LONGEST
from strop.agent.cli.parsing import engine_args
from strop.agent.refinement import parse_refine
from strop.agent.user import User
from strop.tools.errors import UsageError
from strop.tools.files import json_text
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say whom to ask, as they were given."""

    model: str
    adapter: Path | None
    endpoint: str | None
    api_key: str | None
    refine: str
    engine: str
    max_model_len: int | None
    """Of a model of this machine; LONGEST where None."""
    engine_flags: list[str] | None
    prompt_mode: bool = False

    @property
    def label(self) -> str:
        """What results are filed under: the model, and the adapter if there is one."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter.resolve().name}"


@dataclass(frozen=True, slots=True)
class Player:
    """The options that say who plays the user of dialogues."""

    endpoint: str | None
    model: str | None
    api_key: str | None

    @property
    def label(self) -> str:
        """What results are filed under."""
        from strop.agent.remote import chat_url

        return f"{self.model} at {chat_url(self.endpoint or '')}"


@asynccontextmanager
async def opened_user(player: Player) -> AsyncIterator[User | None]:
    """Somebody to play the user, if one is named. Raises UsageError where only half of it is."""
    if player.endpoint is None and player.model is None:
        yield None
        return
    if player.endpoint is None or player.model is None:
        raise UsageError("who plays the user takes both, --user-endpoint and --user-model")
    from strop.agent.remote import RemoteChat

    async with RemoteChat(player.endpoint, player.model, api_key=player.api_key) as remote:
        yield User(remote)


@dataclass(frozen=True, slots=True)
class Opened:
    """Somebody to ask."""

    answerer: Answerer
    known_by: dict[str, str]
    """What tells the answerer from others of its name, for `run_bench`."""


@asynccontextmanager
async def opened_answerer(asked: Asked, cache: Path | None = None) -> AsyncIterator[Opened]:
    """Somebody to ask, whose answers are kept in `cache`, if one is named.

    Raises UsageError for options that contradict each other, RunError for a cache that is none, and what
    loading a policy raises.
    """
    async with _opened(asked) as (opened, prompt_of):
        if cache is None:
            yield opened
            return
        identity = {**opened.known_by, "model": asked.label, "refine": asked.refine}
        with CachedAnswerer(opened.answerer, cache, identity, prompt_of) as cached:
            yield Opened(cached, opened.known_by)


def _sent(task: Task) -> Any:
    """What of a task an endpoint is sent."""
    return [[dict(message) for message in task.messages], [tool.to_openai() for tool in task.tools]]


@asynccontextmanager
async def _opened(asked: Asked) -> AsyncIterator[tuple[Opened, Callable[[Task], Any]]]:
    """And what a task's prompt is: its ids; of an endpoint what it is sent."""
    setting = parse_refine(asked.refine)
    if asked.endpoint is not None:
        if asked.adapter is not None or asked.engine != "auto":
            raise UsageError("--endpoint asks a server: --adapter and --engine make no sense with it")
        if asked.engine_flags:
            raise UsageError("--endpoint asks a server: --engine-arg makes no sense with it")
        if asked.max_model_len is not None:
            raise UsageError("--endpoint asks a server, which has its own --max-model-len")
        if asked.prompt_mode and setting.rounds:
            raise UsageError("--prompt-mode sends no tools, and servers refine only where there are some")
        from rich.console import Console

        from strop.agent.remote import RemoteChat, chat_url

        async with RemoteChat(
            asked.endpoint,
            asked.model,
            api_key=asked.api_key,
            refine=asked.refine,
            prompt_mode=asked.prompt_mode,
            say=Console(stderr=True, markup=False).print,
        ) as remote:
            mode = {"tools": "in the prompt"} if asked.prompt_mode else {}
            yield Opened(remote, {"endpoint": chat_url(asked.endpoint), **mode}), _sent
        return
    if asked.prompt_mode:
        raise UsageError("--prompt-mode is for endpoints: here a model's own template shows it the tools")
    from strop.agent.loading import PolicySource, known_by, load_policy
    from strop.refine.choice import answerer_for

    arguments = engine_args(asked.engine_flags)
    longest = LONGEST if asked.max_model_len is None else asked.max_model_len
    source = PolicySource(asked.model, asked.adapter, asked.engine, longest, arguments)
    told = {"engine_args": json_text(arguments)} if arguments else {}
    async with load_policy(source) as loaded:
        answerer = answerer_for(loaded.policy, loaded.profile, setting)
        yield Opened(answerer, known_by(loaded.policy) | told), loaded.policy.prompt_ids
