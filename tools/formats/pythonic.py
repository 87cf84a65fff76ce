"""Calls written as a list of Python calls: ``[get_weather(city="Oslo"), clock.now()]``.

Read with `ast`, never evaluated: values are literals of Python (or ``true``, ``false``, ``null``), arguments
are keywords. Names are identifiers joined by dots.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from strop.tools.errors import UsageError
from strop.tools.formats.loose_json import MAX_DEPTH, MAX_DIGITS, UnreadableError
from strop.tools.formats.shapes import Repairs
from strop.tools.spec import ToolCall

OPENING = r"\[(?=[ \t\r\n]*+[^\W\d][\w.]*+\()"
"""Where a list of calls begins."""

# All that may stand between the brackets. Operators, comprehensions, lambdas and f-strings are no tokens of
# ours, so nothing that reaches `ast` can nest deeper than the brackets counted here.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]++)
      | (?P<string>[rR]?(?:"{3}(?:[^"\\]|\\.|"(?!""))*+"{3}|'{3}(?:[^'\\]|\\.|'(?!''))*+'{3}
            |"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'))
      | (?P<number>-?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?![\w.]))
      | (?P<name>[^\W\d]\w*+)
      | (?P<open>[\[({])
      | (?P<close>[\])}])
      | (?P<mark>[,:=.])""",
    re.VERBOSE | re.DOTALL,
)
_CUT_NUMBER = re.compile(r"[0-9.][\w.+-]*+\Z")
"""What the rest of a number may still follow."""
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_JSON_WORDS = {"true": True, "false": False, "null": None}


class Pythonic:
    """`CallFormat` for ``[f(a=1), g.h(b="x")]``, the form Llama 3.2 and later are taught."""

    name = "pythonic"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for names that are not identifiers (dotted, for the tool) and values that are not
        JSON."""
        return f"[{', '.join(_render_call(call) for call in calls)}]" if calls else ""


def find_end(text: str, at: int) -> tuple[int, list[str]]:
    """(index after the bracket that closes the one at `at`, the texts of the items between). Raises
    UnreadableError."""
    stack: list[str] = []
    items, item_start = list[str](), at + 1
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            cut = text[at] in "\"'-" or _CUT_NUMBER.match(text, at)
            raise UnreadableError(f"{text[at : at + 12]!r} is not part of a call", len(text) if cut else at)
        _check_token(token, stack)
        if (token.group() == "," and len(stack) == 1) or not stack:
            items.append(text[item_start:at].strip())
            item_start = token.end()
        at = token.end()
        if not stack:
            return at, items
    raise UnreadableError("cut off before its closing bracket", at)


def _check_token(token: re.Match[str], stack: list[str]) -> None:
    """Refuse what could overwhelm `ast`; keep the `stack` of brackets to be closed."""
    text, at = token.group(), token.start()
    match token.lastgroup:
        case "open":
            stack.append(_CLOSING[text])
            if len(stack) > MAX_DEPTH:
                raise UnreadableError(f"nesting deeper than {MAX_DEPTH}", at)
        case "close" if stack.pop() != text:
            raise UnreadableError(f"{text!r} closes nothing", at)
        case "number" if len(text) > MAX_DIGITS:
            raise UnreadableError(f"a number of more than {MAX_DIGITS} digits", at)
        case "name" if keyword.iskeyword(text) and text not in ("True", "False", "None"):
            raise UnreadableError(f"{text!r} is not part of a call", at)


LOSSES = frozenset({"duplicate keys: last kept", "lone surrogate replaced"})
"""Repairs of a value after which it is no longer all that was written."""


def value_in(source: str, repairs: Repairs) -> Any:
    """The one literal that `source` is; what had to be bent is added to `repairs`. Raises UnreadableError."""
    listed = f"[{source}]"
    end, items = find_end(listed, 0)
    if end != len(listed) or len(items) != 1:
        raise UnreadableError("more than one value")
    tree = _parsed(listed)
    if not isinstance(tree, ast.List) or len(tree.elts) != 1:
        raise UnreadableError("not one value")
    return _literal(tree.elts[0], repairs)


def value_at(text: str, at: int, repairs: Repairs) -> tuple[Any, int]:
    """(the literal that begins at `at`, index of the comma or closing bracket after it); `repairs` as in
    `value_in`. Raises UnreadableError."""
    start, stack = at, list[str]()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise UnreadableError(f"{text[at : at + 12]!r} is not part of a value", at)
        if not stack and (token.group() == "," or token.lastgroup == "close"):
            return value_in(text[start:at], repairs), at
        _check_token(token, stack)
        at = token.end()
    raise UnreadableError("cut off within a value", at)


def calls_in(source: str, items: list[str], repairs: Repairs) -> list[ToolCall]:
    """The calls of a bracketed list and its items, as `find_end` delimits them. Raises UnreadableError."""
    tree = _parsed(source)
    if not isinstance(tree, ast.List):
        raise UnreadableError("not a list of calls")
    return [_call(node, item, repairs) for node, item in zip(tree.elts, items, strict=False)]


def _parsed(source: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown escapes such as "\d" are kept by Python, with a warning
            return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError(f"not a list of Python calls ({type(error).__name__})") from error


def _call(node: ast.expr, text: str, repairs: Repairs) -> ToolCall:
    if not isinstance(node, ast.Call):
        raise UnreadableError("an item of the list is not a call")
    name = _dotted(node.func)
    if node.args:
        raise UnreadableError(f"an argument of {name!r} has no name")
    arguments: dict[str, Any] = {}
    for argument in node.keywords:
        if argument.arg is None:
            raise UnreadableError(f"an argument of {name!r} has no name")
        if argument.arg in arguments:
            repairs["duplicate arguments: last kept"] = None
        arguments[argument.arg] = _literal(argument.value, repairs)
    return ToolCall(name, arguments, text)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise UnreadableError("a call of something that is not a name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr, repairs: Repairs) -> Any:
    """The JSON value of a literal; a tuple is a list, a dict's keys must be strings."""
    match node:
        case ast.Constant(value=None | bool() | int() | str() as value):
            return _text(value, repairs) if isinstance(value, str) else value
        case ast.Constant(value=float() as value) if math.isfinite(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            if math.isfinite(value) and not isinstance(value, bool):
                return -value
        case ast.Name(id=word) if word in _JSON_WORDS:
            repairs["true, false or null read as Python"] = None
            return _JSON_WORDS[word]
        case ast.List(elts=items):
            return [_literal(item, repairs) for item in items]
        case ast.Tuple(elts=items):
            repairs["tuple read as a list"] = None
            return [_literal(item, repairs) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [_key(key, repairs) for key in keys]
            if len(set(names)) < len(names):
                repairs["duplicate keys: last kept"] = None
            return {name: _literal(value, repairs) for name, value in zip(names, values, strict=True)}
    raise UnreadableError("a value that is not a literal")


def _text(value: str, repairs: Repairs) -> str:
    """With JSON's escapes of characters beyond U+FFFF, which Python reads as two halves, put together."""
    if value.isascii():
        return value
    units = value.encode("utf-16-le", "surrogatepass")
    joined = units.decode("utf-16-le", "replace")
    if joined.encode("utf-16-le") != units:
        repairs["lone surrogate replaced"] = None
    return joined


def _key(node: ast.expr | None, repairs: Repairs) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _text(node.value, repairs)
    raise UnreadableError("a dict key that is not a string")


def _render_call(call: ToolCall) -> str:
    if not all(_is_identifier(part) for part in call.name.split(".")):
        raise UsageError(
            f"tool name {call.name!r} cannot be written as a Python call; use another call format"
        )
    for name in call.arguments:
        if not _is_identifier(name):
            raise UsageError(
                f"argument {name!r} of {call.name!r} cannot be written as a Python keyword; "
                "use another call format"
            )
    arguments = (f"{name}={_render_value(value)}" for name, value in call.arguments.items())
    return f"{call.name}({', '.join(arguments)})"


def _is_identifier(name: str) -> bool:
    """Whether Python reads `name` back as itself (it normalises identifiers to NFKC)."""
    return name.isidentifier() and not keyword.iskeyword(name) and unicodedata.normalize("NFKC", name) == name


def _render_value(value: Any) -> str:
    if value is None or isinstance(value, str | bool | int):
        return repr(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_render_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_render_value(item) for item in value) + "]"
    raise UsageError(f"{value!r} is not a JSON value and cannot be written in a call")
