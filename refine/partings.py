"""Where a wrong answer goes wrong: the first id that no right answer known has, and what it lies in.

The *token* is told by ids: how many ids a wrong answer shares with the beginning of the right answer it
follows longest. The *place* (the tool's name, an argument, a further call …) is told by the text of the two,
spacing aside, so that a layout of its own does not pass for a mistake; the joints of `strop.refine.joints`
say what each character belongs to.

Not covered: an answer that gives its arguments in another order parts from the gold at the first that is out
of turn, right or wrong, and one that writes several calls without the list around them at its opening; what
is wrong with it in the end is what its verdict says. In formats whose joints
have no names (deepseek, functiongemma) the tool stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from strop.refine.joints import ARGUMENT_KEYS, Joint, scanner_for


class Place(StrEnum):
    """What the first wrong id lies in."""

    NO_CALL = "no_call"
    """The answer makes no call where one is right: prose, or nothing that looks like a call."""
    CALL = "call"
    """It calls where prose is right."""
    OPENING = "opening"
    """How many calls it opens with: one where several are right, or a list where one is."""
    NAME = "name"
    """The name of a tool."""
    ARGUMENT = "argument"
    """An argument's name or value, one that is left out or one too many."""
    FURTHER_CALL = "further_call"
    """Whether, or how, to go on after a call with another."""
    END = "end"
    """After all that is right, or where it was cut off."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Where one wrong sample parts from every right answer known."""

    sample: int
    """Index among the task's samples."""
    token: int
    """Index of its first wrong id; its length where it is the beginning of a right answer."""
    place: Place
    tool: str = ""
    """Name of the tool whose call it lies in, the right one where the name is wrong; may be empty."""
    argument: str = ""
    """Name of the argument, where the place is one and has one."""

    @property
    def description(self) -> str:
        """For a person: ``argument 'unit' of get_weather``."""
        match self.place:
            case Place.NAME:
                return f"the name {self.tool}" if self.tool else "a tool's name"
            case Place.ARGUMENT:
                what = f"argument {self.argument!r}" if self.argument else "the arguments"
                return f"{what} of {self.tool}" if self.tool else what
            case Place.FURTHER_CALL:
                return f"going on to call {self.tool}" if self.tool else "whether to make a further call"
            case Place.OPENING:
                return "how many calls it opens with"
            case Place.NO_CALL:
                return "making no call where one is right"
            case Place.CALL:
                return f"calling {self.tool} where prose is right" if self.tool else "calling at all"
        return "the end"

    def to_json(self) -> dict[str, Any]:
        return {
            "sample": self.sample,
            "token": self.token,
            "place": self.place,
            "tool": self.tool,
            "argument": self.argument,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Parting:
        """Raises KeyError or ValueError where it is none."""
        return cls(row["sample"], row["token"], Place(row["place"]), row["tool"], row["argument"])


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, id for id."""

    ids: tuple[int, ...]
    text: str
    """Without end-of-turn tokens."""


def partings(
    wrong: Sequence[tuple[int, Written]], right: Sequence[Written], call_format: str
) -> tuple[Parting, ...]:
    """One for each of `wrong` (its index among the samples beside it); none where nothing right is known."""
    return tuple(_parting(index, one, right, call_format) for index, one in wrong) if right else ()


def _parting(index: int, wrong: Written, right: Sequence[Written], call_format: str) -> Parting:
    token = max(shared(wrong.ids, one.ids) for one in right)
    ends = [difference(wrong.text, one.text) for one in right]
    nearest = max(range(len(right)), key=lambda place: ends[place])
    place, tool, argument = locate(wrong.text, right[nearest].text, ends[nearest], call_format)
    return Parting(index, token, place, tool, argument)


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the longest common beginning."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def difference(one: str, other: str) -> tuple[int, int]:
    """Where two texts first differ, spacing aside: an index into each, its length where it ends before."""
    ours, theirs = _solid(one), _solid(other)
    same = shared([one[at] for at in ours], [other[at] for at in theirs])
    return (
        ours[same] if same < len(ours) else len(one),
        theirs[same] if same < len(theirs) else len(other),
    )


def _solid(text: str) -> list[int]:
    return [index for index, char in enumerate(text) if not char.isspace()]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Text from one joint to the next."""

    start: int
    end: int
    joint: Joint
    """What ends it."""
    text: str
    tool: str
    """Name of the call it belongs to; empty after the last."""
    call: int
    """How many calls came before."""

    @property
    def argument(self) -> str:
        """Name of the argument that begins here; empty where none does."""
        return next((key for key in _keys(self.text) if key not in ARGUMENT_KEYS), "")

    @property
    def name_at(self) -> int:
        """Where the tool's name begins in the whole text, of a stretch that ends with one."""
        return self.end - len(self.tool) - 1


def locate(text: str, right: str, at: tuple[int, int], call_format: str) -> tuple[Place, str, str]:
    """Place, tool and argument in which `text` first differs from `right`: at ``at[0]`` and ``at[1]``."""
    ours, theirs = _outline(text, call_format), _outline(right, call_format)
    if len(theirs) == 1:  # prose has no joints
        return Place.CALL, ours[0].tool, ""
    if len(ours) == 1:
        return Place.NO_CALL, theirs[0].tool, ""
    here, there = _at(ours, at[0]), _at(theirs, at[1])
    if at[0] >= len(text) and not (there.joint is Joint.NAME and here.call):
        return Place.END, "", ""  # the beginning of a right answer, cut off
    if Joint.NAME in (here.joint, there.joint):
        return _before_arguments(here, there, at)
    if there.joint is Joint.END:
        return Place.END, "", ""
    return Place.ARGUMENT, there.tool, _argument(ours, theirs, at)


def _before_arguments(here: _Stretch, there: _Stretch, at: tuple[int, int]) -> tuple[Place, str, str]:
    tool = there.tool if there.joint is Joint.NAME else here.tool
    if here.joint is there.joint and at[0] >= here.name_at and at[1] >= there.name_at:
        return Place.NAME, tool, ""
    if not here.call and not there.call:
        return Place.OPENING, tool, ""
    return Place.FURTHER_CALL, tool, ""


def _argument(ours: Sequence[_Stretch], theirs: Sequence[_Stretch], at: tuple[int, int]) -> str:
    """The argument it lies in; where one side goes on to another and the other does not, that one."""
    here, there = _at(ours, at[0]), _at(theirs, at[1])
    for side, stretches, place in ((here, ours, at[0]), (there, theirs, at[1])):
        # The comma belongs to the argument before it, but what differs is what comes after.
        if side.joint is Joint.ARGUMENT and place == side.end - 1:
            return _at(stretches, side.end).argument
    return here.argument or there.argument


def _at(stretches: Sequence[_Stretch], place: int) -> _Stretch:
    return next((one for one in stretches if place < one.end), stretches[-1])


def _outline(text: str, call_format: str) -> list[_Stretch]:
    """The whole text in stretches; the last, which may be empty, is what follows the last joint."""
    found: list[_Stretch] = []
    start = calls = 0
    tool = ""
    for end, joint in _joints(text, call_format):
        piece = text[start:end]
        tool = _name(piece) if joint is Joint.NAME else tool
        found.append(_Stretch(start, end, joint, piece, tool, calls))
        calls += joint is Joint.CALL
        start = end
    return [*found, _Stretch(start, len(text), Joint.END, text[start:], "", calls)]


def _joints(text: str, call_format: str) -> Iterator[tuple[int, Joint]]:
    scanner = scanner_for(call_format)
    feed: Callable[[str], Joint | None] = scanner.feed
    for end, char in enumerate(text, start=1):
        if joint := feed(char):
            yield end, joint


_LAST_NAME = re.compile(r'([^"\s\[(,]+)["(]$')
_JSON_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_PYTHON_KEY = re.compile(r"^[\s,(]*([^\W\d]\w*)\s*=")


def _name(piece: str) -> str:
    """The tool's name at the end of a stretch, before the quote or bracket that ends it."""
    match = re.search(r'"((?:[^"\\]|\\.)*)"$', piece) or _LAST_NAME.search(piece)
    return match[1] if match else ""


def _keys(piece: str) -> Iterator[str]:
    match = _PYTHON_KEY.match(piece)
    if match:
        yield match[1]
    yield from _JSON_KEY.findall(piece)
