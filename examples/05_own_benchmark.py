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


def sum_of(a: float, b: float) -> ToolCall:
    return ToolCall("add", {"a": a, "b": b})


@dataclass(frozen=True)
class SumCase:
    task: Task

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        if not calls:
            return Verdict.wrong(ErrorKind.MISSING_CALL, problem or f"answered with {content!r}")
        a, b = self.task.gold.calls[0].arguments.values()
        if list(calls) not in ([sum_of(a, b)], [sum_of(b, a)]):
            return Verdict.wrong(ErrorKind.WRONG_VALUE, f"called {', '.join(map(str, calls))}")
        return Verdict.right()

    def gold_lines(self) -> Sequence[str]:
        return [str(self.task.gold.calls[0])]


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    del data  # made up here, read from nowhere
    cases = []
    for category in [name for name in QUESTIONS if name in categories or not categories]:
        for number, question in enumerate(QUESTIONS[category][:limit]):
            message = {"role": "user", "content": question.format(a=17.0 + number, b=25.0)}
            gold = Gold((sum_of(17.0 + number, 25.0),))
            cases.append(SumCase(Task(f"{category}_{number}", (message,), (ADD,), gold, category)))
    return Suite("sums", "1", tuple(cases), {name: len(asked) for name, asked in QUESTIONS.items()})
