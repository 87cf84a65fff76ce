"""Templates of requests: text with slots, choices and parts that may be left out.

    {city}          the value of argument city           {filter.value}   one inside an object argument
    {city*}         may also be a list in one request for several calls
    {room+}         may be a list, but only beside a second list ("…, respectively")
    {locked=true}   says nothing, sets the argument to the JSON value
    <a|b>           one of the alternatives               [a|b]            one of them, or nothing

Groups do not nest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from strop.tools.errors import DataError

_GROUP = re.compile(r"\[([^\[\]]*)\]|<([^<>]*)>")
_AN = re.compile(r"\b([Aa]) (?=8|1[18](?!\d))")
"""An article before eight, eighty, eleven or eighteen."""
_VOWEL = re.compile(r"(?!one\b|once\b|eu)[aeio]", re.IGNORECASE)
"""Words that want "an"; with u, some do ("a university")."""
_SLOT = re.compile(r"\{([a-z_.]+)(\*|\+|=[^{}]*)?\}")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value."""

    path: str
    """Argument name; dots lead into object arguments."""
    lists: str = ""
    """``*``: may be a list by itself; ``+``: only beside another; empty: never."""


@dataclass(frozen=True, slots=True)
class Setting:
    """An argument fixed by the words around it."""

    path: str
    value: Any


Piece: TypeAlias = str | Slot | Setting


@dataclass(frozen=True, slots=True)
class Group:
    """Alternatives, of which one is taken, or none where it is optional."""

    alternatives: tuple[tuple[Piece, ...], ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A parsed template."""

    parts: tuple[Piece | Group, ...]

    @classmethod
    def parse(cls, template: str) -> Phrasing:
        """Raises DataError where a brace or bracket is left over."""
        parts: list[Piece | Group] = []
        end = 0
        for match in _GROUP.finditer(template):
            parts += _pieces(template[end : match.start()])
            inner = match[1] if match[1] is not None else match[2]
            alternatives = tuple(tuple(_pieces(text)) for text in inner.split("|"))
            parts.append(Group(alternatives, optional=match[1] is not None))
            end = match.end()
        return cls((*parts, *_pieces(template[end:])))

    def choose(self, rng: Random, optional: float) -> tuple[Piece, ...]:
        """Settle the groups; an optional one is kept with probability `optional`."""
        chosen: list[Piece] = []
        for part in self.parts:
            if not isinstance(part, Group):
                chosen.append(part)
            elif not part.optional or rng.random() < optional:
                chosen += rng.choice(part.alternatives)
        return tuple(chosen)

    def variants(self) -> Iterator[tuple[Piece, ...]]:
        """One settled form for every alternative of every group, the other groups at their least."""
        least = [
            part.alternatives[0] if isinstance(part, Group) and not part.optional else ()
            for part in self.parts
        ]
        groups = [index for index, part in enumerate(self.parts) if isinstance(part, Group)]
        choices: list[dict[int, tuple[Piece, ...]]] = [{}]
        for index in groups:
            part = self.parts[index]
            if isinstance(part, Group):
                choices += [{index: alternative} for alternative in part.alternatives]
        for choice in choices:
            form: list[Piece] = []
            for index, part in enumerate(self.parts):
                form += choice.get(index, least[index]) if isinstance(part, Group) else (part,)
            yield tuple(form)


def paths_of(pieces: tuple[Piece, ...]) -> set[str]:
    """Arguments that the pieces state."""
    return {piece.path for piece in pieces if not isinstance(piece, str)}


def fill(pieces: tuple[Piece, ...], said: Mapping[str, str]) -> str:
    """The text, with every slot replaced by its words, and "an" before those of them that want it."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        elif isinstance(piece, Slot):
            words = said[piece.path]
            text = f"{text[:-1]}n {words}" if text.endswith(" a ") and _VOWEL.match(words) else text + words
    return _AN.sub(r"\1n ", text)


def _pieces(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    end = 0
    for match in _SLOT.finditer(text):
        pieces.append(text[end : match.start()])
        mark = match[2] or ""
        pieces.append(
            Setting(match[1], json.loads(mark[1:])) if mark.startswith("=") else Slot(match[1], lists=mark)
        )
        end = match.end()
    pieces.append(text[end:])
    for piece in pieces:
        if isinstance(piece, str) and set(piece) & set("{}[]<>|"):
            raise DataError(f"template piece {piece!r} has a stray bracket")
    return [piece for piece in pieces if piece != ""]
