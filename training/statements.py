"""Whether a text states a value: as it is, in JSON, in figures, in words, or as the catalogue says it.

Words must stand whole, and as they are written; a value in small letters may begin a sentence. A number
stands with its sign; "one" is a number only before what it counts; "5%" may be said of 5 and of 0.05. What a
boolean or null means is said by the words around it and is not looked for. Not covered: dates and units in
another form (``2026-05-03`` as "the third of May"): such a text counts as one that does not state the value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from strop.tools.task import Message, Task
from strop.training.catalogue import load_catalogue

_UNITS = re.findall(
    "[a-z]+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_LARGE = 10**15
"""Numbers from here on are looked for as they are written only."""
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_UNSIGNED = r"(?<!(?<![\w)])-)(?<!minus )(?<!negative )"
"""Before a number that is not below 0; the hyphen of "2-5" or "B-5" is no sign."""
_BELOW_ZERO = re.compile(r"\u2212|\b(?:minus|negative) (?=\d)")
"""A sign in words, or the one of typesetters."""
_IN_PERCENT = re.compile(r"[ -]?(?:%|percent\b|per cent\b)")
_ALONE = r"(?<![\w-])" + "".join(f"(?<!{tens} )" for tens in _TENS)
_ENDS = rf"(?!\w)(?![ -](?:{'|'.join(_UNITS[1:10])}|hundred|thousand|million)\b)"
"""Around a number in words: neither "twenty-five" nor "five hundred" is five."""
_ONE = re.compile(
    rf"{_ALONE}(?<!which )(?<!this )(?<!that )(?<!the )(?<!each )(?<!every )(?<!any )(?<!no )(?<!another )"
    r"(?<!other )(?<!next )(?<!last )(?<!first )one"
    r"(?= (?!is\b|are\b|was\b|will\b|of\b|that\b|which\b|who\b|for\b|to\b|in\b|on\b|at\b|by\b|with\b|from\b"
    r"|and\b|or\b|another\b|can\b|could\b|should\b|must\b|does\b|has\b)\w)",
    re.IGNORECASE,
)
"""The number, not the pronoun: "one night", not "which one is it"."""


def stated_values(task: Task) -> list[Any]:
    """Strings and numbers of the gold calls, in their order: each once for every argument, or item of a list,
    that has it in any of the calls."""
    calls = task.gold.calls if task.gold else ()
    found = [leaf for call in calls for leaf in _leaves(dict(call.arguments))]
    return list({(path, json.dumps(value)): value for path, value in found}.values())


def is_stated(value: Any, text: str) -> bool:
    """Whether `text` says a string or number."""
    return bool(_mentions(value, text))


def lost(values: Sequence[Any], before: str, after: str) -> list[Any]:
    """The values that `before` states and `after` does not, each once.

    One that comes n times in `values` has to be stated n times, if `before` does so; and what was said in
    percent has to be said so again.
    """
    times = Counter(json.dumps(value) for value in values)
    each = {json.dumps(value): value for value in values}
    return [value for name, value in each.items() if _is_lost(value, times[name], before, after)]


def _is_lost(value: Any, times: int, before: str, after: str) -> bool:
    there, left = _mentions(value, before), _mentions(value, after)
    return any(left[kind] < min(count, times) for kind, count in there.items())


def added_numbers(before: str, after: str) -> list[str]:
    """Figures of `after` that `before` has neither in figures nor in words."""
    there = set(_figures(before))
    return [figure for figure in _figures(after) if figure not in there and not _is_said(figure, before)]


def text_of(messages: Sequence[Message]) -> str:
    """All that a conversation says, the arguments of its calls included."""
    said = [str(turn.get("content") or "") for turn in messages]
    made = [
        json.dumps(call, ensure_ascii=False) for turn in messages for call in turn.get("tool_calls") or ()
    ]
    return "\n".join([*said, *made])


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list | tuple):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(inner, f"{path}/{name}")
    elif value is not None and not isinstance(value, bool):
        yield path, value


def _forms(value: Any) -> Iterator[str]:
    """Ways to say a value."""
    if isinstance(value, str):
        yield value
        yield json.dumps(value, ensure_ascii=False)[1:-1]
        yield from _sayings().get(value, ())
        return
    yield f"{value}"
    if abs(value) < _LARGE:  # not so for NaN either
        yield f"{value:,}"
        yield f"{value * 100:g}%"
        yield f"{value * 100:g} percent"
        if value == int(value):
            yield f"{int(value)}"
            yield f"{int(value):,}"
            yield from _in_words(int(value))
        if value < 0 and value == int(value):
            yield from (f"{sign} {form}" for sign in ("minus", "negative") for form in _in_words(int(-value)))


def _mentions(value: Any, text: str) -> Counter[str]:
    """How often a text says a value: `itself`, or in `percent` where a number is followed by that."""
    text = _BELOW_ZERO.sub("-", text)
    places: dict[int, str] = {}
    for form in _forms(value):
        for match in _says(form).finditer(text):
            is_marked = isinstance(value, str) or form.endswith(("%", "percent"))
            in_percent = not is_marked and _IN_PERCENT.match(text, match.end())
            places[match.start()] = "percent" if in_percent else "itself"
    return Counter(places.values())


@lru_cache(maxsize=4096)
def _says(form: str) -> re.Pattern[str]:
    """Finds a form where it does not stand inside a longer word or number."""
    if form == "one":
        return _ONE
    before = r"(?<!\w)" if form[:1].isalnum() else ""
    after = r"(?!\w|[.,]\d)" if form[-1:].isdigit() else r"(?!\w)" if form[-1:].isalnum() else ""
    if form in _COUNTED:
        before, after = _ALONE + _UNSIGNED, _ENDS
    elif form[:1].isdigit():
        before = rf"(?<![\w.])(?<!\d,){_UNSIGNED}"
    elif form[:1] == "-" and form[1:2].isdigit():
        before = r"(?<![\w)])"
    return re.compile(before + re.escape(form) + after, re.IGNORECASE if form.islower() else 0)


def _in_words(number: int) -> Iterator[str]:
    if 0 <= number < 20:
        yield _UNITS[number]
    elif 20 <= number < 100:
        tens, units = _TENS[number // 10 - 2], number % 10
        yield f"{tens}-{_UNITS[units]}" if units else tens
        if units:
            yield f"{tens} {_UNITS[units]}"


_COUNTED = frozenset(form for number in range(100) for form in _in_words(number))
"""Numbers in words."""


def _figures(text: str) -> list[str]:
    return [match[0].rstrip(",") for match in _NUMBER.finditer(_BELOW_ZERO.sub("-", text))]


def _is_said(figure: str, text: str) -> bool:
    """Whether a text states the number of a figure, in whichever form; one beyond all use never is."""
    plain = figure.replace(",", "")
    return len(plain) < 20 and is_stated(float(plain) if "." in plain else int(plain), text)


@cache
def _sayings() -> Mapping[str, tuple[str, ...]]:
    """Values of the catalogue's pools that it says otherwise than they are written."""
    found: dict[str, tuple[str, ...]] = {}
    for entries in load_catalogue().pools.values():
        for entry in entries:
            if not isinstance(entry, str):
                value, *said = entry
                found[value] = (*found.get(value, ()), *said)
    return found
