"""ToolAlpaca's evaluation sets, judged call by call (`strop.tools.judge`).

Read are ``eval_simulated.json`` and ``eval_real.json`` of the benchmark's repository. Tools are the
operations of each service's OpenAPI description, under the names that the golds have. The benchmark itself
lets a large model play the service and another judge the whole run; here the model answers once, and is
right where its calls are the gold's. An argument that the gold leaves empty may be left out; what a service
authenticates by, which nobody tells the model here, is asked for by neither tools nor golds. Four golds of
the published real set are no JSON: those questions are left out, with a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
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
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            name = service.get("Name") if isinstance(service, Mapping) else service
            raise DataError(f"service {name!r}: {error!r}", path=path) from None


def _asked(service: Mapping[str, Any], category: str) -> Iterator[JudgedCase]:
    """What users ask of one service. Questions beyond the gold's have none and are left out."""
    projected = (service.get("Function_Projection") or {}).items()
    names = {tuple(place): name for name, place in projected if isinstance(place, list)}
    secret = frozenset(service.get("Authentication") or ())
    tools = tuple(tools_of(json.loads(service["Documentation"]), names, secret))
    pairs = zip(service["Instructions"], service["Golden_Answers"], strict=False)
    for number, (question, answer) in enumerate(pairs):
        task_id = f"{category}_{service['Name'].replace(' ', '_')}_{number}"
        message = {"role": "user", "content": question}
        try:
            gold = Gold(tuple(_call(step, secret) for step in answer))
        except json.JSONDecodeError as error:
            warnings.warn(f"ToolAlpaca: {task_id} is left out: its gold is no JSON ({error})", stacklevel=2)
            continue
        yield JudgedCase(Task(task_id, (message,), tools, gold, category, "ToolAlpaca"))


def tools_of(
    document: Mapping[str, Any], names: Mapping[tuple[str, ...], str], secret: Container[str]
) -> Iterator[ToolSpec]:
    """The operations of an OpenAPI 3 document (path, query and JSON body parameters) as tools.

    `names` are those of (path, method), where the benchmark has given any; `secret` parameters are left out.
    """
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            properties: dict[str, Any] = {}
            required: list[str] = []
            for parameter in (*operations.get("parameters", ()), *operation.get("parameters", ())):
                parameter = _resolved(parameter, document)
                properties[parameter["name"]] = _schema(parameter, document)
                required += [parameter["name"]] if parameter.get("required") else []
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            fields = _resolved(body.get("schema", {}), document)
            for name, schema in fields.get("properties", {}).items():
                properties[name] = _schema({"schema": schema, **schema}, document)
            required += [name for name in fields.get("required", ()) if name not in required]
            parameters = {
                "type": "object",
                "properties": {name: schema for name, schema in properties.items() if name not in secret},
                "required": [name for name in required if name not in secret],
            }
            name = names.get((path, method)) or operation.get("operationId") or _name(path, method)
            yield ToolSpec(name, operation.get("description") or operation.get("summary") or "", parameters)


def _name(path: str, method: str) -> str:
    """As the benchmark names an operation that has no name."""
    return f"{path[1:].replace('/', '_').replace('{', '').replace('}', '')}_{method}"


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


def _call(step: Mapping[str, Any], secret: Container[str]) -> ToolCall:
    arguments = step["Action_Input"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    given = {name: value for name, value in arguments.items() if value != "" and name not in secret}
    return ToolCall(step["Action"], given)


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
