"""The scripted engine's language model: bytes as ids, and a mixture of whole answers to draw from.

Every id is drawn from its conditional given what stands already, so that log-probabilities can be checked by
hand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from strop.agent.chat import Ids
from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.tools.errors import EngineError

END_ID = 256
"""Ends a turn; spelled ``<|end|>``."""
STOP_ID = 257
"""A token of its own for "nothing to improve"; spelled ``<|stop|>``."""
START_ID = 258
"""Begins a turn; spelled ``<|start|>``."""
SPECIAL_IDS: Mapping[str, int] = {"<|end|>": END_ID, "<|stop|>": STOP_ID, "<|start|>": START_ID}
IMPOSSIBLE = -100.0
"""Log-probability `score` gives an id the script never writes; finite, as a real model's would be."""

_SPELLED = {index: text.encode() for text, index in SPECIAL_IDS.items()}


def encode(text: str, *, special: bool = False) -> Ids:
    """UTF-8 bytes as ids; with `special`, spelled special ids become those ids."""
    if not special:
        return tuple(text.encode())
    for spelling, index in SPECIAL_IDS.items():
        before, found, after = text.partition(spelling)
        if found:
            return (*encode(before, special=True), index, *encode(after, special=True))
    return tuple(text.encode())


def decode(ids: Sequence[int], *, skip_special: bool = False) -> str:
    """The inverse of ``encode(special=True)``; bytes that are no UTF-8 become U+FFFD."""
    spelled = {} if skip_special else _SPELLED
    return b"".join(bytes([i]) if i < 256 else spelled.get(i, b"") for i in ids).decode(errors="replace")


Mixture: TypeAlias = list[tuple[Ids, float]]
"""Answers as ids, each with its weight."""


def closed(ids: Ids) -> Ids:
    """`ids` with the id that ends a turn."""
    return ids if ids[-1:] == (END_ID,) else (*ids, END_ID)


def next_probabilities(mixture: Mixture, written: Ids) -> dict[int, float]:
    """P(next id | what is written) under the mixture, in the order of the answers; empty where no answer
    begins like this."""
    mass: dict[int, float] = {}
    for ids, weight in mixture:
        if len(ids) > len(written) and ids[: len(written)] == written:
            following = ids[len(written)]
            mass[following] = mass.get(following, 0.0) + weight
    total = sum(mass.values())
    return {index: share / total for index, share in mass.items()}


def watched_ids(mixture: Mixture, written: Ids, sampling: Sampling) -> tuple[float, ...] | None:
    """`Completion.watched` after what is written."""
    if not sampling.watch:
        return None
    probabilities = next_probabilities(mixture, written)
    return tuple(math.log(probabilities[i]) if i in probabilities else IMPOSSIBLE for i in sampling.watch)


def draw_sample(mixture: Mixture, prefix: Ids, sampling: Sampling, rng: random.Random) -> Completion:
    """One answer, after the beginning `prefix` that stands already."""
    ids: list[int] = []
    logprobs: list[float] = []
    likeliest: list[tuple[tuple[int, float], ...]] = []
    reason = FinishReason.LENGTH
    while len(ids) < sampling.max_tokens:
        probabilities = next_probabilities(mixture, (*prefix, *ids))
        if not probabilities:
            raise EngineError(f"no scripted answer begins with {decode((*prefix, *ids))[-200:]!r}")
        ids.append(_draw(probabilities, sampling, rng))
        logprobs.append(math.log(probabilities[ids[-1]]))
        ranked = sorted(probabilities.items(), key=lambda item: -item[1])[: sampling.top_logprobs]
        likeliest.append(tuple((index, math.log(share)) for index, share in ranked))
        if ids[-1] == END_ID or ids[-1] in sampling.stop_token_ids or _ends_with_stop(ids, sampling.stop):
            reason = FinishReason.STOP
            break
    if not sampling.logprobs:
        return Completion(tuple(ids), reason)
    alternatives = tuple(likeliest) if sampling.top_logprobs else None
    return Completion(tuple(ids), reason, tuple(logprobs), top_logprobs=alternatives)


def _ends_with_stop(ids: list[int], stops: Sequence[str]) -> bool:
    return any(tuple(ids[-len(encode(stop)) :]) == encode(stop) for stop in stops)


def _draw(probabilities: Mapping[int, float], sampling: Sampling, rng: random.Random) -> int:
    """One id: the likeliest at temperature 0 (the first such answer's), else p^(1/T) within the nucleus."""
    if sampling.temperature == 0:
        return max(probabilities, key=lambda index: probabilities[index])
    sharpened = {i: p ** (1 / sampling.temperature) for i, p in probabilities.items()}
    total = sum(sharpened.values())
    nucleus: dict[int, float] = {}
    for index, share in sorted(sharpened.items(), key=lambda item: -item[1]):
        if sum(nucleus.values()) >= sampling.top_p * total and nucleus:
            break
        nucleus[index] = share
    return rng.choices(list(nucleus), list(nucleus.values()))[0]


def score_ids(mixture: Mixture, prefix: Ids, completion: Sequence[int]) -> tuple[float, ...]:
    """Log-probability of each id of `completion` after `prefix`."""
    scores = []
    for at, index in enumerate(completion):
        probability = next_probabilities(mixture, (*prefix, *completion[:at])).get(index, 0.0)
        scores.append(math.log(probability) if probability else IMPOSSIBLE)
    return tuple(scores)
