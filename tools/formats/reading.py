"""Reads the calls out of what a model wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strop.tools.errors import UsageError
from strop.tools.formats.base import Reading, Segment
from strop.tools.formats.segments import next_segment

READING_ORDER = (
    "fenced_json",
    "hermes",
    "bare_json",
    "pythonic",
    "mistral",
    "granite",
    "deepseek",
    "functiongemma",
)
"""Formats in the order they are tried, after the preferred one."""


DIALECTS: Mapping[str, str] = {"xlam": "bare_json", "llama3_json": "bare_json"}
"""Formats that are read as another: they differ in how they are written only."""
_OWN_HABITS = {
    "llama3_json": frozenset({"arguments given under 'parameters'", "several values read as a list"})
}
"""What would be a repair, but is how a format is written."""


def read_whole(text: str, preferred: str) -> Reading:
    """What a whole `text` says, whichever format it is written in. Total: any text has a reading.

    1. The text is cut into stretches from left to right (`segments`): fences, tags, JSON, lists of calls.
    2. One answer is in one format: the preferred one if a stretch of it is a call or looks like one, else
       the first of `READING_ORDER` of which that is true. Stretches of other formats are prose.
    3. Slips are repaired, and each repair recorded, in this order: those of JSON itself (`loose_json`),
       those of the call's shape (`shapes`), those around it (`segments`: a missing closing fence or tag, a
       fence within or around tags, a stray closing bracket). A call cut off within its arguments never is.
    4. If a stretch in that format looks like a call and cannot be read, nothing is: see `Reading.problem`.

    Fences of other languages, JSON that is no call, and ``[]`` are prose. Raises UsageError where
    `preferred` is not a format.
    """
    dialect, preferred = preferred, read_as(preferred)
    found = [segment for segment in _segments(text, preferred) if segment.calls or segment.problem]
    formats = {segment.format for segment in found}
    chosen = next((name for name in (preferred, *READING_ORDER) if name in formats), None)
    found = [segment for segment in found if segment.format == chosen]
    problem = next((segment.problem for segment in found if segment.problem), None)
    if problem is not None or not found:
        return Reading((), text.strip() or None, problem=problem, format=chosen)
    return Reading(
        calls=tuple(call for segment in found for call in segment.calls),
        content=_prose_around(text, found),
        repairs=tuple(
            dict.fromkeys(
                repair
                for segment in found
                for repair in segment.repairs
                if repair not in _OWN_HABITS.get(dialect, ())
            )
        ),
        format=chosen,
    )


def read_as(preferred: str) -> str:
    """What a format is read as: itself, unless it is a dialect. Raises UsageError where it is none."""
    name = DIALECTS.get(preferred, preferred)
    if name not in READING_ORDER:
        known = ", ".join((*READING_ORDER, *DIALECTS))
        raise UsageError(f"unknown call format {preferred!r}; there are {known}")
    return name


def _segments(text: str, preferred: str) -> Iterator[Segment]:
    at = weak_from = 0
    while (segment := next_segment(text, at, weak_from, preferred)) is not None:
        yield segment
        at, weak_from = segment.end, max(weak_from, segment.reach)


def _prose_around(text: str, segments: list[Segment]) -> str | None:
    starts = [*(segment.start for segment in segments), len(text)]
    ends = [0, *(segment.end for segment in segments)]
    pieces = [text[end:start].strip() for end, start in zip(ends, starts, strict=True)]
    return "\n".join(piece for piece in pieces if piece) or None
