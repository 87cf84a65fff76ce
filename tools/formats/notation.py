"""Values that are no JSON, told while they are being written: Python's literals and FunctionGemma's own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from strop.tools.formats import functiongemma, pythonic
from strop.tools.formats.growing import GrowingText
from strop.tools.formats.loose_json import UnreadableError


@dataclass(frozen=True, slots=True)
class Notation:
    """How values are written that are no JSON."""

    value_of: Callable[[str], tuple[Any, int] | None]
    """The value a text is but for its last character, and where it ends; None where it is none."""
    opening: str
    closing: str
    """Brackets."""
    quotes: str
    """Characters a string may begin with."""
    skip_string: Callable[[GrowingText, int], Generator[None, None, int]]
    """Index after the string that begins at an index, or after that character where none does."""


def _gemma_value(text: str) -> tuple[Any, int] | None:
    """The value `text` begins with, where only space and one more character follow."""
    try:
        value, end = functiongemma.read_value(text, 0)
    except UnreadableError:
        return None
    return (value, end) if not text[end:-1].strip() else None


def _gemma_string(text: GrowingText, at: int) -> Generator[None, None, int]:
    if not (yield from text.follows(functiongemma.ESCAPE, at)):
        return at + 1
    return (yield from text.after(functiongemma.ESCAPE, at + len(functiongemma.ESCAPE)))


def _python_value(text: str) -> tuple[Any, int] | None:
    try:
        return pythonic.value_in(text[:-1], {}), len(text) - 1
    except UnreadableError:
        return None


def _python_string(text: GrowingText, at: int) -> Generator[None, None, int]:
    quote = yield from text.char_at(at)
    close = quote
    if (yield from text.char_at(at + 1)) == quote:
        if (yield from text.char_at(at + 2)) != quote:
            return at + 2  # an empty one
        close, at = 3 * quote, at + 2
    at += 1
    while True:
        char = yield from text.char_at(at)
        if char == "\\":
            yield from text.char_at(at + 1)
            at += 2
        elif char == "\n" and close == quote:
            yield from text.never()
        elif char == quote and (yield from text.follows(close, at)):
            return at + len(close)
        else:
            at += 1


PYTHON = Notation(_python_value, "[({", "])}", "\"'", _python_string)
FUNCTIONGEMMA = Notation(_gemma_value, "[{", "]}", "<", _gemma_string)
