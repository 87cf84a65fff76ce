"""Training tasks made up from the tool catalogue: a request, the tools on offer and the calls it asks for.

    simple              one tool, one call                    parallel            one tool, 2 to 4 calls
    multiple            2 to 4 tools, one call                parallel_multiple   2 to 4 tools, several calls
    irrelevance         1 to 3 tools, none of which can do it; the right answer is prose

Every value of a gold call is stated in the request, and an optional argument is given only if it is stated.
Nothing comes from a benchmark. Not made: conversations of several turns, and requests that leave out a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from strop.tools.errors import UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.catalogue import Catalogue, CatalogueTool, Unmet, load_catalogue
from strop.training.catalogue.phrasing import Slot, fill
from strop.training.wording import Part, batched, join, listed, sentence, single

SOURCE = "strop synthesiser"
"""`Task.source` of every task made here; Apache-2.0 like the rest of Strop."""

_COUNTS = (2, 2, 2, 3, 3, 4)
"""Calls asked for in one request: mostly few."""
_OTHERS = (1, 1, 1, 1, 2, 2, 3)
"""Further tools on offer: mostly few, for the sake of short prompts."""
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
_TAILS = ("Thanks!", "Thank you.", "Thanks in advance.")

_Made: TypeAlias = tuple[str, list[CatalogueTool], tuple[ToolCall, ...], str | None]
"""Question, tools on offer, gold calls, gold prose."""


def synthesise(n: int, seed: int, categories: Sequence[str] | None = None) -> list[Task]:
    """`n` tasks, the categories in turn; no two questions are alike.

    The same seed gives the same tasks, and a larger `n` only adds to them. Ids repeat between seeds: to keep
    training and held-out tasks apart, split one list. Raises UsageError for an unknown category, or where so
    many different questions cannot be made.
    """
    wanted = tuple(categories) if categories is not None else CATEGORIES
    unknown = [category for category in wanted if category not in _MAKERS]
    if unknown or not wanted or n < 0:
        raise UsageError(
            f"cannot make {n} tasks of {', '.join(unknown) or 'no category'}: "
            f"n must not be negative, and categories are {', '.join(CATEGORIES)}"
        )
    catalogue = load_catalogue()
    seen: set[str] = set()
    return [
        _task(catalogue, wanted[index % len(wanted)], index // len(wanted), seed, seen) for index in range(n)
    ]


def _task(catalogue: Catalogue, category: str, index: int, seed: int, seen: set[str]) -> Task:
    rng = Random(f"{seed}/{category}/{index}")
    for _ in range(200):
        question, tools, calls, response = _MAKERS[category](catalogue, rng)
        if question not in seen:
            break
    else:
        raise UsageError(f"no more different {category} tasks can be made after {index}: ask for fewer")
    seen.add(question)
    rng.shuffle(tools)
    return Task(
        id=f"synth/{category}/{index:05d}",
        messages=({"role": "user", "content": question},),
        tools=tuple(tool.spec for tool in tools),
        gold=Gold(calls, response),
        category=category,
        source=SOURCE,
    )


def _simple(catalogue: Catalogue, rng: Random) -> _Made:
    tool = _any_tool(catalogue, rng)
    part = single(tool, rng)
    return _dressed(catalogue, tool, sentence(part, rng), rng), [tool], part.calls, None


def _multiple(catalogue: Catalogue, rng: Random) -> _Made:
    question, tools, calls, _ = _simple(catalogue, rng)
    return question, _with_others(catalogue, tools, rng.choice(_OTHERS), rng), calls, None


def _parallel(catalogue: Catalogue, rng: Random) -> _Made:
    while True:
        tool = _any_tool(catalogue, rng)
        question, calls = _several(tool, rng.choice(_COUNTS), rng)
        if calls:
            return _dressed(catalogue, tool, question, rng), [tool], calls, None


def _several(tool: CatalogueTool, count: int, rng: Random) -> tuple[str, tuple[ToolCall, ...]]:
    """One request for `count` calls of one tool; no calls where the wording drawn allows none."""
    style = rng.random()
    if style < 0.7:
        part = listed(tool, count, rng) if style < 0.42 else batched(tool, count, rng)
        return (sentence(part, rng), part.calls) if part else ("", ())
    # No optional arguments: it could be unclear which of the calls they belong to.
    parts = _different(lambda: single(tool, rng, optional=0.0, clause=rng.random() < 0.75), min(count, 3))
    return join(parts, rng), tuple(call for part in parts for call in part.calls)


def _different(make: Callable[[], Part], count: int) -> list[Part]:
    parts: list[Part] = []
    while len(parts) < count:
        part = make()
        if all(part.calls != other.calls for other in parts):
            parts.append(part)
    return parts


def _parallel_multiple(catalogue: Catalogue, rng: Random) -> _Made:
    first = _any_tool(catalogue, rng)
    used = _with_others(catalogue, [first], rng.choice((1, 1, 1, 2)), rng)
    clause = rng.random() < 0.75
    parts = [single(tool, rng, optional=0.15, clause=clause) for tool in used]
    if rng.random() < 0.3:
        twice = listed(used[-1], 2, rng, clause=clause)
        parts[-1] = twice or parts[-1]
    spare = rng.choice((0, 0, 0, 1))
    tools = _with_others(catalogue, used, spare, rng)
    calls = tuple(call for part in parts for call in part.calls)
    return _dressed(catalogue, first, join(parts, rng), rng), tools, calls, None


def _irrelevance(catalogue: Catalogue, rng: Random) -> _Made:
    if rng.random() < 0.55:
        absent = _any_tool(catalogue, rng)
        question, missing, domain = sentence(single(absent, rng), rng), absent.does, absent.domain
        tools = _with_others(catalogue, [absent], rng.choice(_OTHERS), rng)[1:]
    else:
        unmet = rng.choice(catalogue.unmet)
        question, missing, domain = _ask(catalogue, unmet, rng), unmet.missing, unmet.domain
        first = rng.choice(catalogue.domain(domain))
        tools = _with_others(catalogue, [first], rng.randint(0, 2), rng)
    opener = f"{rng.choice(catalogue.openers[domain])} " if rng.random() < 0.12 else ""
    *others, last = (tool.does for tool in tools)
    does = f"{', '.join(others)} or {last}" if others else last
    return opener + question, tools, (), rng.choice(_REFUSALS).format(missing=missing, does=does)


def _ask(catalogue: Catalogue, unmet: Unmet, rng: Random) -> str:
    pieces = rng.choice(unmet.asks).choose(rng, 0.0)
    return fill(
        pieces,
        {piece.path: rng.choice(catalogue.pools[piece.path]) for piece in pieces if isinstance(piece, Slot)},
    )


def _any_tool(catalogue: Catalogue, rng: Random) -> CatalogueTool:
    """A domain first, so that domains with many tools are not asked more often."""
    return rng.choice(catalogue.domain(rng.choice(catalogue.domains)))


def _with_others(
    catalogue: Catalogue, tools: Sequence[CatalogueTool], count: int, rng: Random
) -> list[CatalogueTool]:
    """`tools` and `count` more that cannot serve the same requests, mostly from the first one's domain."""
    chosen = list(tools)
    barred = {name for tool in tools for name in (tool.name, *tool.overlaps)}
    while len(chosen) < len(tools) + count:
        near = rng.random() < 0.67
        other = rng.choice(catalogue.domain(tools[0].domain)) if near else _any_tool(catalogue, rng)
        if other.name not in barred:
            barred |= {other.name, *other.overlaps}
            chosen.append(other)
    return chosen


def _dressed(catalogue: Catalogue, tool: CatalogueTool, question: str, rng: Random) -> str:
    """Now and then a remark before the request, or thanks after it."""
    if rng.random() < 0.12:
        question = f"{rng.choice(catalogue.openers[tool.domain])} {question}"
    if rng.random() < 0.06 and "\n" not in question:
        question = f"{question} {rng.choice(_TAILS)}"
    return question


_MAKERS: dict[str, Callable[[Catalogue, Random], _Made]] = {
    "simple": _simple,
    "multiple": _multiple,
    "parallel": _parallel,
    "parallel_multiple": _parallel_multiple,
    "irrelevance": _irrelevance,
}
CATEGORIES = tuple(_MAKERS)
"""All categories, in the order they are made in."""
