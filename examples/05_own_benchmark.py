"""A benchmark of one's own, in one file: is a sum asked for by calling the tool with both numbers?

strop bench run examples/05_own_benchmark.py --out runs/sums
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Suite
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict

NUMBER = {"type": "number"}
ADD = ToolSpec("add", "Adds two numbers.", {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}})
QUESTIONS = {"sums": ["What is {a} plus {b}?", "Add {b} to {a}."], "stories": ["I had {a} and got {b}. Now?"]}


@dataclass(frozen=True)
class SumCase:
    task: Task
    numbers: frozenset[float]

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        if not calls:
            return Verdict.wrong(ErrorKind.MISSING_CALL, problem or f"answered with {content!r}")
        if set(calls[0].arguments.values()) != self.numbers:  # either order is right
            return Verdict.wrong(ErrorKind.WRONG_VALUE, f"called {calls[0]}")
        return Verdict.right()

    def gold_lines(self) -> Sequence[str]:
        return [str(self.task.gold.calls[0]) if self.task.gold else ""]


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    del data  # made up here, read from nowhere
    cases = []
    for category in categories or QUESTIONS:
        for number, question in enumerate(QUESTIONS[category][:limit]):
            a, b = 17.0 + number, 25.0
            message = {"role": "user", "content": question.format(a=a, b=b)}
            gold = Gold((ToolCall("add", {"a": a, "b": b}),))
            task = Task(f"{category}_{number}", (message,), (ADD,), gold, category)
            cases.append(SumCase(task, frozenset({a, b})))
    return Suite("sums", "1", tuple(cases), {name: len(asked) for name, asked in QUESTIONS.items()})
