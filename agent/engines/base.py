"""The engine protocol: token ids in, token ids out.

An engine knows nothing of chats, tools or tasks. Whoever talks to one renders a prompt to ids once and
appends to it, so that an engine with a prefix cache computes every prefix once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from strop.tools.errors import TooLongError, UsageError

MOST_WATCHED = 16
"""Ids of one request that can be watched; vLLM's own bound is 128."""


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """A stop token (kept as its last id) or a stop text."""
    LENGTH = "length"
    """`Sampling.max_tokens`, or the context is full."""
    ABORT = "abort"
    """Cancelled by the caller, or the engine gave it up."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample; the defaults are greedy."""

    max_tokens: int = 512
    """Most ids to generate for each sample."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus mass in (0, 1]."""
    n: int = 1
    """Samples of the one prompt."""
    seed: int | None = None
    """Makes this request repeatable on engines that can (`EngineInfo.seeds`); None for no promise."""
    stop: tuple[str, ...] = ()
    """Texts that end a sample; the ids of the text stay in the completion."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end a sample, besides the model's own end-of-turn ids."""
    logprobs: bool = False
    """Whether to return the log-probability of every sampled id."""
    top_logprobs: int = 0
    """With `logprobs`: the likeliest ids to report at every step, 0 to 20."""
    watch: tuple[int, ...] = ()
    """Ids whose log-probability at the first step is reported, whether drawn or not."""
    structure: str | None = None
    """JSON text of the XGrammar structural tag that a sample must match (`strop.tools.structure`); None for
    free text."""


GREEDY_BELOW = 1e-5
"""Temperature below which vLLM takes the likeliest id."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample."""

    token_ids: tuple[int, ...]
    """Generated ids, the stop token that ended it included."""
    finish_reason: FinishReason
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each id under the model at temperature 1; None unless asked for. Where there
    is a structure, vLLM's are among what it allows."""
    cached_tokens: int = 0
    """Prompt ids that came out of the prefix cache."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """For each id, the likeliest ids at its step with their log-probabilities, best first; None unless asked
    for."""
    watched: tuple[float, ...] | None = None
    """Log-probability of each of `Sampling.watch` at the first step, before any structure forbade it; None
    where none was asked for."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a growing sample."""

    token_ids: tuple[int, ...]
    """The new ids only; may be empty in the last chunk."""
    finish_reason: FinishReason | None = None
    """None until the last chunk."""
    cached_tokens: int = 0
    """Prompt ids that came out of the prefix cache; the same in every chunk."""
    watched: tuple[float, ...] | None = None
    """As in `Completion`; in the first chunk with ids only."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do."""

    kind: str
    """``vllm``, ``transformers``, ``endpoint`` or ``scripted``."""
    model: str
    """Name the model is served under."""
    context_length: int
    """Most ids of prompt and completion together."""
    seeds: bool = True
    """Whether `Sampling.seed` makes a request repeatable."""
    structures: bool = False
    """Whether `Sampling.structure` is enforced; a request with one is refused otherwise."""
    vocabulary: int | None = None
    """Ids are below this; None where that is not known. vLLM dies of an id that is not."""
    detail: str = ""
    """Version, device and number format, for people."""


class Engine(Protocol):
    """What every engine does. Methods may be called concurrently from one event loop.

    Cancelling a call frees what it used. All raise EngineError when the engine fails (EngineDeadError where
    only a new engine helps), and UsageError where prompt and `max_tokens` cannot fit the context, an adapter
    is unknown or a structure cannot be enforced.
    """

    @property
    def info(self) -> EngineInfo: ...

    @property
    def trouble(self) -> str | None:
        """Why no request can be served now, as far as that is known without asking; None where they can."""
        ...

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        """`sampling.n` completions of one prompt."""
        ...

    def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        """One sample as it grows; the chunks' ids, joined, are what `generate` would return.

        Raises UsageError where `sampling.n` is not 1.
        """
        ...

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        """Natural log-probability of every id of `completion_ids` after `prompt_ids`."""
        ...

    async def load_adapter(self, name: str, path: Path) -> None:
        """Make the peft LoRA adapter in directory `path` usable as `adapter=name`."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter that `load_adapter` loaded. Raises UsageError where it is not loaded."""
        ...

    async def close(self) -> None:
        """Free the model and its processes; further calls raise EngineError."""
        ...


async def closable(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk]:
    """`chunks`, which engines need not make a generator, so that leaving early ends the request now."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def check_request(info: EngineInfo, prompt_ids: Sequence[int], sampling: Sampling) -> None:
    """What every engine checks first. Raises UsageError naming the field and its bound."""
    problems = (
        (not prompt_ids, "the prompt is empty"),
        (sampling.max_tokens < 1, f"max_tokens must be at least 1, got {sampling.max_tokens}"),
        (sampling.n < 1, f"n must be at least 1, got {sampling.n}"),
        (not sampling.temperature >= 0, f"temperature must be 0 or more, got {sampling.temperature}"),
        (not 0 < sampling.top_p <= 1, f"top_p must lie in (0, 1], got {sampling.top_p}"),
        (
            not 0 <= sampling.top_logprobs <= 20,
            f"top_logprobs must lie in 0 to 20, got {sampling.top_logprobs}",
        ),
        (len(sampling.watch) > MOST_WATCHED, f"at most {MOST_WATCHED} ids can be watched"),
        (
            info.vocabulary is not None and not all(0 <= i < info.vocabulary for i in sampling.watch),
            f"watch has ids outside the vocabulary of {info.vocabulary} of {info.model}",
        ),
        (
            sampling.structure is not None and not info.structures,
            f"{info.model} runs on an engine ({info.kind}) that cannot constrain what is written",
        ),
        (
            info.vocabulary is not None and not all(0 <= i < info.vocabulary for i in prompt_ids),
            f"the prompt has ids outside the vocabulary of {info.vocabulary} of {info.model}",
        ),
    )
    for wrong, message in problems:
        if wrong:
            raise UsageError(message)
    if len(prompt_ids) + sampling.max_tokens > info.context_length:
        raise TooLongError(
            f"{len(prompt_ids)} prompt tokens and max_tokens={sampling.max_tokens} do not fit the context of "
            f"{info.context_length} tokens of {info.model}; shorten the prompt or lower max_tokens"
        )


def samples_alike(sampling: Sampling) -> bool:
    """Whether several samples are asked for that are one and the same: servers refuse, or repeat the work."""
    return sampling.n > 1 and sampling.temperature < GREEDY_BELOW


def check_stream(sampling: Sampling) -> None:
    """Raises UsageError where more than one sample is to be streamed."""
    if sampling.n != 1:
        raise UsageError(f"only one sample can be streamed, got n={sampling.n}")


def unknown_adapter(name: str, known: Iterable[str]) -> UsageError:
    """The error for an adapter nobody loaded, naming those that are."""
    names = ", ".join(sorted(known)) or "none"
    return UsageError(f"adapter {name!r} is not loaded (loaded: {names})")
