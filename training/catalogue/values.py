"""Drawing values for the arguments of a tool, each with the words a question states it in.

Every draw depends on the generator alone. Nothing here knows of templates or tasks.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, TypeAlias

from strop.tools.errors import DataError

Pools: TypeAlias = Mapping[str, Sequence[Any]]
"""Named lists of values; an entry is a text or ``[value, way of saying it, …]``."""


@dataclass(frozen=True, slots=True)
class Value:
    """One argument value and the words for it."""

    value: Any
    """As JSON."""
    said: str
    """As the question states it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of one argument come from."""

    draw: Callable[[Random], Value]
    kind: str
    """Arguments of one kind never get the same value within one request (from and to, start and end)."""


def source_of(spec: Mapping[str, Any], pools: Pools) -> Source:
    """The source an argument of the catalogue names. Raises DataError where it names none.

    One of ``pool``, ``values``, ``enum``, ``range`` (low, high, step), ``percent`` (the same, in percent; the
    value is the fraction), ``date`` (a strftime form), ``time`` (first and last hour), ``code`` (@ a letter,
    # a digit), or ``items`` with ``count`` for arrays.
    """
    match spec:
        case {"items": items, "count": [int(least), int(most)]}:
            return _array(source_of(items, pools), least, most)
        case {"pool": str(name)} if name in pools:
            return Source(_choice(pools[name]), f"pool {name}")
        case {"values": [*entries]} | {"enum": [*entries]}:
            return Source(_choice(entries), f"values {entries}")
        case {"range": [low, high, step]}:
            return Source(lambda rng: _plain(_step(rng, low, high, step)), "number")
        case {"percent": [low, high, step]}:
            return Source(lambda rng: _percent(rng, _step(rng, low, high, step)), "percent")
        case {"date": str(form)}:
            first, last = spec.get("years", (2026, 2027))
            return Source(lambda rng: _date(rng, form, first, last), "date")
        case {"time": [int(first), int(last)]}:
            return Source(lambda rng: _time(rng, first, last), "time")
        case {"code": str(pattern)}:
            return Source(lambda rng: _code(rng, pattern), "code")
        case _:
            raise DataError(f"the catalogue names no source of values in {dict(spec)}")


def draw_above(rng: Random, source: Source, floor: Value) -> Value:
    """A value greater than `floor`: up to ten days later for ISO dates, any greater one for numbers."""
    if source.kind == "date":
        later = date.fromisoformat(floor.value) + timedelta(days=rng.randint(1, 10))
        return Value(later.isoformat(), later.isoformat())
    for _ in range(200):
        value = source.draw(rng)
        if value.value > floor.value:
            return value
    return _plain(floor.value + 1)


def spoken_list(said: Sequence[str], rng: Random) -> str:
    """``a, b and c``, sometimes with the comma before the last."""
    if len(said) == 1:
        return said[0]
    comma = "," if len(said) > 2 and rng.random() < 0.4 else ""
    return f"{', '.join(said[:-1])}{comma} and {said[-1]}"


def _choice(entries: Sequence[Any]) -> Callable[[Random], Value]:
    def draw(rng: Random) -> Value:
        entry = rng.choice(entries)
        if isinstance(entry, str):
            return Value(entry, entry)
        return Value(entry[0], rng.choice(entry[1:]))

    return draw


def _array(items: Source, least: int, most: int) -> Source:
    def draw(rng: Random) -> Value:
        wanted = rng.randint(least, most)
        drawn: dict[Any, Value] = {}
        while len(drawn) < wanted:
            value = items.draw(rng)
            drawn[value.value] = value
        return Value(list(drawn), spoken_list([value.said for value in drawn.values()], rng))

    return Source(draw, f"array of {items.kind}")


def _step(rng: Random, low: float, high: float, step: float) -> float:
    number = low + step * rng.randint(0, round((high - low) / step))
    return round(number, 6)


def _plain(number: float) -> Value:
    """A number as people type it: no trailing ``.0``, and an integer in JSON where it is one."""
    value = int(number) if number == int(number) else number
    return Value(value, str(value))


def _percent(rng: Random, percent: float) -> Value:
    said = f"{_plain(percent).said}{rng.choice(('%', ' percent'))}"
    return Value(round(percent / 100, 6), said)


def _date(rng: Random, form: str, first: int, last: int) -> Value:
    start = date(first, 1, 1)
    day = start + timedelta(days=rng.randrange((date(last, 12, 31) - start).days))
    text = day.strftime(form)
    return Value(text, text)


def _time(rng: Random, first: int, last: int) -> Value:
    text = f"{rng.randint(first, last):02d}:{rng.choice((0, 15, 30, 45)):02d}"
    return Value(text, text)


def _code(rng: Random, pattern: str) -> Value:
    pools = {"@": string.ascii_uppercase, "#": string.digits}
    text = "".join(rng.choice(pools[mark]) if mark in pools else mark for mark in pattern)
    return Value(text, text)
