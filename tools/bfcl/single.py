"""BFCL's single-turn tasks, in Python, Java and JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.tools.bfcl.checker import check, check_relevance, language_of
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import answers_of, find_data, question_file, rows_of
from strop.tools.bfcl.gold import gold_calls
from strop.tools.bfcl.schema import tool_of
from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict


@dataclass(frozen=True, slots=True)
class BfclCase:
    """A task of the benchmark and what its checker needs."""

    task: Task
    functions: tuple[Mapping[str, Any], ...]
    """The official function documents, as they stand in the file."""
    possible: tuple[Mapping[str, Any], ...]
    """Allowed answers, ``{name: {argument: [value, …]}}``; empty for relevance and irrelevance."""

    @property
    def category(self) -> str:
        return self.task.category

    def fault(self, calls: Sequence[ToolCall], content: str | None = None) -> Fault | None:
        """What the official checker finds wrong with these calls, or with `content` where there are none."""
        if "relevance" in self.category:
            return check_relevance(self.category, calls)
        if content and not calls:
            return Fault("ast_decoder:decoder_failed", "", "answered with prose")
        return check(self.category, self.functions, calls, self.possible)

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        """The official verdict. `problem` says that `content` looks like a call that could not be read."""
        fault = self.fault(calls, content)
        if fault is None:
            return Verdict.right()
        if not calls and problem is not None:
            return Verdict.wrong(ErrorKind.UNPARSABLE, f"{problem} [ast_decoder:decoder_failed]")
        return fault.verdict(too_few=len(calls) < max(len(self.possible), 1))

    def gold_lines(self) -> Sequence[str]:
        """The allowed values of every argument; ``""`` among them means that it may be left out."""
        if self.task.gold is None:
            return ["any call"]
        written = [
            f"{name}({', '.join(f'{key}: {json_text(values)}' for key, values in allowed.items())})"
            for gold in self.possible
            for name, allowed in gold.items()
        ]
        return written or ["no call"]


def load_cases(category: str, data: Path | None = None) -> list[BfclCase]:
    """The tasks of one single-turn category, in their file's order. Raises DataError."""
    directory = data or find_data()
    questions = rows_of(question_file(directory, category), "id", "question", "function")
    if "relevance" in category:
        return [_case(category, row, ()) for row in questions]
    answers = answers_of(directory, category, questions)
    return [_case(category, row, tuple(answer)) for row, answer in zip(questions, answers, strict=True)]


def load_questions(category: str, data: Path | None = None) -> list[BfclCase]:
    """What a category asks, without tools and answers. Raises DataError."""
    rows = rows_of(question_file(data or find_data(), category), "id", "question")
    return [_case(category, {**row, "function": ()}, ()) for row in rows]


def _case(category: str, row: Mapping[str, Any], possible: tuple[Mapping[str, Any], ...]) -> BfclCase:
    functions = tuple(row["function"])
    language = language_of(category)
    gold = None if category == "live_relevance" else Gold(gold_calls(functions, possible, language))
    task = Task(
        id=row["id"],
        messages=tuple(row["question"][0]),
        tools=tuple(tool_of(function, language) for function in functions),
        gold=gold,
        category=category,
        source="BFCL v4 (Apache-2.0)",
    )
    return BfclCase(task, functions, possible)
