"""An engine whose model is a script: public API, so that whatever drives a model can be tested without one.

A script says, for a prompt, which answers the "model" gives and how likely each is. The engine then behaves
like a language model over bytes with exactly that mixture: every id is drawn from the conditional given what
stands already, log-probabilities and `score` are those conditionals, and a prompt that already holds the
beginning of an answer is continued from there. So tree searches, refiners and servers can be tested with real
sampling and numbers that can be checked by hand.

    engine = ScriptedEngine({"Is it raining?": ["Yes.", "No."]})          # two answers, equally likely
    engine = ScriptedEngine(lambda prompt_ids: [("Yes.", 0.9), ("No.", 0.1)])
    policy = Policy(engine, ScriptedTemplate())

Not covered: repetition penalties, and any dependence between answers of one prompt other than their bytes.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from strop.agent.chat import Ids
from strop.agent.engines.base import (
    Chunk,
    Completion,
    EngineInfo,
    Sampling,
    check_request,
    check_stream,
    unknown_adapter,
)
from strop.agent.engines.grammar import Grammars, can_constrain
from strop.agent.engines.scripted_model import (
    END_ID,
    SPECIAL_IDS,
    START_ID,
    Mixture,
    closed,
    decode,
    draw_sample,
    encode,
    score_ids,
    watched_ids,
)
from strop.agent.turns import plain_messages, with_tools_in_system
from strop.tools.errors import EngineError, ModelError
from strop.tools.spec import ToolSpec
from strop.tools.task import Message

_HEADER: Ids = (START_ID, *b"assistant\n")
_BLOCK = 16
"""Ids in a block of the imitated prefix cache."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A script entry that fails; `stream` yields `after` first."""

    error: Exception
    after: str = ""


Entry: TypeAlias = str | Sequence[str | tuple[str, float]] | Exception | Failure
"""What a script says of one prompt: one answer, answers equally likely, answers with weights, or a failure.

In an answer ``<|stop|>`` and ``<|end|>`` are the special ids; a missing end id is added.
"""
Script: TypeAlias = Mapping[Any, Entry] | Callable[[Ids], Entry | None]
"""Entry by prompt. A mapping's key is the prompt's ids, its whole text, or the content of its last turn; a
function gets the prompt's ids, up to where the assistant begins to write, and returns None for a prompt it
does not expect."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was made."""

    kind: str
    """``generate``, ``stream`` or ``score``."""
    prompt_ids: Ids
    """Everything the engine was given, an answer's beginning included."""
    sampling: Sampling | None
    """None for ``score``."""
    adapter: str | None
    completion_ids: Ids = ()
    """What was to be scored."""

    @property
    def text(self) -> str:
        """The prompt as text, special ids spelled out."""
        return decode(self.prompt_ids)


class ScriptedEngine:
    """See the module. Records every request in `requests`."""

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted",
        context_length: int = 65536,
        adapters: Mapping[str, Script] | None = None,
        latency: float = 0.0,
        chunk: int = 4,
        seed: int = 0,
        structures: bool = True,
    ):
        """`adapters` are scripts that answer instead once an adapter of that name is loaded; `latency` is
        seconds before a completion and before each chunk of `chunk` ids; `seed` drives requests without one;
        `structures` is whether it constrains (which takes XGrammar).
        """
        self._script = script
        self._adapter_scripts = adapters or {}
        self._latency = latency
        self._chunk = chunk
        self._random = random.Random(seed)
        self._info = EngineInfo(
            "scripted",
            model,
            context_length,
            structures=structures and can_constrain(),
            vocabulary=START_ID + 1,
            detail="byte-level, no model",
        )
        self._grammars: Grammars | None = None
        self._blocks: set[int] = set()
        self._closed = False
        self.requests: list[Request] = []
        """Every request, in order of arrival."""
        self.adapters: dict[str, Path] = {}
        """Adapters loaded, by name."""
        self.active = 0
        """Requests in flight."""
        self.cancelled = 0
        """Requests whose caller went away before the end."""

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def trouble(self) -> str | None:
        return "the scripted engine is closed" if self._closed else None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        check_request(self._info, prompt_ids, sampling)
        entry, prefix = self._look_up(Request("generate", tuple(prompt_ids), sampling, adapter))
        cached = self._cache(prompt_ids)
        with _Flight(self):
            await asyncio.sleep(self._latency)
            mixture = _mixture(entry)
            watched = watched_ids(mixture, prefix, sampling)
            mixture = self._allowed(mixture, prefix, sampling)
            seeds = self._seeds(prompt_ids, sampling)
            samples = [draw_sample(mixture, prefix, sampling, random.Random(seed)) for seed in seeds]
            return [replace(sample, cached_tokens=cached, watched=watched) for sample in samples]

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        check_request(self._info, prompt_ids, sampling)
        check_stream(sampling)
        entry, prefix = self._look_up(Request("stream", tuple(prompt_ids), sampling, adapter))
        cached = self._cache(prompt_ids)
        with _Flight(self):
            if isinstance(entry, Failure):
                await asyncio.sleep(self._latency)
                yield Chunk(encode(entry.after), None, cached)
            seed = self._seeds(prompt_ids, sampling)[0]
            mixture = _mixture(entry)
            watched = watched_ids(mixture, prefix, sampling)
            mixture = self._allowed(mixture, prefix, sampling)
            completion = draw_sample(mixture, prefix, sampling, random.Random(seed))
            ids = completion.token_ids
            for start in range(0, len(ids), self._chunk):
                await asyncio.sleep(self._latency)
                piece = ids[start : start + self._chunk]
                yield Chunk(piece, None, cached, watched if start == 0 else None)
            yield Chunk((), completion.finish_reason, cached)

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        request = Request("score", tuple(prompt_ids), None, adapter, tuple(completion_ids))
        entry, prefix = self._look_up(request)
        with _Flight(self):
            await asyncio.sleep(self._latency)
            return score_ids(_mixture(entry), prefix, completion_ids)

    async def load_adapter(self, name: str, path: Path) -> None:
        self._check_open()
        if not path.is_dir():
            raise ModelError(f"no adapter directory at {path}")
        self.adapters[name] = path

    async def unload_adapter(self, name: str) -> None:
        self._check_open()
        if name not in self.adapters:
            raise unknown_adapter(name, self.adapters)
        del self.adapters[name]

    async def close(self) -> None:
        self._closed = True

    def _allowed(self, mixture: Mixture, prefix: Ids, sampling: Sampling) -> Mixture:
        """The answers whose rest after `prefix` keeps to the structure."""
        if sampling.structure is None:
            return mixture
        self._grammars = self._grammars or Grammars.of_bytes(END_ID)
        grammars, structure, begun = self._grammars, sampling.structure, len(prefix)
        rests = [bytes(i for i in ids[begun:] if i < END_ID) for ids, _ in mixture]
        fitting = [
            answer
            for answer, rest in zip(mixture, rests, strict=True)
            if answer[0][:begun] == prefix and grammars.matcher(structure).accepts(rest)
        ]
        if not fitting:
            raise EngineError("no scripted answer keeps to the structure that was asked for")
        return fitting

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the scripted engine is closed")

    def _look_up(self, request: Request) -> tuple[Entry, Ids]:
        """What the script says, and the beginning of the answer that the prompt already holds."""
        self._check_open()
        if request.adapter is not None and request.adapter not in self.adapters:
            raise unknown_adapter(request.adapter, self.adapters)
        self.requests.append(request)
        script = self._adapter_scripts.get(request.adapter or "", self._script)
        prompt, prefix = split_prompt(request.prompt_ids)
        entry = script(prompt) if callable(script) else _entry_of(script, prompt)
        if entry is None:
            raise EngineError(f"nothing is scripted for the prompt that ends …{decode(prompt)[-200:]!r}")
        return entry, prefix

    def _seeds(self, prompt_ids: Sequence[int], sampling: Sampling) -> list[str]:
        base = self._random.random() if sampling.seed is None else sampling.seed
        prompt = zlib.crc32(repr(tuple(prompt_ids)).encode())
        return [f"{base}/{prompt}/{index}" for index in range(sampling.n)]

    def _cache(self, prompt_ids: Sequence[int]) -> int:
        """How many leading ids an earlier request had too, in whole blocks."""
        key, hit, counting = 0, 0, True
        for end in range(_BLOCK, len(prompt_ids) + 1, _BLOCK):
            key = hash((key, tuple(prompt_ids[end - _BLOCK : end])))
            counting = counting and key in self._blocks
            hit = end if counting else hit
            self._blocks.add(key)
        return hit


class _Flight:
    """Counts a request as active while it runs, and as cancelled where its caller leaves."""

    def __init__(self, engine: ScriptedEngine):
        self._engine = engine

    def __enter__(self) -> None:
        self._engine.active += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._engine.active -= 1
        if kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit):
            self._engine.cancelled += 1


def split_prompt(ids: Ids) -> tuple[Ids, Ids]:
    """Cut after the last assistant header: the prompt, and the beginning of an answer (often empty)."""
    for start in range(len(ids) - len(_HEADER), -1, -1):
        if ids[start] == START_ID and ids[start : start + len(_HEADER)] == _HEADER:
            end = start + len(_HEADER)
            return ids[:end], ids[end:]
    return ids, ()


def last_turn(prompt: Ids) -> str:
    """Content of the last turn before the assistant's header; the whole text where there are no turns."""
    end = len(prompt) - 1 - prompt[::-1].index(END_ID) if END_ID in prompt else len(prompt)
    begin = end - 1 - prompt[:end][::-1].index(START_ID) if START_ID in prompt[:end] else 0
    return decode(prompt[begin:end], skip_special=True).partition("\n")[2] or decode(prompt)


def _entry_of(script: Mapping[Any, Entry], prompt: Ids) -> Entry | None:
    for key in (prompt, decode(prompt), last_turn(prompt)):
        if key in script:
            return script[key]
    return None


def _mixture(entry: Entry) -> Mixture:
    if isinstance(entry, Failure):
        raise entry.error
    if isinstance(entry, Exception):
        raise entry
    answers = [entry] if isinstance(entry, str) else list(entry)
    weighted = [(answer, 1.0) if isinstance(answer, str) else answer for answer in answers]
    if not weighted or not all(weight > 0 for _, weight in weighted):
        raise EngineError("a script entry needs at least one answer, each with a weight above 0")
    return [(closed(encode(text, special=True)), weight) for text, weight in weighted]


class ScriptedTemplate:
    """A chat template over the scripted engine's ids, with the interface of `ChatTemplate`.

    A turn is ``<|start|>role\\ncontent<|end|>\\n``; tools are listed in the system message.
    """

    def __init__(self, call_format: str = "fenced_json"):
        self.call_format = call_format
        """Key of `strop.tools.formats.FORMATS`."""
        self.end_ids: Ids = (END_ID,)
        """Ids that end a turn."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
        turns = plain_messages(messages, self.call_format)
        turns = with_tools_in_system(turns, tools, self.call_format) if tools else turns
        return (*(i for turn in turns for i in _turn(turn["role"], turn["content"])), *_HEADER)

    def next_turn_ids(self, role: str, content: str) -> Ids:
        turn = plain_messages([{"role": role, "content": content}], self.call_format)[0]
        return (*b"\n", *_turn(turn["role"], turn["content"]), *_HEADER)

    def answer_ids(self, text: str) -> Ids:
        return (*encode(text), END_ID)

    def encode(self, text: str) -> Ids:
        return encode(text)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return decode(ids, skip_special=skip_special)

    def token_id(self, text: str) -> int | None:
        return SPECIAL_IDS.get(text)


def _turn(role: str, content: str) -> Ids:
    return (START_ID, *f"{role}\n{content}".encode(), END_ID, *b"\n")
