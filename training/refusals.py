"""Requests that none of the tools on offer can meet, and how to say so.

Eight in ten are near misses: tools of the same domain, or described in much the same words, that cannot do
what is asked. The rest is far from everything on offer, as many real questions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from strop.training.catalogue import Catalogue, CatalogueTool, Unmet
from strop.training.catalogue.phrasing import Slot, fill
from strop.training.exchange import Exchange, asking
from strop.training.offers import any_tool, far_tools, near_misses, near_requests
from strop.training.wording import sentence, single

_NEAR = 0.8
"""Share of near misses."""
_OFFERED = (1, 1, 1, 1, 2, 2, 3)
_REFUSALS = (
    "None of the available tools can {missing}; they only let me {does}.",
    "I cannot {missing} with the tools I have. What I can do is {does}.",
    "Sorry, there is no tool here that can {missing}. I could {does}, if that helps.",
    "That would need a tool that can {missing}, and I have none. The tools at hand only {does}.",
    "I am not able to {missing}: the functions I was given only {does}.",
    "To help with this I would have to {missing}, which none of these tools can do.",
    "The tools offered do not cover this request, since none of them can {missing}.",
    "Unfortunately I have no function that can {missing}, so I cannot answer this with the tools available.",
)


def irrelevance(catalogue: Catalogue, rng: Random) -> Exchange:
    """A request that a tool which is not there could meet, or that no tool of the catalogue can."""
    near, count = rng.random() < _NEAR, rng.choice(_OFFERED)
    if rng.random() < 0.6:
        tool = any_tool(catalogue, rng)
        absent: CatalogueTool | Unmet = tool
        question, missing = sentence(single(tool, rng), rng), tool.does
        tools = near_misses(catalogue, tool, count, rng) if near else []
    else:
        absent = unmet = rng.choice(catalogue.unmet)
        question, missing = ask(catalogue, unmet, rng), unmet.missing
        tools = near_requests(catalogue, unmet, f"{question} {missing}", count, rng) if near else []
    tools = tools or far_tools(catalogue, absent, count, rng)
    opener = f"{rng.choice(catalogue.openers[absent.domain])} " if rng.random() < 0.12 else ""
    return asking(opener + question, tools, response=refusal(missing, [tool.does for tool in tools], rng))


def refusal(missing: str, abilities: Sequence[str], rng: Random) -> str:
    """Prose that says what is missing and what these tools can do, each in words that follow "can"."""
    *others, last = abilities
    does = f"{', '.join(others)} or {last}" if others else last
    return rng.choice(_REFUSALS).format(missing=missing, does=does)


def ask(catalogue: Catalogue, unmet: Unmet, rng: Random) -> str:
    """An unmet request as a person would type it."""
    pieces = rng.choice(unmet.asks).choose(rng, 0.0)
    return fill(
        pieces,
        {piece.path: rng.choice(catalogue.pools[piece.path]) for piece in pieces if isinstance(piece, Slot)},
    )
