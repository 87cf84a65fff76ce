"""Whether a text states a value: as it is, in JSON, in figures, in words, or as the catalogue says it.

Words must stand whole, and as they are written; a value in small letters may begin a sentence. What a
boolean or null means is said by the words around it and is not looked for. Not covered: dates and units in
another form (``2026-05-03`` as "the third of May"): such a text counts as one that does not state the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
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
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


def stated_values(task: Task) -> list[Any]:
    """Strings and numbers of the gold calls, each once, in their order."""
    calls = task.gold.calls if task.gold else ()
    values = [value for call in calls for value in _leaves(dict(call.arguments))]
    return list({json.dumps(value): value for value in values}.values())


def is_stated(value: Any, text: str) -> bool:
    """Whether `text` says a string or number."""
    return any(_says(text, form) for form in _forms(value))


def lost(values: Sequence[Any], before: str, after: str) -> list[Any]:
    """The values that `before` states and `after` does not."""
    return [value for value in values if is_stated(value, before) and not is_stated(value, after)]


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


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


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


def _says(text: str, form: str) -> bool:
    """Whether a form stands in a text, not inside a longer word or number."""
    before = r"(?<![\w.])(?<!\d,)" if form[:1].isdigit() else r"(?<!\w)" if form[:1].isalnum() else ""
    after = r"(?!\w|[.,]\d)" if form[-1:].isdigit() else r"(?!\w)" if form[-1:].isalnum() else ""
    case = re.IGNORECASE if form.islower() else 0
    return re.search(before + re.escape(form) + after, text, case) is not None


def _in_words(number: int) -> Iterator[str]:
    if 0 <= number < 20:
        yield _UNITS[number]
    elif 20 <= number < 100:
        tens, units = _TENS[number // 10 - 2], number % 10
        yield f"{tens}-{_UNITS[units]}" if units else tens
        if units:
            yield f"{tens} {_UNITS[units]}"


def _figures(text: str) -> list[str]:
    return [match[0].rstrip(",") for match in _NUMBER.finditer(text)]


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
