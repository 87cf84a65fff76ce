"""Turns of the ``from`` and ``value`` kind, which ShareGPT began and most tool-calling data go on with."""

from __future__ import annotations

from collections.abc import Mapping

from strop.tools.errors import DataError
from strop.training.layouts.base import Row


def speakers(row: Row) -> frozenset[str]:
    """Who speaks in ``conversations``; nobody where a row has none."""
    turns = row.get("conversations")
    if not isinstance(turns, list):
        return frozenset()
    return frozenset(str(turn.get("from")) for turn in turns if isinstance(turn, Mapping))


def turns_of(row: Row) -> list[tuple[str, str]]:
    """(speaker, text) of every turn. Raises DataError naming the turn that is none."""
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise DataError("'conversations' must be a list of turns")
    found = []
    for number, turn in enumerate(turns, start=1):
        match turn:
            case {"from": str(speaker), "value": str(text)}:
                found.append((speaker, text))
            case _:
                raise DataError(f"turn {number} of 'conversations' needs 'from' and 'value', both text")
    return found


def stranger(speaker: str, known: frozenset[str]) -> DataError:
    """For a speaker that a layout does not have."""
    return DataError(f"nobody is called {speaker!r} here (want {', '.join(sorted(known))})")
