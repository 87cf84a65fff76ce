"""Log-probabilities of given ids, by what a server reports of one step."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

MOST_LIKELY = 20
"""Log-probabilities a step that vLLM reports by default (``max_logprobs``)."""


def watched_among(known: Mapping[int, float], watch: Sequence[int]) -> tuple[float, ...]:
    """Log-probability of each of `watch`, where those of the likeliest ids are `known`.

    Any other counts as the most it can be (`at_most`).
    """
    return tuple(known[index] if index in known else at_most(known.values()) for index in watch)


def at_most(likeliest: Collection[float]) -> float:
    """The largest log-probability of an id that is not among the `likeliest`, whose log-probabilities these
    are: no more than the least of them, and no more than what they leave over."""
    left = 1.0 - sum(map(math.exp, likeliest))
    return min(*likeliest, math.log(max(left, 1e-12)))
