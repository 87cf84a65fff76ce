"""Java and JavaScript literals, as BFCL's answers in those languages have them, as Python values.

An answer gives every argument as source text (``"new int[]{1, 2}"``, ``"5L"``, ``"[1, 'a']"``), and what it
stands for is compared with the gold. The readers here see what the official checker's converters see
(bfcl-eval 2026.3.23), which match shapes rather than parse a language: a text that has not its type's shape
stays a text, and is then of the wrong type. Their odd corners count, so the shapes are theirs: commas
inside strings part items, a Java list keeps the quotes of items read as ``any``, numbers need the suffix of
their type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

JAVA_TYPES: Mapping[str, type] = {
    "byte": int, "short": int, "integer": int, "long": int, "float": float, "double": float,
    "boolean": bool, "char": str, "String": str, "any": str,
    "Array": list, "ArrayList": list, "Queue": list, "Stack": list,
    "Set": set, "HashMap": dict, "Hashtable": dict,
}  # fmt: skip
"""The Python type of each documented Java type."""

JAVASCRIPT_TYPES: Mapping[str, type] = {
    "integer": int, "float": float, "Bigint": int, "Boolean": bool, "String": str, "any": str,
    "array": list, "dict": dict,
}  # fmt: skip
"""The Python type of each documented JavaScript type."""

Reader = Callable[[str], Any]

_WHOLE = re.compile(r"^-?\d+$")
_DECIMAL = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_FLOAT = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")
_LONG = re.compile(r"^-?\d+[lL]$")
_BIGINT = re.compile(r"^-?\d+n$")
_PLAIN_DECIMAL = re.compile(r"^-?\d+(\.\d+)?$")


def java_value(text: str, kind: str, items: str | None = None) -> Any:
    """What `text` stands for as a `kind`, with `items` of that type in a list; the text itself where it has
    not the shape of one."""
    if kind in ("byte", "short", "integer"):
        return _number(_WHOLE, int, text)
    if kind == "long":
        return _number(_LONG, lambda digits: int(digits.rstrip("lL\n")), text)
    if kind == "float":
        return _number(_FLOAT, lambda digits: float(digits.rstrip("fF\n")), text)
    if kind == "double":
        return _number(_DECIMAL, float, text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "Array":
        return _java_array(text, items)
    if kind == "ArrayList":
        return _java_list(text, items)
    if kind == "HashMap":
        return _java_map(text)
    return text


def javascript_value(text: str, kind: str, items: str | None = None) -> Any:
    """As `java_value`, for JavaScript."""
    if kind == "String":
        return text[1:-1] if _quoted(text) else text
    if kind == "integer":
        return _number(_WHOLE, int, text)
    if kind == "float":
        return _number(_PLAIN_DECIMAL, float, text)
    if kind == "Bigint":
        return _number(_BIGINT, lambda digits: int(digits[:-1]), text)
    if kind == "Boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "array":
        return _javascript_array(text.strip(), items)
    if kind == "dict":
        return _javascript_object(text.strip())
    return text


def _number(shape: re.Pattern[str], read: Reader, text: str) -> Any:
    if not shape.match(text):
        return text
    try:
        return read(text)
    except ValueError:
        # More digits than Python reads; the official checker raises here.
        return text


def source_text(value: Any, kind: str, items: str | None, language: str) -> str:
    """A literal that `java_value` or `javascript_value` reads as `value`, as far as there is one.

    What is not of its documented type stands for a variable or an expression, and is written as it is.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value}{_SUFFIXES.get(kind, '')}"
    if isinstance(value, list):
        return _list_text(value, kind, items, language)
    if isinstance(value, Mapping):
        return _map_text(value, language)
    return str(value)


_SUFFIXES = {"long": "L", "float": "", "Bigint": "n"}


def _list_text(values: list[Any], kind: str, items: str | None, language: str) -> str:
    if language == "java" and kind == "Array":
        return f"new Object[]{{{', '.join(source_text(one, items or '', None, language) for one in values)}}}"
    if language == "java" and not values:
        return "new ArrayList<>()"
    quoted = items in ("String", "char", None) or language == "javascript"
    parts = ", ".join(_part(value, items or "", language, quoted) for value in values)
    return f"new ArrayList<>(Arrays.asList({parts}))" if language == "java" else f"[{parts}]"


def _map_text(values: Mapping[str, Any], language: str) -> str:
    if language == "javascript":
        return (
            "{" + ", ".join(f'"{key}": {_part(value, "", language)}' for key, value in values.items()) + "}"
        )
    puts = " ".join(f'put("{key}", {_part(value, "", language)});' for key, value in values.items())
    return f"new HashMap<String, Object>() {{{{ {puts} }}}}"


def _part(value: Any, kind: str, language: str, quoted: bool = True) -> str:
    if isinstance(value, str):
        return f'"{value}"' if quoted else value
    return source_text(value, kind, None, language)


# --- Java ---------------------------------------------------------------------------------------------------

_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_ADDED = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_ADD = re.compile(r"add\((.+?)\)")
_EMPTY_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", re.DOTALL)
_PUT = re.compile(r"put\(\"(.*?)\",\s*(.*?)\)")
_EMPTY_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")


def _java_array(text: str, items: str | None) -> Any:
    found = _ARRAY.search(text)
    if found is None:
        return text
    return [_java_item(item.strip(), items) for item in found.group(1).split(",") if item.strip()]


def _java_list(text: str, items: str | None) -> Any:
    found = _AS_LIST.search(text)
    if found:
        written = found.group(1).split(",")
    elif found := _ADDED.search(text):
        written = _ADD.findall(found.group(1))
    else:
        return [] if _EMPTY_LIST.search(text) else text
    if items in ("char", "String"):
        return [item.strip()[1:-1] for item in written]
    return [_java_item(item.strip(), items) for item in written]


def _java_map(text: str) -> Any:
    found = _MAP.search(text)
    if found:
        return {key: _java_guess(value.strip()) for key, value in _PUT.findall(found.group(1))}
    return {} if _EMPTY_MAP.search(text) else text


def _java_item(text: str, kind: str | None) -> Any:
    return java_value(text, kind) if kind else _java_guess(text)


def _java_guess(text: str) -> Any:
    """A value of no documented type."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return java_value(text, "long")
    if _FLOAT.match(text):
        return java_value(text, "float")
    return _guessed_number(text)


# --- JavaScript ---------------------------------------------------------------------------------------------

_NESTED = re.compile(r"\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\)")
_FLAT = re.compile(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)")
_INNER = re.compile(r"\[(.*?)\]")
_OBJECT = re.compile(r"\{(.*?)\}")
_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def _javascript_array(text: str, items: str | None) -> Any:
    nested = _NESTED.match(text)
    if nested:
        rows = [row.strip() for row in _INNER.findall(nested.group(0))]
        rows[:1] = [row.removeprefix("[") for row in rows[:1]]
        return [[_javascript_guess(item) for item in row.split(",")] for row in rows]
    flat = _FLAT.match(text)
    if flat is None:
        return text
    inside = (flat.group(1) if flat.group(1) is not None else flat.group(2)).strip()
    written = [item.strip() for item in inside.split(",")] if inside else []
    if items and items not in JAVASCRIPT_TYPES:
        return text
    return [javascript_value(item, items) if items else _javascript_guess(item) for item in written]


def _javascript_object(text: str) -> Any:
    if text == "{}":
        return {}
    found = _OBJECT.match(text)
    if found is None:
        return text
    pairs = _PAIR.findall(found.group(1))
    return {key.strip().strip("'\""): _javascript_field(value.strip()) for key, value in pairs}


def _javascript_field(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return _javascript_array(text, None)
    if text.startswith("{") and text.endswith("}"):
        return _javascript_object(text)
    return _javascript_guess(text.strip("'\""))


def _javascript_guess(text: str) -> Any:
    """A value of no documented type."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _quoted(text) else _guessed_number(text)


def _quoted(text: str) -> bool:
    return (text.startswith('"') and text.endswith('"')) or (text.startswith("'") and text.endswith("'"))


def _guessed_number(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
