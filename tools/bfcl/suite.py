"""BFCL's tasks, read from the files of the installed ``bfcl-eval`` distribution.

Covered is every category that needs no network and no further package: single turns in Python, Java and
JavaScript, and the multi-turn ones. Web search needs a search service's key and the open internet, so that no
two runs of it see the same; its answers are not asked for here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.tools.bfcl.checker import check, check_relevance, language_of
from strop.tools.bfcl.episodes import MULTI_TURN, load_episodes
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import answers_of, find_data, question_file, rows_of, version_of
from strop.tools.bfcl.gold import gold_calls
from strop.tools.bfcl.overall import overalls
from strop.tools.bfcl.schema import tool_of
from strop.tools.bfcl.simulators import Simulators
from strop.tools.episode import Episode
from strop.tools.errors import UsageError
from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.suite import Case, Suite
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict

NON_LIVE: tuple[str, ...] = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
)
LIVE: tuple[str, ...] = (
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
SINGLE_TURN = NON_LIVE + LIVE
CATEGORIES = SINGLE_TURN + MULTI_TURN
"""The categories there are, in the order they are run and reported."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": CATEGORIES,
    "single_turn": SINGLE_TURN,
    "multi_turn": MULTI_TURN,
    "non_live": NON_LIVE,
    "live": LIVE,
    "python": tuple(name for name in SINGLE_TURN if language_of(name) == "python"),
}
"""Names for several categories, as the official command has them."""

ELSEWHERE: Mapping[str, str] = {
    "web_search": "web search asks a search service over the internet, with a key: run it with bfcl-eval",
    "memory": "the memory categories need bfcl-eval's own environment (BM25, FAISS, sentence-transformers): "
    "run them with bfcl-eval",
}
"""Why some official categories are not here."""


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


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each category (of all, where none is named); `GROUPS` may be named, too.

    Read from `data`, else the directory named by $STROP_BFCL_DATA, else the installed ``bfcl-eval``.
    Raises UsageError for an unknown category, DataError where a file is missing or malformed.
    """
    wanted = resolve(categories or CATEGORIES)
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 task a category, got {limit}")
    directory = data or find_data()
    simulators = Simulators()
    cases: list[Case | Episode] = []
    sizes: dict[str, int] = {}
    for category in (name for name in CATEGORIES if name in wanted):
        if category in MULTI_TURN:
            found: Sequence[Case | Episode] = load_episodes(directory, category, simulators)
        else:
            found = load_cases(category, directory)
        sizes[category] = len(found)
        cases += found[:limit]
    return Suite("bfcl", version_of(directory, CATEGORIES), tuple(cases), sizes, overalls)


def resolve(names: Sequence[str]) -> frozenset[str]:
    """The categories that these names of categories and groups stand for. Raises UsageError."""
    found: set[str] = set()
    for name in names:
        elsewhere = next((why for prefix, why in ELSEWHERE.items() if name.startswith(prefix)), None)
        if elsewhere is not None:
            raise UsageError(f"BFCL category {name!r}: {elsewhere}")
        if name not in CATEGORIES and name not in GROUPS:
            known = ", ".join((*CATEGORIES, *GROUPS))
            raise UsageError(f"no BFCL category {name!r}; there are {known}")
        found.update(GROUPS.get(name, (name,)))
    return frozenset(found)


def load_cases(category: str, data: Path | None = None) -> list[BfclCase]:
    """The tasks of one single-turn category, in their file's order. Raises DataError."""
    directory = data or find_data()
    questions = rows_of(question_file(directory, category), "id", "question", "function")
    if "relevance" in category:
        return [_case(category, row, ()) for row in questions]
    answers = answers_of(directory, category, questions)
    return [_case(category, row, tuple(answer)) for row, answer in zip(questions, answers, strict=True)]


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
