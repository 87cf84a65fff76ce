"""Families of tasks: several requests over the very same tools, told apart by nothing but what is asked.

One request wants one call, the next three of the same tool, another something that none of the tools can do,
another leaves out a value. What decides is then in the request, and a policy that goes by the tools alone is
wrong about half of them. And the tools, most of a prompt, are computed once for all
(`strop.training.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from strop.tools.errors import UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.catalogue import Catalogue, CatalogueTool, load_catalogue
from strop.training.catalogue.variation import varied, wished
from strop.training.offers import any_tool, can_serve, with_others
from strop.training.omission import omissions
from strop.training.refusals import ask, refusal
from strop.training.synth import SOURCE, dressed, several, several_tools
from strop.training.wording import request, sentence, single

SIZE = 6
"""Tasks of one family."""
_OTHERS = (0, 0, 1, 1, 1, 2, 2, 3)
"""Further tools on offer: mostly few, for the sake of short prompts."""
_COUNTS = (2, 2, 2, 3, 3, 4, 5)
_MIX = {
    "single": 0.36,
    "parallel": 0.21,
    "parallel_multiple": 0.17,
    "irrelevance": 0.21,
    "missing_parameters": 0.05,
}
"""How often each kind is drawn after the first task, which is always a single call: without those, policies
forget when one call is enough."""
_WISHES = 0.5
"""How often a request asks for an option that its tool was given, where it was given any."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a family: as the catalogue has them, and as they are shown."""

    tools: tuple[CatalogueTool, ...]
    shown: tuple[CatalogueTool, ...]

    @property
    def domain(self) -> str:
        return self.tools[0].domain


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and what is right."""

    question: str
    calls: tuple[ToolCall, ...] = ()
    response: str | None = None


def families(n: int, seed: int, size: int = SIZE) -> list[Task]:
    """`n` families of `size` tasks each, one after another; no two questions are alike.

    The same seed gives the same tasks, and a larger `n` only adds to them. Raises UsageError for a negative
    `n`, a `size` below 1, or where so many different questions cannot be made.
    """
    if n < 0 or size < 1:
        raise UsageError(f"cannot make {n} families of {size} tasks")
    catalogue = load_catalogue()
    seen: set[str] = set()
    return [task for index in range(n) for task in _family(catalogue, index, seed, size, seen)]


def _family(catalogue: Catalogue, index: int, seed: int, size: int, seen: set[str]) -> list[Task]:
    rng = Random(f"{seed}/family/{index}")
    offer = _offer(catalogue, rng)
    kinds = ["single", *rng.choices(list(_MIX), list(_MIX.values()), k=size - 1)]
    return [
        _task(catalogue, offer, kind, f"family/{index:05d}/{place}", rng, seen)
        for place, kind in enumerate(kinds)
    ]


def _offer(catalogue: Catalogue, rng: Random) -> Offer:
    tools = with_others(catalogue, [any_tool(catalogue, rng)], rng.choice(_OTHERS), rng)
    shown = tuple(varied(tool, rng) for tool in tools)
    order = rng.sample(range(len(tools)), len(tools))
    if len({tool.name for tool in shown}) < len(tools):  # two styles of name met
        shown = tuple(tools)
    return Offer(tuple(tools[at] for at in order), tuple(shown[at] for at in order))


def _task(catalogue: Catalogue, offer: Offer, kind: str, name: str, rng: Random, seen: set[str]) -> Task:
    asked = _new_request(catalogue, offer, kind, rng, seen)
    seen.add(asked.question)
    category = category_of(asked.calls, len(offer.tools), kind)
    return Task(
        id=f"{name}/{category}",
        messages=({"role": "user", "content": asked.question},),
        tools=tuple(tool.spec for tool in offer.shown),
        gold=Gold(asked.calls, asked.response),
        category=category,
        source=SOURCE,
    )


def _new_request(catalogue: Catalogue, offer: Offer, kind: str, rng: Random, seen: set[str]) -> Asked:
    """A request nobody has made yet: of this kind, or one for one call where these tools allow none."""
    for attempt in range(200):
        asked = _request(catalogue, offer, kind if attempt < 60 else "single", rng)
        if asked is not None and asked.question not in seen:
            return asked
    raise UsageError(f"no more different {kind} requests can be made: ask for fewer families")


def category_of(calls: Sequence[ToolCall], tools: int, prose: str) -> str:
    """The benchmarks' word for these calls with so many tools on offer; `prose` where there is none."""
    if len({call.name for call in calls}) > 1:
        return "parallel_multiple"
    if len(calls) > 1:
        return "parallel"
    if calls:
        return "simple" if tools == 1 else "multiple"
    return prose


def _request(catalogue: Catalogue, offer: Offer, kind: str, rng: Random) -> Asked | None:
    """A request of this kind; None where the wording drawn allows none."""
    tool = rng.choice(offer.shown)
    match kind:
        case "parallel_multiple" if len(offer.tools) > 1:
            used = rng.sample(offer.shown, min(len(offer.shown), rng.choice((2, 2, 2, 3))))
            question, calls = several_tools(used, rng)
        case "parallel" | "parallel_multiple":
            question, calls = _wishing(tool, *several(tool, rng.choice(_COUNTS), rng), rng)
        case "irrelevance":
            return _unmet(catalogue, offer, rng)
        case "missing_parameters":
            return _incomplete(tool, rng)
        case _:
            part = single(tool, rng, optional=0.5)
            question, calls = _wishing(tool, sentence(part, rng), part.calls, rng)
    return Asked(dressed(catalogue, tool, question, rng), calls) if calls else None


def _wishing(
    tool: CatalogueTool, question: str, calls: tuple[ToolCall, ...], rng: Random
) -> tuple[str, tuple[ToolCall, ...]]:
    """Now and then with a wish that holds for all these calls of one tool; never under a list of lines, the
    last of which it would seem to belong to."""
    wish = wished(tool, rng) if rng.random() < _WISHES and "\n" not in question else None
    if wish is None:
        return question, calls
    said, argument = wish
    wishing = tuple(replace(call, arguments={**call.arguments, **argument}) for call in calls)
    return f"{question} {said}", wishing


def _unmet(catalogue: Catalogue, offer: Offer, rng: Random) -> Asked | None:
    """Something none of the tools can do: mostly of their domain."""
    if rng.random() < 0.4:
        unmet = rng.choice([one for one in catalogue.unmet if one.domain == offer.domain])
        if any(can_serve(tool, unmet) for tool in offer.tools):
            return None
        question, missing = ask(catalogue, unmet, rng), unmet.missing
    else:
        near = rng.random() < 0.75
        absent = rng.choice(catalogue.domain(offer.domain)) if near else any_tool(catalogue, rng)
        if any(can_serve(tool, absent) for tool in offer.tools):
            return None
        question, missing = sentence(single(absent, rng), rng), absent.does
    return Asked(question, (), refusal(missing, [tool.does for tool in offer.tools], rng))


def _incomplete(tool: CatalogueTool, rng: Random) -> Asked | None:
    """A request that leaves out a value, and the question for it."""
    possible = list(omissions(request(tool, rng, optional=0.2)))
    if not possible:
        return None
    left = rng.choice(possible)
    return Asked(left.question(rng), (), left.ask(rng))
