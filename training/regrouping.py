"""Families of tasks that exist: requests of several tasks over the tools of all of them.

Tasks from elsewhere come one by one, each with its own tools: every prompt is computed for one answer, and
hardly any asks for something that no tool on offer can do. Put together, the tools of a few tasks are one
offer; each task asks its question of it, and so do tasks whose tools are not there, where prose is right, as
in Hammer's irrelevance data (arXiv 2410.04587).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from strop.tools.contamination import jaccard
from strop.tools.errors import UsageError
from strop.tools.files import json_text
from strop.tools.schema import validate_call
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.families import category_of
from strop.training.refusals import refusal
from strop.training.statements import is_stated, stated_values

_REQUESTS = (1, 2, 2, 3)
"""Tasks whose tools are offered together."""
_UNMET = (0, 1, 1, 1)
"""Requests to each offer that none of its tools can meet."""
_LONGEST = 900
"""Characters a tool's schema may have: a small model's prompts are short."""
_WIDEST = 2_200
"""Characters that the schemas of one offer may have together, where it is of several tasks."""
_MOST_CALLS = 5
_ALIKE = 0.15
"""Share of words from which on two tools may serve the same request."""
_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,63}")
_WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")
_ABILITY = re.compile(r"([A-Z][a-z]+)((?: [^\s.;:()]+){1,13})")
_NO_VERBS = frozenset({"The", "This", "An", "Api", "Provides", "Used", "Use", "Allows", "Given"})


@dataclass(frozen=True, slots=True)
class _Source:
    """A task, and the tools that its calls use."""

    task: Task
    calls: tuple[ToolCall, ...]
    tools: tuple[ToolSpec, ...]

    @classmethod
    def of(cls, task: Task, gold: Gold) -> _Source:
        return cls(task, gold.calls, _used(task, gold))

    @property
    def width(self) -> int:
        """Characters of its tools' schemas."""
        return sum(len(json_text(tool.to_openai())) for tool in self.tools)


def regroup(tasks: Iterable[Task], n: int, seed: int) -> list[Task]:
    """At most `n` families of tasks, one after another, fewer where the tasks do not suffice for more.

    Every task is asked at most once with its own calls; those that cannot be put to other tools (`usable`)
    are left out. The same seed gives the same families, and a larger `n` only adds to them. Raises UsageError
    for a negative `n`, or where no task is usable.
    """
    if n < 0:
        raise UsageError(f"cannot make {n} families")
    sources = [_Source.of(task, task.gold) for task in tasks if task.gold is not None and usable(task)]
    sources = _balanced(sources, Random(f"{seed}/regroup"))
    made = [task for _, family in zip(range(n), _families(sources, seed), strict=False) for task in family]
    if n and not made:
        raise UsageError("none of these tasks is one question with calls that fit their tools")
    return made


def usable(task: Task) -> bool:
    """Whether a task is one question, answered by a few calls that fit their tools and say what was said."""
    if task.gold is None or not 0 < len(task.gold.calls) <= _MOST_CALLS or len(task.messages) != 1:
        return False
    tools = _used(task, task.gold)
    return (
        task.messages[0]["role"] == "user"
        and isinstance(task.messages[0]["content"], str)
        and all(_is_plain(tool) for tool in tools)
        and all(not validate_call(call, tools) for call in task.gold.calls)
        and all(is_stated(value, task.messages[0]["content"]) for value in stated_values(task))
    )


def are_alike(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two tools could serve the same request, by the words of their names and descriptions."""
    ours, theirs = _words(f"{one.name} {one.description}"), _words(f"{other.name} {other.description}")
    return one.name == other.name or jaccard(ours, theirs) >= _ALIKE


def ability(tool: ToolSpec) -> str:
    """What a tool does, from its description, to follow "can": "Fetches news." is "fetch news"."""
    found = _ABILITY.match(tool.description)
    return _infinitive(found[1].lower()) + found[2].rstrip(",") if found else f"use {tool.name}"


def _infinitive(verb: str) -> str:
    for ending, instead in (
        ("ies", "y"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("sses", "ss"),
        ("ss", "ss"),
        ("s", ""),
    ):
        if verb.endswith(ending):
            return verb.removesuffix(ending) + instead
    return verb


def _balanced(sources: Sequence[_Source], rng: Random) -> list[_Source]:
    """Shuffled, with half as many that want several calls as want one, where there are any that want one."""
    one = [source for source in sources if len(source.calls) == 1]
    more = [source for source in sources if len(source.calls) > 1]
    kept = [*one, *rng.sample(more, min(len(more), len(one) // 2 or len(more)))]
    return rng.sample(kept, len(kept))


def _families(sources: Sequence[_Source], seed: int) -> Iterator[list[Task]]:
    left = list(sources)
    for index in range(len(sources)):
        rng = Random(f"{seed}/regroup/{index}")
        together = _together(left, rng.choice(_REQUESTS))
        if not together:
            return
        for source in together:  # they stand near the beginning
            left.remove(source)
        yield _family(f"regrouped/{index:05d}", together, sources, rng)


def _together(left: Sequence[_Source], count: int) -> list[_Source]:
    """The first task that is left, and the next of which no tool could serve the others."""
    chosen: list[_Source] = []
    room = _WIDEST
    for source in left:
        if len(chosen) == count:
            break
        if not chosen or (source.width <= room and all(_are_apart(source, other) for other in chosen)):
            chosen.append(source)
            room -= source.width
    return chosen


def _family(name: str, together: Sequence[_Source], sources: Sequence[_Source], rng: Random) -> list[Task]:
    tools = [tool for source in together for tool in source.tools]
    rng.shuffle(tools)
    asked = [_with(source.task, tools, Gold(source.calls)) for source in together]
    for source in _unmet(together, sources, rng.choice(_UNMET), rng):
        prose = refusal(ability(source.tools[0]), [ability(tool) for tool in tools], rng)
        asked.append(_with(source.task, tools, Gold((), prose)))
    return [replace(task, id=f"{name}/{place}/{task.category}") for place, task in enumerate(asked)]


def _unmet(
    together: Sequence[_Source], sources: Sequence[_Source], count: int, rng: Random
) -> Iterator[_Source]:
    """Tasks that none of the tools of `together` could serve."""
    for source in rng.sample(sources, len(sources)):
        if count == 0:
            return
        if all(_are_apart(source, other) for other in together):
            count -= 1
            yield source


def _with(task: Task, tools: Sequence[ToolSpec], gold: Gold) -> Task:
    return replace(
        task, tools=tuple(tools), gold=gold, category=category_of(gold.calls, len(tools), "irrelevance")
    )


def _used(task: Task, gold: Gold) -> tuple[ToolSpec, ...]:
    """The tools that the gold's calls are of, each once."""
    names = {call.name for call in gold.calls}
    return tuple({tool.name: tool for tool in task.tools if tool.name in names}.values())


def _is_plain(tool: ToolSpec) -> bool:
    words = tool.description.split()
    return (
        _NAME.fullmatch(tool.name) is not None
        and len(json_text(tool.to_openai())) <= _LONGEST
        and len(words) > 1
        and words[0] not in _NO_VERBS
    )


def _are_apart(one: _Source, other: _Source) -> bool:
    return not any(are_alike(ours, theirs) for ours in one.tools for theirs in other.tools)


@cache
def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower().rstrip("s") for word in _WORD.findall(text))
