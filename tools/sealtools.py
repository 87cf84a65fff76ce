"""Seal-Tools' test sets, judged call by call (`strop.tools.judge`).

Read are the files of ``Seal-Tools_Dataset/dataset_for_finetune`` in the benchmark's repository, where every
question comes with the five tools its retriever found. Gold values are text throughout; they are read as
their tool's types, where they can be. The benchmark itself reports precision and recall of calls and
arguments over the whole set; here a task is right where all its calls are. Values that stand for an earlier
call's result (``API_call_0``) are compared as they stand.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.tools.case import JudgedCase
from strop.tools.errors import DataError
from strop.tools.files import read_json
from strop.tools.local_suite import Categories, Clone
from strop.tools.schema import fits_type
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import Suite
from strop.tools.task import Gold, Task

CATEGORIES: tuple[str, ...] = ("test_in_domain", "test_out_domain", "dev")

GET = (
    "clone the benchmark's repository (github.com/fairyshine/Seal-Tools) and give "
    "Seal-Tools_Dataset/dataset_for_finetune as --data"
)
_TYPES: Mapping[str, str] = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean",
    "list": "array", "dict": "object",
}  # fmt: skip
_LIST, _QUESTION = "api_list = ", "task_instruction = "


def _files(data: Path, category: str) -> list[Path]:
    return [data / f"{category}.json"]


def _cases(data: Path, category: str) -> Iterator[JudgedCase]:
    (path,) = _files(data, category)
    for number, row in enumerate(read_json(path)):
        try:
            yield JudgedCase(read_row(row, category))
        except DataError as error:
            raise DataError(f"row {number}: {error}", path=path) from None


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a row has the conversation of Seal-Tools' fine-tuning files: tools and question in one text."""
    match row.get("conversations"):
        case [{"value": str(asked)}, {"value": str()}, *_]:
            return _LIST in asked and "\n" + _QUESTION in asked
    return False


def read_row(row: Mapping[str, Any], category: str) -> Task:
    """The task of one row of a fine-tuning file. Raises DataError where it is none."""
    try:
        return _task(row, category)
    except (
        AttributeError, KeyError, IndexError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        raise DataError(f"no task of Seal-Tools ({error!r})") from None


def _task(row: Mapping[str, Any], category: str) -> Task:
    asked, answered = (turn["value"] for turn in row["conversations"][:2])
    listed, question = asked.split(_LIST, 1)[1].rsplit("\n" + _QUESTION, 1)
    tools = {document["api_name"]: _tool(document) for document in ast.literal_eval(listed)}
    text = question.rsplit("\nOutput:", 1)[0].strip().removeprefix('"').removesuffix('"')
    calls = tuple(_call(call, tools) for call in ast.literal_eval(answered))
    message = {"role": "user", "content": text}
    return Task(
        row["id"], (message,), tuple(tools.values()), Gold(calls), category, "Seal-Tools (Apache-2.0)"
    )


def _tool(document: Mapping[str, Any]) -> ToolSpec:
    properties = {
        name: {"type": _TYPES.get(about.get("type"), "string"), "description": about.get("description", "")}
        for name, about in document["parameters"].items()
    }
    parameters = {"type": "object", "properties": properties, "required": list(document.get("required", ()))}
    return ToolSpec(document["api_name"], document.get("api_description", ""), parameters)


def _call(call: Mapping[str, Any], tools: Mapping[str, ToolSpec]) -> ToolCall:
    properties = tools[call["api"]].properties if call["api"] in tools else {}
    typed = {
        name: _typed(value, properties.get(name, {}).get("type"))
        for name, value in call["parameters"].items()
    }
    return ToolCall(call["api"], typed)


def _typed(value: Any, kind: str | None) -> Any:
    """Text as the value it spells, where that is of the type the tool wants."""
    if not isinstance(value, str) or kind in (None, "string"):
        return value
    try:
        read = json.loads(value.lower() if kind == "boolean" else value)
    except ValueError:
        return value
    return read if fits_type(read, {"type": kind}) else value


_CLONE = Clone("sealtools", Categories("Seal-Tools", CATEGORIES), GET, _files, _cases)
load_category = _CLONE.load_category
COMPARED = CATEGORIES
"""What training data are compared with."""


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each file (of both test sets, where none is named).

    Raises UsageError for an unknown category or no `data`, DataError where a file is missing or malformed.
    """
    return _CLONE.load(categories or CATEGORIES[:2], limit=limit, data=data)
