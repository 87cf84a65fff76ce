"""ToolAlpaca's evaluation sets, judged call by call (`strop.tools.judge`).

Read are ``eval_simulated.json`` and ``eval_real.json`` of the benchmark's repository. Tools are the
operations of each service's OpenAPI description. The benchmark itself lets a large model play the service
and another judge the whole run; here the model answers once, and is right where its calls are the gold's.
An argument that the gold leaves empty may be left out.
"""

from __future__ import annotations

import json
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

CATEGORIES: tuple[str, ...] = ("simulated", "real")

GET = "clone the benchmark's repository (github.com/tangqiaoyu/ToolAlpaca) and give its data/ as --data"
_SCHEMA_KEYS = ("type", "enum", "format", "items", "properties", "required", "default", "minimum", "maximum")


def _files(data: Path, category: str) -> list[Path]:
    return [data / f"eval_{category}.json"]


def _cases(data: Path, category: str) -> Iterator[JudgedCase]:
    (path,) = _files(data, category)
    for service in read_json(path):
        try:
            yield from _asked(service, category)
        except (KeyError, TypeError, ValueError) as error:
            name = service.get("Name") if isinstance(service, Mapping) else service
            raise DataError(f"service {name!r}: {error!r}", path=path) from None


def _asked(service: Mapping[str, Any], category: str) -> Iterator[JudgedCase]:
    """What users ask of one service. Questions beyond the gold's have none and are left out."""
    tools = tuple(tools_of(json.loads(service["Documentation"])))
    pairs = zip(service["Instructions"], service["Golden_Answers"], strict=False)
    for number, (question, answer) in enumerate(pairs):
        task_id = f"{category}_{service['Name'].replace(' ', '_')}_{number}"
        message = {"role": "user", "content": question}
        gold = Gold(tuple(_call(step) for step in answer))
        yield JudgedCase(Task(task_id, (message,), tools, gold, category, "ToolAlpaca"))


def tools_of(document: Mapping[str, Any]) -> Iterator[ToolSpec]:
    """The operations of an OpenAPI 3 document (path, query and JSON body parameters) as tools."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            properties: dict[str, Any] = {}
            required: list[str] = []
            for parameter in operation.get("parameters", ()):
                parameter = _resolved(parameter, document)
                properties[parameter["name"]] = _schema(parameter, document)
                required += [parameter["name"]] if parameter.get("required") else []
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            fields = _resolved(body.get("schema", {}), document)
            for name, schema in fields.get("properties", {}).items():
                properties[name] = _schema({"schema": schema, **schema}, document)
            required += [name for name in fields.get("required", ()) if name not in required]
            parameters = {"type": "object", "properties": properties, "required": required}
            name = operation.get("operationId") or f"{method}_{path.strip('/').replace('/', '_')}"
            yield ToolSpec(name, operation.get("description") or operation.get("summary") or "", parameters)


def _schema(parameter: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    schema = _resolved(parameter.get("schema", {}), document)
    kept = {key: schema[key] for key in _SCHEMA_KEYS if key in schema}
    return {"type": "string", **kept, "description": parameter.get("description", "")}


def _resolved(value: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows a reference within the document."""
    reference = value.get("$ref")
    if not isinstance(reference, str):
        return value
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return _resolved(found, document)


def _call(step: Mapping[str, Any]) -> ToolCall:
    arguments = step["Action_Input"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    return ToolCall(step["Action"], {name: value for name, value in arguments.items() if value != ""})


_CLONE = Clone("toolalpaca", Categories("ToolAlpaca", CATEGORIES), GET, _files, _cases)
load_category = _CLONE.load_category
COMPARED = CATEGORIES
"""What training data are compared with."""


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each set (of both, where none is named).

    Raises UsageError for an unknown set or no `data`, DataError where a file is missing or malformed.
    """
    return _CLONE.load(categories or CATEGORIES, limit=limit, data=data)
