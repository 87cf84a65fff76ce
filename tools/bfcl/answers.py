"""Calls out of the text of a model that was told in the prompt how to write them.

The forms are those of BFCL's format-sensitivity tasks, and what is read is what the official decoders read
(bfcl-eval 2026.3.23, ``default_decode_ast_prompting``): strictly, since whether a model keeps to the form
is what is measured. The official reading evaluates arithmetic; here it is computed, within `MOST_DIGITS`.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from strop.tools.spec import ToolCall

FORMS = ("python", "json", "verbose_xml", "concise_xml")
MOST_DIGITS = 1000
"""Of a number that arithmetic in an answer may come to; and the most characters of a text."""

_TAGGED = re.compile(r"<TOOLCALL>(.*?)</TOOLCALL>", re.DOTALL)
_BRACKETED = re.compile(r"\[.*\]", re.DOTALL)
_OBJECTS = re.compile(r"\[\s*{.*?}\s*(?:,\s*{.*?}\s*)*\]", re.DOTALL)
_FUNCTIONS = re.compile(r"<functions>(.*?)</functions>", re.DOTALL)


class UnreadableError(ValueError):
    """A text that is no answer in the form that was asked for."""

    error_type = "ast_decoder:decoder_failed"
    """The official name of it."""


class NoCallsError(UnreadableError):
    """A text that can be read, but holds something else than calls."""

    error_type = "ast_decoder:decoder_wrong_output_format"


def read_answer(text: str, form: str, tagged: bool) -> list[ToolCall]:
    """The calls of an answer in one of `FORMS`, between ``<TOOLCALL>`` tags where `tagged`.

    Raises UnreadableError.
    """
    text = text.strip("`\n ")
    text = f"{'' if text.startswith('[') else '['}{text}{'' if text.endswith(']') else ']'}"
    if tagged:
        found = _TAGGED.search(text)
        if found is None:
            raise UnreadableError("no <TOOLCALL> tags")
        text = found.group(1).strip()
    try:
        calls = _READERS[form](text)
    except UnreadableError:
        raise
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, RecursionError, MemoryError,
            ArithmeticError, ElementTree.ParseError) as error:  # fmt: skip
        raise UnreadableError(f"{type(error).__name__}: {error}") from None
    if any(not isinstance(arguments, Mapping) for _, arguments in calls):
        raise NoCallsError("arguments are no object")
    return [ToolCall(name, arguments) for name, arguments in calls]


Read = list[tuple[str, Any]]


def _python(text: str) -> Read:
    body = ast.parse(text.strip().strip("'"), mode="eval").body
    if isinstance(body, ast.Call):
        return [_call(body)]
    if not isinstance(body, ast.List | ast.Tuple | ast.Set):
        raise UnreadableError("no list of calls")
    calls = [element for element in body.elts if isinstance(element, ast.Call)]
    if len(calls) != len(body.elts):
        raise UnreadableError("something in the list is no call")
    return [_call(call) for call in calls]


def _json(text: str) -> Read:
    found = _BRACKETED.search(text)
    text = found.group(0) if found else text
    found = _OBJECTS.search(text)
    try:
        rows = json.loads(found.group(0) if found else text)
    except json.JSONDecodeError:
        # To the official decoder this is an answer without a call.
        return []
    return [(row["function"], row["parameters"]) for row in rows if isinstance(row, dict)]


def _verbose_xml(text: str) -> Read:
    calls = []
    for function in _functions(text):
        container = function.find("params")
        given = (function if container is None else container).findall("param")
        arguments = {one.attrib.get("name"): _typed(one.attrib.get("value", ""), one) for one in given}
        calls.append((function.attrib["name"], arguments))
    return calls


def _concise_xml(text: str) -> Read:
    return [
        (
            function.attrib["name"],
            {one.attrib["name"]: _typed((one.text or "").strip(), one) for one in function.findall("param")},
        )
        for function in _functions(text)
    ]


def _functions(text: str) -> list[ElementTree.Element]:
    found = _FUNCTIONS.search(text)
    if found is None:
        raise UnreadableError("no <functions>")
    return ElementTree.fromstring(found.group(0)).findall("function")


def _typed(text: str, parameter: ElementTree.Element) -> Any:
    match parameter.attrib.get("type", "string"):
        case "integer":
            return int(text)
        case "float":
            return float(text)
        case "boolean":
            return text.lower() == "true"
        case "null":
            return None
        case "array" | "tuple" | "object" | "dict":
            return ast.literal_eval(text)
        case _:
            return text


_READERS: Mapping[str, Callable[[str], Read]] = {
    "python": _python, "json": _json, "verbose_xml": _verbose_xml, "concise_xml": _concise_xml,
}  # fmt: skip


# --- values in Python
# -----------------------------------------------------------------------------------------


def _call(call: ast.Call) -> tuple[str, dict[Any, Any]]:
    """Name and named arguments; what is given by position is lost, as in the official reading."""
    parts, function = [], call.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    return ".".join(reversed(parts)), {word.arg: _value(word.value) for word in call.keywords}


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return "..." if value is Ellipsis else value
        case ast.UnaryOp(operand=ast.Constant(value=value)):
            return -value  # type: ignore[operator]
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.Name(id=name):
            return name
        case ast.BinOp():
            return _computed(node)
        case ast.Call(keywords=[]):
            return ast.unparse(node)
        case ast.Call():
            name, arguments = _call(node)
            return {name: arguments}
        case ast.Subscript(value=value, slice=place):
            return f"{ast.unparse(value)}[{ast.unparse(place)}]"
    raise UnreadableError(f"a {type(node).__name__} is no value")


def _key(node: ast.expr | None) -> Any:
    if node is None:
        raise UnreadableError("a dictionary is unpacked")
    return _value(node)


_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def _computed(node: ast.expr) -> Any:
    """Arithmetic on numbers, and texts put together; nothing else, and nothing large."""
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(_computed(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, exponent = _number(_computed(left)), _number(_computed(right))
            if abs(exponent) > MOST_DIGITS or abs(base) > 10**9:
                raise UnreadableError("too large a power")
            return _small(base**exponent)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            one, other = _computed(left), _computed(right)
            both_texts = isinstance(one, str) and isinstance(other, str) and isinstance(sign, ast.Add)
            if not both_texts:
                one, other = _number(one), _number(other)
            return _small(_OPERATORS[type(sign)](one, other))
    raise UnreadableError("an expression that is no arithmetic")


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise UnreadableError("arithmetic on something that is no number")
    return value


def _small(value: Any) -> Any:
    if isinstance(value, complex) or (isinstance(value, int) and value.bit_length() > 4 * MOST_DIGITS):
        raise UnreadableError("arithmetic that comes to too large a number")
    if isinstance(value, str) and len(value) > MOST_DIGITS:
        raise UnreadableError("too long a text")
    return value
