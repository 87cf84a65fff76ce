"""Cases that need no model, and answerers that answer from a function."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.agent.answer import Answer, Answerer, Draft, Usage
from strop.agent.bench import run_bench
from strop.agent.engines.base import Sampling
from strop.agent.summary import Summary
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Suite
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict


@dataclass(frozen=True, slots=True)
class ByName:
    """A case whose right answer is one call with the task's id as its name."""

    task: Task

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        if problem is not None:
            return Verdict.wrong(ErrorKind.UNPARSABLE, problem)
        if not calls:
            return Verdict.wrong(ErrorKind.MISSING_CALL, f"prose: {content}")
        if calls[0].name == self.task.id:
            return Verdict.right()
        return Verdict.wrong(ErrorKind.WRONG_NAME, calls[0].name)

    def gold_lines(self) -> Sequence[str]:
        return [self.task.id]


class ByText(ByName):
    """A case whose right answer is the task's id as its whole text."""

    def score_text(self, text: str) -> Verdict:
        return Verdict.right() if text == self.task.id else Verdict.wrong(ErrorKind.UNPARSABLE, text)


def case(task_id: str, category: str = "simple") -> ByName:
    tools = (ToolSpec(task_id, "", {"type": "object", "properties": {}}),)
    return ByName(Task(task_id, ({"role": "user", "content": task_id},), tools, Gold(()), category))


def said(*names: str, text: str = "", repairs: tuple[str, ...] = ()) -> Answer:
    calls = tuple(ToolCall(name, {"x": 1}) for name in names)
    final = Draft((1, 2), (3,), text, calls, None if calls else text, repairs)
    return Answer(final, Usage(2, 1, 1), (final,))


@dataclass(slots=True)
class Fixed:
    """Answers from a function, and counts."""

    reply: Callable[[Task], Answer]
    name: str = "org/fixed"
    asked: list[str] = field(default_factory=list)
    flying: int = 0
    most: int = 0

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        del sampling
        self.asked.append(task.id)
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0.001)
        self.flying -= 1
        return self.reply(task)


def right(task: Task) -> Answer:
    return said(task.id)


def odd_wrong(task: Task) -> Answer:
    return said(task.id if int(task.id[1:]) % 2 == 0 else "other")


CASES = [case(f"t{number}", "simple" if number < 6 else "multiple") for number in range(10)]


async def bench(answerer: Answerer, out: Path, cases: Sequence[ByName] = CASES, **options: Any) -> Summary:
    suite, version = options.pop("suite", "own"), options.pop("version", "1")
    sizes = Counter(each.task.category for each in cases)
    own = Suite(suite, version, tuple(cases), sizes)
    return await run_bench(own, answerer, out, **{"progress": False, **options})
