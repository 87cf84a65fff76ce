"""Which tools are on offer beside the one that is asked for, or in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

from strop.tools.contamination import jaccard
from strop.training.catalogue import Catalogue, CatalogueTool, Unmet

_NEAREST = 5
"""So many tools count as described almost like another."""
_WORD = re.compile(r"[a-z]{4,}")


def any_tool(catalogue: Catalogue, rng: Random) -> CatalogueTool:
    """A domain first, so that domains with many tools are not asked more often."""
    return rng.choice(catalogue.domain(rng.choice(catalogue.domains)))


def with_others(
    catalogue: Catalogue, tools: Sequence[CatalogueTool], count: int, rng: Random
) -> list[CatalogueTool]:
    """`tools` and `count` more that cannot serve the same requests, mostly from the first one's domain."""
    chosen = list(tools)
    while len(chosen) < len(tools) + count:
        near = rng.random() < 0.67
        other = rng.choice(catalogue.domain(tools[0].domain)) if near else any_tool(catalogue, rng)
        if not any(are_rivals(other, tool) for tool in chosen):
            chosen.append(other)
    return chosen


def near_misses(catalogue: Catalogue, absent: CatalogueTool, count: int, rng: Random) -> list[CatalogueTool]:
    """`count` tools, fewer where there are none, of which none can do what `absent` does though they look it.

    Each is a sibling of its domain, or one described in much the same words, of whichever domain.
    """
    able = [tool for tool in catalogue.tools if not are_rivals(tool, absent)]
    siblings = [tool for tool in able if tool.domain == absent.domain]
    alike = _closest(able, _words(_description(absent)))
    return _some([siblings, siblings, alike], count, rng)


def near_requests(
    catalogue: Catalogue, unmet: Unmet, asked: str, count: int, rng: Random
) -> list[CatalogueTool]:
    """As `near_misses`, for a request in words that the tools of its domain cannot meet."""
    siblings = [tool for tool in catalogue.domain(unmet.domain) if tool.name not in unmet.served_by]
    return _some([siblings, _closest(siblings, _words(asked))], count, rng)


def far_tools(
    catalogue: Catalogue, absent: CatalogueTool | Unmet, count: int, rng: Random
) -> list[CatalogueTool]:
    """`count` tools of other domains that cannot do what is missing either."""
    foreign = [tool for tool in catalogue.tools if tool.domain != absent.domain]
    return _some([[tool for tool in foreign if not can_serve(tool, absent)]], count, rng)


def can_serve(tool: CatalogueTool, absent: CatalogueTool | Unmet) -> bool:
    """Whether a tool could meet the requests that another tool, or none, is made for."""
    return tool.name in absent.served_by if isinstance(absent, Unmet) else are_rivals(tool, absent)


def are_rivals(one: CatalogueTool, other: CatalogueTool) -> bool:
    """Whether both could serve the same request: never offered together."""
    same = one.name == other.name or one.does == other.does
    return same or one.name in other.overlaps or other.name in one.overlaps


def _some(sources: Sequence[Sequence[CatalogueTool]], count: int, rng: Random) -> list[CatalogueTool]:
    """Different tools that do not stand in for each other, each of a source drawn anew."""
    chosen: list[CatalogueTool] = []
    for _ in range(50):
        source = rng.choice(sources)
        other = rng.choice(source) if source else None
        if other is not None and not any(are_rivals(other, tool) for tool in chosen):
            chosen.append(other)
        if len(chosen) == count:
            break
    return chosen


def _closest(tools: Sequence[CatalogueTool], words: frozenset[str]) -> list[CatalogueTool]:
    """The tools whose descriptions have most of their words in common with `words`, best first."""
    shares = {tool.name: jaccard(_words(_description(tool)), words) for tool in tools}
    ranked = sorted((tool for tool in tools if shares[tool.name]), key=lambda tool: -shares[tool.name])
    return ranked[:_NEAREST]


def _description(tool: CatalogueTool) -> str:
    return f"{tool.name.replace('_', ' ').replace('.', ' ')} {tool.spec.description} {tool.does}"


@cache
def _words(text: str) -> frozenset[str]:
    """Words of some length, without the s of plurals."""
    return frozenset(word.rstrip("s") for word in _WORD.findall(text.lower()))
