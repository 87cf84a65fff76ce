"""API-Bank's tasks (levels 1 to 3), one call each, judged call by call.

Read is the processed form that tool-learning projects exchange: a JSON list a level, of objects with
``system`` (the tools, as text), ``user`` (the dialogue so far) and ``answer`` (the next call). The
benchmark's own evaluator makes the call against its databases and compares what comes out; without those, a
call is right here where its name and arguments are the gold's (`strop.tools.judge`). Where two different
calls have one result, that is stricter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.tools.case import JudgedCase
from strop.tools.errors import DataError
from strop.tools.files import read_json
from strop.tools.local_suite import Categories, Clone
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Suite
from strop.tools.task import Gold, Task

CATEGORIES: tuple[str, ...] = ("level1", "level2", "level3")
"""The levels: tools given, tools to be found, several calls planned."""

GET = (
    "give a directory with a JSON file a level, whose name ends in "
    "level1.json, level2.json or level3.json, as --data (the processed form of the ToolRL repository)"
)

_TOOL = re.compile(
    r"^\d+\. (?:Name: (?P<name>[^\n]+)\nDescription: (?P<about>.*?)|(?P<short>\w+): (?P<told>.*?))"
    r"\nParameters: (?P<parameters>\{.*?\})$",
    re.MULTILINE | re.DOTALL,
)
_TYPES: Mapping[str, str] = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean",
    "dict": "object", "list": "array",
}  # fmt: skip


def _files(data: Path, level: str) -> list[Path]:
    """One file; where there is none, what it would be called."""
    return sorted(data.glob(f"*{level}.json"))[:1] or [data / f"*{level}.json"]


def _cases(data: Path, level: str) -> Iterator[JudgedCase]:
    (path,) = _files(data, level)
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"want a list of tasks, got {type(rows).__name__}", path=path)
    for number, row in enumerate(rows):
        try:
            yield JudgedCase(_task(row, f"{level}_{number}", level))
        except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, RecursionError) as error:
            raise DataError(f"row {number}: no task of API-Bank ({error!r})", path=path) from None


def _task(row: Mapping[str, Any], task_id: str, level: str) -> Task:
    answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    calls = tuple(ToolCall(answer["name"], answer["parameters"]) for answer in answers)
    tools = tuple(tools_of(row["system"]))
    message = {"role": "user", "content": row["user"].strip()}
    return Task(task_id, (message,), tools, Gold(calls), level, "API-Bank")


def tools_of(text: str) -> Iterator[ToolSpec]:
    """The tools of a system message, which lists name, description and parameters of each."""
    for match in _TOOL.finditer(text):
        properties = {
            name: {"description": about.get("description", ""), **_schema(str(about.get("type")))}
            for name, about in ast.literal_eval(match["parameters"]).items()
        }
        about = (match["about"] or match["told"] or "").strip()
        yield ToolSpec(
            (match["name"] or match["short"]).strip(), about, {"type": "object", "properties": properties}
        )


def _schema(kind: str) -> dict[str, Any]:
    """``list(str)`` and the like; an unknown type is a string."""
    outer, _, inner = kind.partition("(")
    schema: dict[str, Any] = {"type": _TYPES.get(outer, "string")}
    return {**schema, "items": {"type": _TYPES.get(inner.rstrip(")"), "string")}} if inner else schema


_CLONE = Clone("apibank", Categories("API-Bank", CATEGORIES), GET, _files, _cases)
load_category = _CLONE.load_category
COMPARED = CATEGORIES
"""What training data are compared with."""


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each level (of all, where none is named).

    Raises UsageError for an unknown level or no `data`, DataError where a file is missing or malformed.
    """
    return _CLONE.load(categories or CATEGORIES, limit=limit, data=data)
