"""JSON within rows, read exactly: what Python's reader would bend is refused.

Of a key given twice Python keeps one, and ``NaN`` is no JSON; both would change what a row says.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from strop.tools.errors import DataError


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def parse(text: str, what: str) -> Any:
    """The value of a JSON text; `what` names it in the DataError raised where it is none."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: not JSON ({error})") from error


def parse_at(text: str, at: int) -> tuple[Any, int]:
    """(the value that begins at `at`, index after it). Raises ValueError."""
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def items_in(text: str) -> list[str]:
    """The texts of the items of a JSON list, as they are written, and of its strings what they say; none
    where the text is anything else."""
    items, at = list[str](), text.find("[") + 1
    if text[:at].strip() != "[":
        return []
    try:
        while True:
            at = _after_space(text, at)
            value, end = parse_at(text, at)
            items.append(value if isinstance(value, str) else text[at:end])
            at = _after_space(text, end)
            if text[at:].strip() == "]":
                return items
            if not text.startswith(",", at):
                return []
            at += 1
    except ValueError:
        return []


def as_item(text: str) -> str:
    """`text` as an item of a JSON list from which `items_in` reads it back: JSON as it is, or a string."""
    try:
        value, end = parse_at(text, 0)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)
    whole = end == len(text) and not isinstance(value, str)
    return text if whole else json.dumps(text, ensure_ascii=False)


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def parse_list(value: Any, what: str) -> list[Any]:
    """A list, or the JSON text of one; nothing (None, blank text) is an empty list. Raises DataError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    found = parse(value, what) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise DataError(f"{what} must be a list, got {type(found).__name__}")
    return found
