"""Training tasks made up from the tool catalogue: a conversation, the tools on offer, the right calls.

    simple              one tool, one call                    parallel            one tool, 2 to 4 calls
    multiple            2 to 4 tools, one call                parallel_multiple   2 to 4 tools, several calls
    irrelevance         1 to 3 tools, none of which can do it; the right answer is prose
    missing_parameters  1 to 3 tools; a required value is not stated; the right answer asks for it
    follow_up           1 to 3 tools, several turns; one call, which only the turns before make complete

Every value of a gold call is stated in the conversation, and an optional argument is given only if it is
stated. Nothing comes from a benchmark. Not made: tasks whose calls need the results of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from strop.tools.errors import UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.catalogue import Catalogue, CatalogueTool, load_catalogue
from strop.training.exchange import Exchange, asking
from strop.training.follow_up import follow_up
from strop.training.offers import any_tool, with_others
from strop.training.omission import missing_parameters
from strop.training.refusals import irrelevance
from strop.training.wording import Part, batched, join, listed, sentence, single

SOURCE = "strop synthesiser"
"""`Task.source` of every task made here; Apache-2.0 like the rest of Strop."""

_COUNTS = (2, 2, 2, 3, 3, 4)
"""Calls asked for in one request: mostly few."""
_OTHERS = (1, 1, 1, 1, 2, 2, 3)
"""Further tools on offer: mostly few, for the sake of short prompts."""
_TAILS = ("Thanks!", "Thank you.", "Thanks in advance.")


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
            f"n must not be negative, and categories are {', '.join(ALL_CATEGORIES)}"
        )
    catalogue = load_catalogue()
    seen: set[str] = set()
    return [
        _task(catalogue, wanted[index % len(wanted)], index // len(wanted), seed, seen) for index in range(n)
    ]


def _task(catalogue: Catalogue, category: str, index: int, seed: int, seen: set[str]) -> Task:
    rng = Random(f"{seed}/{category}/{index}")
    for _ in range(200):
        made = _MAKERS[category](catalogue, rng)
        if made.asked not in seen:
            break
    else:
        raise UsageError(f"no more different {category} tasks can be made after {index}: ask for fewer")
    seen.add(made.asked)
    tools = list(made.tools)
    rng.shuffle(tools)
    return Task(
        id=f"synth/{category}/{index:05d}",
        messages=made.messages,
        tools=tuple(tool.spec for tool in tools),
        gold=Gold(made.calls, made.response),
        category=category,
        source=SOURCE,
    )


def _simple(catalogue: Catalogue, rng: Random) -> Exchange:
    tool = any_tool(catalogue, rng)
    part = single(tool, rng)
    return asking(dressed(catalogue, tool, sentence(part, rng), rng), [tool], part.calls)


def _multiple(catalogue: Catalogue, rng: Random) -> Exchange:
    simple = _simple(catalogue, rng)
    return replace(simple, tools=with_others(catalogue, simple.tools, rng.choice(_OTHERS), rng))


def _parallel(catalogue: Catalogue, rng: Random) -> Exchange:
    while True:
        tool = any_tool(catalogue, rng)
        question, calls = several(tool, rng.choice(_COUNTS), rng)
        if calls:
            return asking(dressed(catalogue, tool, question, rng), [tool], calls)


def several(tool: CatalogueTool, count: int, rng: Random) -> tuple[str, tuple[ToolCall, ...]]:
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


def _parallel_multiple(catalogue: Catalogue, rng: Random) -> Exchange:
    first = any_tool(catalogue, rng)
    used = with_others(catalogue, [first], rng.choice((1, 1, 1, 2)), rng)
    question, calls = several_tools(used, rng)
    tools = with_others(catalogue, used, rng.choice((0, 0, 0, 1)), rng)
    return asking(dressed(catalogue, first, question, rng), tools, calls)


def several_tools(used: Sequence[CatalogueTool], rng: Random) -> tuple[str, tuple[ToolCall, ...]]:
    """One request that needs every one of these tools, the last of them now and then more than once."""
    clause = rng.random() < 0.75
    parts = [single(tool, rng, optional=0.15, clause=clause) for tool in used]
    if rng.random() < 0.3:
        parts[-1] = listed(used[-1], rng.choice((2, 2, 3)), rng, clause=clause) or parts[-1]
    return join(parts, rng), tuple(call for part in parts for call in part.calls)


def dressed(catalogue: Catalogue, tool: CatalogueTool, question: str, rng: Random) -> str:
    """Now and then a remark before the request, or thanks after it."""
    if rng.random() < 0.12:
        question = f"{rng.choice(catalogue.openers[tool.domain])} {question}"
    if rng.random() < 0.06 and "\n" not in question:
        question = f"{question} {rng.choice(_TAILS)}"
    return question


_MAKERS: dict[str, Callable[[Catalogue, Random], Exchange]] = {
    "simple": _simple,
    "multiple": _multiple,
    "parallel": _parallel,
    "parallel_multiple": _parallel_multiple,
    "irrelevance": irrelevance,
    "missing_parameters": missing_parameters,
    "follow_up": follow_up,
}
CATEGORIES = ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance")
"""What is made where nothing is said, in this order: the mix of a round."""
ALL_CATEGORIES = tuple(_MAKERS)
"""`CATEGORIES`, and those that have to be asked for."""
