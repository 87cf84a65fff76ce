"""Training tasks made up from the tool catalogue: a conversation, the tools on offer, the right calls.

    simple              one tool, one call                    parallel            one tool, 2 to 6 calls
    multiple            2 to 4 tools, one call                parallel_multiple   2 to 4 tools, several calls
    irrelevance         1 to 3 tools, none of which can do it; the right answer is prose
    missing_parameters  1 to 3 tools; a required value is not stated; the right answer asks for it
    follow_up           1 to 3 tools, several turns; one call, which only the turns before make complete

Every value of a gold call is stated in the conversation, and an optional argument is given only if it is
stated. Nothing comes from a benchmark. Not made: tasks whose calls need the results of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from strop.tools.errors import UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.training.catalogue import Catalogue, CatalogueTool, load_catalogue
from strop.training.difficulty import Level, difficulty
from strop.training.exchange import Exchange, asking
from strop.training.follow_up import follow_up
from strop.training.offers import any_tool, with_others
from strop.training.omission import missing_parameters
from strop.training.refusals import irrelevance
from strop.training.wording import Part, batched, crossed, join, listed, sentence, single

SOURCE = "strop synthesiser"
"""`Task.source` of every task made here; Apache-2.0 like the rest of Strop."""

_COUNTS = (2, 2, 2, 3, 3, 4)
"""Calls asked for in one request: mostly few."""
_COMBINED = ((2, 2), (2, 2), (2, 2), (2, 3), (3, 2))
"""Values in the two places of a request for all their combinations."""
_WORDINGS = 8
"""Wordings drawn to find one with two such places: few have them."""
_COMBINING = 0.6
"""How often such a wording is looked for."""
_OTHERS = (1, 1, 1, 1, 2, 2, 3)
"""Further tools on offer: mostly few, for the sake of short prompts."""
_DRAFTS = 1000
"""Drafts made of one task at most, to find one that is new and of the right level."""
_TAILS = ("Thanks!", "Thank you.", "Thanks in advance.")


def synthesise(
    n: int, seed: int, categories: Sequence[str] | None = None, levels: Sequence[str] = ()
) -> list[Task]:
    """`n` tasks, the categories in turn; no two questions are alike.

    `levels` (of `strop.training.difficulty.Level`) are the only ones kept; without `categories`, those of
    `CATEGORIES` that have such tasks are made. The same seed gives the same tasks, and a larger `n` only adds
    to them. Ids repeat between seeds: to keep training and held-out tasks apart, split one list. Raises
    UsageError for an unknown category or level, a category that has no tasks of the levels, or where so many
    different questions cannot be made.
    """
    _check(n, categories, levels)
    drawing = _Drawing(load_catalogue(), seed, frozenset(levels), set())
    wanted = _wanted(drawing, categories)
    return [drawing.task(wanted[index % len(wanted)], index // len(wanted)) for index in range(n)]


def _check(n: int, categories: Sequence[str] | None, levels: Sequence[str]) -> None:
    wanted = CATEGORIES if categories is None else categories
    unknown = [category for category in wanted if category not in _MAKERS]
    if unknown or not wanted or n < 0:
        raise UsageError(
            f"cannot make {n} tasks of {', '.join(unknown) or 'no category'}: "
            f"n must not be negative, and categories are {', '.join(ALL_CATEGORIES)}"
        )
    strange = [level for level in levels if level not in tuple(Level)]
    if strange:
        raise UsageError(f"no level {strange[0]!r}; there are {', '.join(Level)}")


def _wanted(drawing: _Drawing, categories: Sequence[str] | None) -> Sequence[str]:
    """The categories to make, all of which have tasks of the levels asked for."""
    named = CATEGORIES if categories is None else categories
    able = [category for category in named if drawing.has(category)]
    lacking = [category for category in named if category not in able]
    if lacking and (categories is not None or not able):
        raise UsageError(f"no {' or '.join(sorted(drawing.levels))} tasks are made of {', '.join(lacking)}")
    return able


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Draws tasks, each of a generator of its own."""

    catalogue: Catalogue
    seed: int
    levels: frozenset[str]
    """Levels kept; all where empty."""
    seen: set[str]
    """Questions that were asked."""

    def has(self, category: str) -> bool:
        """Whether the first so many drafts hold one of the levels; depends on the seed alone."""
        rng = Random(f"{self.seed}/{category}")
        return not self.levels or any(self._fits(self._draft(category, 0, rng)[1]) for _ in range(_DRAFTS))

    def task(self, category: str, index: int) -> Task:
        """The first new question of the levels asked for. Raises UsageError after many drafts."""
        rng = Random(f"{self.seed}/{category}/{index}")
        for _ in range(_DRAFTS):
            asked, task = self._draft(category, index, rng)
            if asked not in self.seen and self._fits(task):
                self.seen.add(asked)
                return task
        raise UsageError(f"no more different {category} tasks can be made after {index}: ask for fewer")

    def _fits(self, task: Task) -> bool:
        return not self.levels or difficulty(task).level in self.levels

    def _draft(self, category: str, index: int, rng: Random) -> tuple[str, Task]:
        made = _MAKERS[category](self.catalogue, rng)
        tools = list(made.tools)
        rng.shuffle(tools)
        return made.asked, Task(
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
    """One request for `count` calls of one tool, or for every combination of two lists, which are four calls
    or six; no calls where the wording drawn allows none."""
    part, style = _combined(tool, rng), rng.random()
    if part is None and style >= 0.7:
        # No optional arguments: it could be unclear which of the calls they belong to.
        parts = _different(lambda: single(tool, rng, optional=0.0, clause=rng.random() < 0.75), min(count, 3))
        return join(parts, rng), tuple(call for part in parts for call in part.calls)
    if part is None:
        part = listed(tool, count, rng) if style < 0.42 else batched(tool, count, rng)
    return (sentence(part, rng), part.calls) if part else ("", ())


def _combined(tool: CatalogueTool, rng: Random) -> Part | None:
    """Often, where a tool has a wording for it, a call for every combination of two lists."""
    if rng.random() >= _COMBINING:
        return None
    return next(filter(None, (crossed(tool, rng.choice(_COMBINED), rng) for _ in range(_WORDINGS))), None)


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
