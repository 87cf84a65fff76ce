"""xLAM-function-calling-60k: a query, tools and answers, both JSON text.

A tool's parameters are ``{name: {description, type, default}}`` with types as Python annotates them. They
become JSON Schema: what is not said to be optional is required, defaults and descriptions stay as they are.
A type that JSON has no word for (``Callable[[float], float]``) restricts nothing, and stays under ``x-type``.
A type may have notes behind it (``int, optional (default 5)``, ``str (optional)``); a default in them counts
where the parameter has none of its own. ``required`` of a parameter counts for more than its type.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from strop.tools.errors import DataError
from strop.tools.formats.bracketed import read_literal
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import read_call, refuse_unoffered
from strop.training.layouts.exact import parse_list

LONGEST = 200
"""Characters of a type that is looked into; what is longer is none."""
_NAMES: Mapping[str, str] = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer",
    "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "none": "null", "null": "null",
    "list": "array", "array": "array", "tuple": "array", "set": "array", "sequence": "array",
    "iterable": "array", "dict": "object", "object": "object", "mapping": "object",
}  # fmt: skip
_NOTE = re.compile(r"(?:\A|(?<=[\s,(\])]))(?:optional|defaults?)\b(?!\s*\[)", re.IGNORECASE)
"""Where notes on a type begin; ``Optional[…]`` is a type."""
_DEFAULT = re.compile(r"\bdefaults?\b(?:\s+(?:to|is|value)\b)*\s*[:=]?\s*+(.+)", re.IGNORECASE | re.DOTALL)


class XLam:
    """`Layout`."""

    name = "xlam"

    def fits(self, row: Row) -> bool:
        return {"query", "tools", "answers"} <= row.keys()

    def marked(self, row: Row) -> bool:
        return self.fits(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        """No answers: the right answer makes no call."""
        query = row.get("query")
        if not isinstance(query, str) or not query.strip():
            raise DataError(f"'query' must be text, got {query!r}")
        tools = [_tool(tool) for tool in parse_list(row.get("tools"), "'tools'")]
        calls = [read_call(call, "'answers'") for call in parse_list(row.get("answers"), "'answers'")]
        refuse_unoffered("'answers'", calls, {tool["name"] for tool in tools})
        made = {
            "id": origin.id_of(row),
            "messages": [{"role": "user", "content": query}],
            "tools": tools,
            "calls": [call.to_json() for call in calls],
            "source": origin.source,
        }
        return [Task.from_json(made)]


def _tool(tool: Any) -> dict[str, Any]:
    inner = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise DataError(f"'tools': a tool without a name: {str(tool)[:120]}")
    parameters = inner.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise DataError(f"tool {inner['name']!r}: 'parameters' must be an object")
    if not _is_schema(parameters):
        parameters = _schema(inner["name"], parameters)
    return {"name": inner["name"], "description": inner.get("description", ""), "parameters": parameters}


def _is_schema(parameters: Mapping[str, Any]) -> bool:
    """Whether it is JSON Schema already, and not a tool with a parameter called ``properties``."""
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping):
        return False
    if "type" in parameters:
        return isinstance(parameters["type"], str)
    return all(isinstance(about, Mapping) for about in properties.values())


def _schema(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for parameter, about in parameters.items():
        if not isinstance(about, Mapping):
            raise DataError(f"tool {name!r}: parameter {parameter!r} must be an object")
        kind, optional = _kind(about.get("type"))
        told = about.get("required")
        is_told = isinstance(told, bool)
        kept = {
            key: value
            for key, value in about.items()
            if key != "type" and not (key == "required" and is_told)
        }
        properties[parameter] = kind | kept
        if told if is_told else not optional:
            required.append(parameter)
    return {"type": "object", "properties": properties, "required": required}


def _kind(written: Any) -> tuple[dict[str, Any], bool]:
    """As `json_type`, of a type that may also be a list of types, as in JSON Schema, or nothing at all."""
    if written is None:
        return {}, False
    if isinstance(written, str):
        return json_type(written)
    names = [_NAMES.get(one.lower()) if isinstance(one, str) else None for one in _listed(written)]
    return ({"type": names} if names and all(names) else {"x-type": written}), False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def json_type(written: str) -> tuple[dict[str, Any], bool]:
    """(JSON Schema, whether it may be left out) of a type as Python annotates it, notes behind it included.

    It is parsed and never evaluated.
    """
    note = _NOTE.search(written)
    before, notes = (written[: note.start()], written[note.start() :]) if note else (written, "")
    kind = _split(before.rstrip(" ,("))[0].strip()
    default = _DEFAULT.search(notes)
    given = {"default": _value(default.group(1))} if default else {}
    schema, optional = _type(kind)
    return schema | given, optional or note is not None


def _type(kind: str) -> tuple[dict[str, Any], bool]:
    optional = False
    try:
        tree = ast.parse(kind[:LONGEST], mode="eval").body
        if isinstance(tree, ast.Subscript) and _word(tree.value) == "optional":
            optional, tree = True, tree.slice
        return _of(tree), optional
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ({"x-type": kind} if kind else {}), optional


def _value(written: str) -> Any:
    """A default as its literal, or else as its text; the bracket that closes the notes is not of it."""
    text = written.strip()
    shorter = text.removesuffix(")").strip()
    for literal in (text, shorter):
        with suppress(DataError):
            return read_literal(literal)
    return shorter if text.count(")") > text.count("(") else text


def _split(written: str) -> list[str]:
    """At the commas outside brackets."""
    parts, depth = [""], 0
    for character in written:
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _of(node: ast.expr) -> dict[str, Any]:
    """Raises ValueError for what JSON Schema has no word for."""
    match node:
        case ast.Name() | ast.Attribute() if _word(node) == "any":
            return {}
        case ast.Name() | ast.Attribute() if _word(node) in _NAMES:
            return {"type": _NAMES[_word(node)]}
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _any_of([left, right])
        case ast.Subscript(value=value, slice=inside):
            return _generic(_word(value), inside.elts if isinstance(inside, ast.Tuple) else [inside])
    raise ValueError(ast.unparse(node))


def _generic(word: str, inside: list[ast.expr]) -> dict[str, Any]:
    """``List[int]``, ``Dict[str, Any]``, ``Union[int, str]`` and their like."""
    if word in ("union", "optional"):
        return _any_of([*inside, ast.Constant(None)] if word == "optional" else inside)
    if word == "literal":
        return {"enum": [_constant(one) for one in inside]}
    kind = _NAMES.get(word)
    if kind == "object" and len(inside) == 2:
        values = _of(inside[1])
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if word == "tuple" and not any(_is_ellipsis(one) for one in inside):
        each = [_of(one) for one in inside]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
    if kind == "array":
        items = _of(inside[0])
        return {"type": "array", "items": items} if items else {"type": "array"}
    raise ValueError(word)


def _constant(node: ast.expr) -> str | int | float | None:
    value = ast.literal_eval(node)
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(ast.unparse(node))


def _any_of(nodes: list[ast.expr]) -> dict[str, Any]:
    kinds = [_of(node) for node in nodes]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _word(node: ast.expr) -> str:
    """A name in small letters, its module left out (``typing.List``)."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lower()
    return ""
