"""JSON within rows, read exactly (`strop.tools.files.EXACT`): what Python's reader would bend is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from strop.tools.errors import DataError
from strop.tools.files import EXACT

_SPACE = re.compile(r"[ \t\r\n]*+")


def parse(text: str, what: str) -> Any:
    """The value of a JSON text; `what` names it in the DataError raised where it is none."""
    try:
        return EXACT.decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: not JSON ({error})") from error


def parse_at(text: str, at: int) -> tuple[Any, int]:
    """(the value that begins at `at`, index after it). Raises ValueError."""
    try:
        return EXACT.raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def spans(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[Any, int, int]]:
    """(value, start, end) of every item of the JSON list that `text` is, in time linear in its length.

    Raises ValueError as soon as it turns out to be anything else, RecursionError for nesting without end.
    """
    opening = after_space(text, 0)
    at = after_space(text, opening + 1)
    if not text.startswith("[", opening):
        raise json.JSONDecodeError("Expecting a list", text, opening)
    while not text.startswith("]", at):
        start = at
        value, end = decoder.raw_decode(text, start)
        yield value, start, end
        at = after_space(text, end)
        if text.startswith(",", at):
            at = after_space(text, at + 1)
            if text.startswith("]", at):
                raise json.JSONDecodeError("Expecting value", text, at)
        elif not text.startswith("]", at):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    at = after_space(text, at + 1)
    if at < len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def items_in(text: str) -> list[str]:
    """The texts of the items of a JSON list, as they are written, and of its strings what they say; none
    where the text is anything else."""
    try:
        return [
            value if isinstance(value, str) else text[start:end] for value, start, end in spans(text, EXACT)
        ]
    except (ValueError, RecursionError):
        return []


def as_item(text: str) -> str:
    """`text` as an item of a JSON list from which `items_in` reads it back: JSON as it is, or a string."""
    try:
        value, end = parse_at(text, 0)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)
    whole = end == len(text) and not isinstance(value, str)
    return text if whole else json.dumps(text, ensure_ascii=False)


def after_space(text: str, at: int) -> int:
    """Index of the first character from `at` on that is no white space of JSON."""
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def parse_list(value: Any, what: str) -> list[Any]:
    """A list, or the JSON text of one; nothing (None, blank text) is an empty list. Raises DataError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    found = parse(value, what) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise DataError(f"{what} must be a list, got {type(found).__name__}")
    return found
