"""BFCL's tasks, read from the files of the installed ``bfcl-eval`` distribution.

Covered are the single-turn categories whose answers are Python calls. The package itself is never imported:
it pulls every vendor's SDK. Its data stay where they are; nothing of them is part of Strop.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from strop.tools.bfcl.checker import Fault, check, check_relevance, verdict_of
from strop.tools.bfcl.schema import tool_of
from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_jsonl
from strop.tools.spec import ToolCall
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict

CATEGORIES: tuple[str, ...] = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
"""The categories there are, in the order they are run and reported."""

PREFIX = "BFCL_v4"
"""What every official file name starts with."""

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"


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
        wanted = max(len(self.possible), 1)
        verdict = verdict_of(self.fault(calls, content), calls, wanted)
        if not verdict.correct and not calls and problem is not None:
            return Verdict.wrong(ErrorKind.UNPARSABLE, f"{problem} [ast_decoder:decoder_failed]")
        return verdict


@dataclass(frozen=True, slots=True)
class BfclSuite:
    """Tasks of some categories."""

    version: str
    """``BFCL_v4`` and a digest of the data, chosen categories or not; equal exactly for equal data."""
    cases: tuple[BfclCase, ...]
    """In the order of `CATEGORIES`, and within one in the order of its file."""
    sizes: Mapping[str, int]
    """Tasks each category has in all, whatever the limit."""


def load_suite(
    categories: Sequence[str] = CATEGORIES, *, limit: int | None = None, data: Path | None = None
) -> BfclSuite:
    """The first `limit` tasks of each category.

    Read from `data`, else the directory named by $STROP_BFCL_DATA, else the installed ``bfcl-eval``.
    Raises UsageError for an unknown category, DataError where a file is missing or malformed.
    """
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise UsageError(f"no BFCL category {unknown[0]!r}; there are {', '.join(CATEGORIES)}")
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 task a category, got {limit}")
    directory = data or find_data()
    cases: list[BfclCase] = []
    sizes: dict[str, int] = {}
    for category in (name for name in CATEGORIES if name in categories):
        found = _load_category(directory, category)
        sizes[category] = len(found)
        cases += found[:limit]
    return BfclSuite(_version(directory), tuple(cases), sizes)


def find_data() -> Path:
    """The directory that holds ``BFCL_v4_*.json``. Raises DataError that says how to get it."""
    named = os.environ.get("STROP_BFCL_DATA")
    if named:
        return Path(named)
    try:
        return Path(str(metadata.distribution("bfcl-eval").locate_file("bfcl_eval/data")))
    except metadata.PackageNotFoundError:
        message = f"the BFCL data are not installed: {INSTALL} (or name their directory in STROP_BFCL_DATA)"
        raise DataError(message) from None


def _files(directory: Path, category: str) -> tuple[Path, Path]:
    """Questions and answers of a category; the second is not there for relevance and irrelevance."""
    name = f"{PREFIX}_{category}.json"
    return directory / name, directory / "possible_answer" / name


def _version(directory: Path) -> str:
    """Of all categories' files, so that it does not depend on which are asked for."""
    digest = hashlib.sha256()
    for path in (path for category in CATEGORIES for path in _files(directory, category)):
        if path.is_file():
            digest.update(path.read_bytes())
    return f"{PREFIX} {digest.hexdigest()[:12]}"


def _load_category(directory: Path, category: str) -> list[BfclCase]:
    question_file, path = _files(directory, category)
    questions = _rows(question_file, "id", "question", "function")
    if "relevance" in category:
        return [_case(category, row, ()) for row in questions]
    answers = {row["id"]: row["ground_truth"] for row in _rows(path, "id", "ground_truth")}
    missing = [row["id"] for row in questions if row["id"] not in answers]
    if missing:
        raise DataError(f"no answer to {missing[0]!r}", path=path)
    return [_case(category, row, tuple(answers[row["id"]])) for row in questions]


def _rows(path: Path, *wanted: str) -> list[dict[str, Any]]:
    """Rows of a file, each with the fields `wanted`."""
    if not path.is_file():
        raise DataError(f"no such BFCL file; get it with: {INSTALL}", path=path)
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(bad[0].reason, path=path, line=bad[0].line)
    for line, row in rows:
        missing = [name for name in wanted if name not in row]
        if missing:
            raise DataError(f"no {missing[0]!r}; is this BFCL v4?", path=path, line=line)
    return [row for _, row in rows]


def _case(category: str, row: Mapping[str, Any], possible: tuple[Mapping[str, Any], ...]) -> BfclCase:
    functions = tuple(row["function"])
    gold = None if category == "live_relevance" else Gold(gold_calls(functions, possible))
    task = Task(
        id=row["id"],
        messages=tuple(row["question"][0]),
        tools=tuple(tool_of(function) for function in functions),
        gold=gold,
        category=category,
        source="BFCL v4 (Apache-2.0)",
    )
    return BfclCase(task, functions, possible)


def gold_calls(
    functions: Sequence[Mapping[str, Any]], possible: Sequence[Mapping[str, Any]]
) -> tuple[ToolCall, ...]:
    """One right answer: the first allowed value of every argument, left out where only that is allowed.

    A handful of entries contradict their own function documents, so that nothing would satisfy the checker.
    """
    documents = {function["name"]: function["parameters"] for function in functions}
    return tuple(
        ToolCall(name, _first_values(allowed, documents.get(name, {})))
        for gold in possible
        for name, allowed in gold.items()
    )


def _first_values(allowed: Mapping[str, Sequence[Any]], document: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, options in allowed.items():
        given = [option for option in options if option != ""]
        if given:
            values[name] = _settle(given[0])
        elif name in document.get("required", ()):
            # The checker takes the mark of an optional list for an empty one.
            values[name] = [] if document["properties"][name]["type"] in ("array", "tuple") else ""
    return values


def _settle(option: Any) -> Any:
    """One value out of an allowed one: a dictionary holds choices, one level deep; so does a list of them."""
    if isinstance(option, list):
        return [_settle(item) if isinstance(item, Mapping) else item for item in option]
    if not isinstance(option, Mapping):
        return option
    return {key: choices[0] for key, choices in option.items() if "" not in choices}
