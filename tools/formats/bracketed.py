"""Calls in brackets whose names may be any text: ``[Find Place(near-by="Oslo", from=3), math.add(a=1)]``.

Training data of ToolACE's kind are written so. Values are literals of Python, read by `pythonic` and never
evaluated. Nothing is lost in it: such a list is read as it stands, or it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from strop.tools.errors import DataError
from strop.tools.formats.loose_json import UnreadableError
from strop.tools.formats.pythonic import LOSSES, value_at, value_in
from strop.tools.formats.shapes import Repairs
from strop.tools.spec import ToolCall

_SPACE = re.compile(r"[ \t\r\n]*+")
_PLAIN = r"""[ \t\r\n]*+([^()\[\]{}"',=]+)"""
_NAME = re.compile(_PLAIN + r"(?=\()")
_KEY = re.compile(_PLAIN + r"=")


def read_literal(text: str) -> Any:
    """The JSON value of the one literal of Python that `text` is. Raises DataError."""
    repairs: Repairs = {}
    try:
        value = value_in(text.strip(), repairs)
        _refuse_losses(repairs)
    except UnreadableError as error:
        raise DataError(f"not a literal: {error.reason}") from error
    return value


def announces_calls(text: str, names: Collection[str]) -> bool:
    """Whether `text` begins as a list of calls does: a bracket, a name and a parenthesis."""
    text = text.lstrip()
    return text.startswith("[") and _name_at(text, 1, names) is not None


def read_list(text: str, names: Collection[str]) -> list[ToolCall]:
    """The calls of a list, in its order. Offered `names` are recognised whatever they are made of.

    Raises DataError where the text is anything else, or anything follows the list.
    """
    text = text.strip()
    try:
        return _list(text, names)
    except UnreadableError as error:
        raise DataError(f"calls cannot be read: {error.reason}: {text[:120]!r}") from error


def _list(text: str, names: Collection[str]) -> list[ToolCall]:
    calls: list[ToolCall] = []
    at = 0
    while not calls or text.startswith(",", at):
        found = _name_at(text, at + 1, names)
        if found is None:
            raise UnreadableError("a name and its parenthesis are missing")
        start = _skip(text, at + 1)
        name, at = found
        arguments, at = _arguments(text, at + 1, name)
        calls.append(ToolCall(name, arguments, text[start:at]))
        at = _skip(text, at)
    if text[at:] != "]":
        raise UnreadableError("something stands between the last call and the end")
    return calls


def _name_at(text: str, at: int, names: Collection[str]) -> tuple[str, int] | None:
    """(name, index of its opening parenthesis); the longest offered name first, else any plain text."""
    start = _skip(text, at)
    for name in sorted(names, key=len, reverse=True):
        end = _skip(text, start + len(name))
        if name and text.startswith(name, start) and text.startswith("(", end):
            return name, end
    plain = _NAME.match(text, start)
    return (plain.group(1).strip(), plain.end()) if plain and plain.group(1).strip() else None


def _arguments(text: str, at: int, name: str) -> tuple[dict[str, Any], int]:
    """(arguments, index after the closing parenthesis), from the character after the opening one."""
    arguments: dict[str, Any] = {}
    at = _skip(text, at)
    while not text.startswith(")", at):
        key = _KEY.match(text, at)
        if key is None:
            raise UnreadableError(f"an argument of {name!r} has no name")
        argument = key.group(1).strip()
        if argument in arguments:
            raise UnreadableError(f"argument {argument!r} of {name!r} is given twice")
        repairs: Repairs = {}
        arguments[argument], at = value_at(text, _skip(text, key.end()), repairs)
        _refuse_losses(repairs)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith(")", at):
            raise UnreadableError(f"the arguments of {name!r} are not closed")
    return arguments, at + 1


def _refuse_losses(repairs: Repairs) -> None:
    lost = next((repair for repair in repairs if repair in LOSSES), None)
    if lost is not None:
        raise UnreadableError(f"not to be read as it stands ({lost})")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
