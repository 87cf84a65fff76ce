"""How hard a task looks before any model has seen it: a score from counts, and a level from the score.

    score = 2 · (calls − 1)           calls asked for; a task whose answer is prose counts as one call
          + 1 · (called − 1)          different tools among them
          + 0.5 · (tools − 1)         tools on offer
          + 0.25 · stated             values the gold calls give, items of arrays and objects one by one
          + 0.25 · left               optional arguments the gold calls leave to their default
          + 0.75 · nested             arrays and objects among the arguments
          + 1.5 · (turns − 1)         turns of the user

Every term counts something that only grows, so neither a further call nor a further tool ever makes a task
easier. The weights are ours and were fitted to nothing: what a policy finds hard, its own samples say
(`strop.refine.deficiency`). Whether tools on offer resemble each other is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task

MEDIUM = 2.0
"""Score from which a task is medium."""
HARD = 5.0
"""Score from which a task is hard."""


class Level(StrEnum):
    """`Difficulty.score` in words."""

    EASY = "easy"
    """Below `MEDIUM`: mostly one call of one tool or two."""
    MEDIUM = "medium"
    """A few tools, two calls, or a second turn."""
    HARD = "hard"
    """From `HARD`: several calls with many values, or long conversations."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What a task's score is made of; all are counts of at least 0."""

    calls: int
    """Gold calls; 0 where prose is right."""
    called: int
    """Different tools among them."""
    tools: int
    """On offer."""
    stated: int
    """Values the gold calls give, leaf by leaf."""
    left: int
    """Optional arguments the gold calls do not give."""
    nested: int
    """Arrays and objects among the arguments, at any depth."""
    turns: int
    """Turns of the user."""

    @property
    def score(self) -> float:
        """≥ 0; the formula stands at the top of the module."""
        return (
            2 * _beyond_one(self.calls)
            + _beyond_one(self.called)
            + 0.5 * _beyond_one(self.tools)
            + 0.25 * self.stated
            + 0.25 * self.left
            + 0.75 * self.nested
            + 1.5 * _beyond_one(self.turns)
        )

    @property
    def level(self) -> Level:
        if self.score < MEDIUM:
            return Level.EASY
        return Level.MEDIUM if self.score < HARD else Level.HARD


def difficulty(task: Task) -> Difficulty:
    """Of any task; one without gold counts as one whose right answer is prose. Pure."""
    calls = (task.gold or Gold(())).calls
    values = [value for call in calls for argument in call.arguments.values() for value in _inside(argument)]
    return Difficulty(
        calls=len(calls),
        called=len({call.name for call in calls}),
        tools=len(task.tools),
        stated=sum(not _is_nested(value) for value in values),
        left=sum(_left(call, task) for call in calls),
        nested=sum(_is_nested(value) for value in values),
        turns=sum(message["role"] == "user" for message in task.messages),
    )


def _beyond_one(count: int) -> int:
    return max(0, count - 1)


def _left(call: ToolCall, task: Task) -> int:
    """Optional arguments of the called tool that the call does not give."""
    tool = next((tool for tool in task.tools if tool.name == call.name), None)
    return 0 if tool is None else len(tool.properties.keys() - set(tool.required) - call.arguments.keys())


def _inside(value: Any) -> Iterator[Any]:
    """The value, and all that it holds."""
    yield value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in items:
        yield from _inside(item)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
