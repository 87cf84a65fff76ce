"""Families of tasks that exist: requests of several tasks over the tools of all of them.

Tasks from elsewhere come one by one, each with its own tools: every prompt is computed for one answer, and
hardly any asks for something that no tool on offer can do. Put together, the tools of a few tasks are one
offer; each task asks its question of it, and so do tasks whose tools are not there, where prose is right, as
in Hammer's irrelevance data (arXiv 2410.04587).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TypeVar

from strop.tools.contamination import jaccard
from strop.tools.errors import UsageError
from strop.tools.files import json_text
from strop.tools.schema import validate_call
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.catalogue import load_catalogue
from strop.training.catalogue.values import spoken_list
from strop.training.families import category_of
from strop.training.refusals import refusal
from strop.training.statements import is_stated, stated_values

_T = TypeVar("_T")

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
_ABILITY = re.compile(r"([A-Z][a-z]+)((?: [^\s.;:()]+)+)")
_ASIDE = re.compile(r"\s*\([^()]*\)")
_NO_VERBS = frozenset(
    {"The", "This", "An", "Api", "Provides", "Provide", "Used", "Use", "Allows", "Allow", "Given", "Helper"}
)
_WORDS = 14
"""Words of what a tool does, at most."""
_PHRASES = frozenset(
    {"for", "from", "by", "with", "without", "using", "based", "including", "given", "within", "via"}
    | {"through", "over", "that", "which", "where", "in", "on", "at", "between", "across", "during", "such"}
)
"""Words that begin a phrase: what stands before one of them is whole without it."""
_DANGLING = _PHRASES | {
    "a",
    "an",
    "the",
    "and",
    "or",
    "of",
    "to",
    "as",
    "its",
    "their",
    "all",
    "any",
    "e",
    "eg",
}
"""Words no phrase ends with."""
_THIRD_PERSON = re.compile(
    r"\b((?:and|or|then)(?: then| also| optionally)?) "
    r"((?:returns|provides|gives|displays|calculates|computes|stores|saves|formats|sorts|filters|shows|sends|outputs"
    r"|generates|creates|converts|retrieves|fetches|updates|checks|finds|prints|removes|translates|extracts|executes)\b"
    r"|[a-z]+[^s\W]s(?= (?:a|an|the|it|them|its|their|all|each|any|whether)\b))"
)
"""A further verb: "counts words and returns the sum"."""


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

    The tasks have to be `usable`; it takes long to say, and is not asked again. Every one is asked at most
    once with its own calls. The same seed gives the same families, and a larger `n` only adds to them. Raises
    UsageError for a negative `n`, or where there are no tasks.
    """
    if n < 0:
        raise UsageError(f"cannot make {n} families")
    sources = [_Source.of(task, task.gold) for task in tasks if task.gold is not None]
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
        and all(is_stated(value, task.messages[0]["content"]) for value in stated_values(task))
        and all(not validate_call(call, tools) for call in task.gold.calls)
    )


def are_alike(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two tools could serve the same request, by the words of their names and descriptions."""
    ours, theirs = _words(f"{one.name} {one.description}"), _words(f"{other.name} {other.description}")
    return one.name == other.name or jaccard(ours, theirs) >= _ALIKE


def ability(tool: ToolSpec) -> str:
    """What a tool does, to follow "can": what the catalogue says of its own, else what the description begins
    with ("Fetches news." is "fetch news"), and "use NAME" where that is no verb or no whole phrase."""
    known = _catalogued().get(tool.description)
    found = _ABILITY.match(_ASIDE.sub("", tool.description))
    if known or not found or found[2].startswith(" of "):
        return known or f"use {tool.name}"
    words = _phrase(found[2].split())
    if not words:
        return f"use {tool.name}"
    verb = _infinitive(found[1].lower())
    if words[0] == "and" and verb != found[1].lower():  # "Processes and stores text": both are verbs
        words[1] = _infinitive(words[1])
    further = _THIRD_PERSON.sub(lambda match: f"{match[1]} {_infinitive(match[2])}", " ".join(words))
    return f"{verb} {further}"


def _phrase(words: Sequence[str]) -> list[str]:
    """As many of the words as are a whole phrase; none where there is no telling."""
    kept = list(words)
    if len(kept) >= _WORDS:
        starts = [at for at, word in enumerate(kept[:_WORDS]) if at > 1 and word.lower() in _PHRASES]
        kept = kept[: starts[-1]] if starts else []
    while kept and kept[-1].lower().rstrip(",") in _DANGLING:
        kept.pop()
    return [*kept[:-1], kept[-1].rstrip(",")] if kept else []


@cache
def _catalogued() -> Mapping[str, str]:
    """What the tools of the catalogue do, by their descriptions."""
    return {tool.spec.description: tool.does for tool in load_catalogue().tools}


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
        missing = spoken_list([ability(tool) for tool in source.tools], rng)
        prose = refusal(missing, [ability(tool) for tool in tools], rng)
        asked.append(_with(source.task, tools, Gold((), prose)))
    return [replace(task, id=f"{name}/{place}/{task.category}") for place, task in enumerate(asked)]


def _unmet(
    together: Sequence[_Source], sources: Sequence[_Source], count: int, rng: Random
) -> Iterator[_Source]:
    """Tasks that none of the tools of `together` could serve."""
    for source in in_random_order(sources, rng):
        if count == 0:
            return
        if all(_are_apart(source, other) for other in together):
            count -= 1
            yield source


def in_random_order(items: Sequence[_T], rng: Random) -> Iterator[_T]:
    """Every item once, in an order that is drawn as far as it is asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for last in reversed(range(len(items))):
        at = rng.randint(0, last)
        yield items[moved.get(at, at)]
        moved[at] = moved.get(last, last)


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
