"""BFCL's function documents as tools.

The benchmark writes Python's type names (``dict``, ``float``, ``tuple``) where JSON Schema has its own; what
is said besides types is kept as it stands, keywords JSON Schema does not know included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.tools.files import json_text
from strop.tools.spec import ToolSpec

JSON_TYPES: Mapping[str, str] = {
    "string": "string",
    "integer": "integer",
    "float": "number",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
    "dict": "object",
    "any": "string",
}
"""JSON Schema's name of each of BFCL's Python types; ``any`` is a string, as its checker has it."""


def json_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """A BFCL parameter document as JSON Schema, at every depth; a missing or unknown type is a string."""
    schema = dict(document)
    schema["type"] = JSON_TYPES.get(document.get("type", ""), "string")
    # As JSON has them: an abstract class takes a fifth of loading the benchmark.
    if isinstance(properties := document.get("properties"), dict):
        schema["properties"] = {name: json_schema(inner) for name, inner in properties.items()}
    if isinstance(items := document.get("items"), dict):
        schema["items"] = json_schema(items)
    return schema


def tool_of(function: Mapping[str, Any], language: str = "python") -> ToolSpec:
    """A BFCL function document (``name``, ``description``, ``parameters``) as a tool; dots in names stay.

    In ``java`` and ``javascript`` every argument is a string that holds source text, and its description says
    what of.
    """
    if language == "python":
        return ToolSpec(
            function["name"], function.get("description", ""), json_schema(function["parameters"])
        )
    named = _LANGUAGES[language]
    properties = {
        name: _source_schema(document, named)
        for name, document in function["parameters"]["properties"].items()
    }
    parameters = {**function["parameters"], "type": "object", "properties": properties}
    description = f"{function.get('description', '')} (A {named} function.)"
    return ToolSpec(function["name"], description, parameters)


_LANGUAGES = {"java": "Java", "javascript": "JavaScript"}


def _source_schema(document: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A string that holds a literal or an expression of the documented type."""
    kind = document.get("type", "any")
    items = document.get("items", {}).get("type")
    what = "any value" if kind == "any" else f"{kind} of {items}" if items else kind
    fields = f" with {json_text(document['properties'])}" if document.get("properties") else ""
    told = f"{document.get('description', '')} ({language} source text: {what}{fields}.)".strip()
    return {"type": "string", "description": told}
