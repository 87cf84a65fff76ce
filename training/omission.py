"""Requests that leave out a required value, and the question that asks for it.

A value is left out together with the words that lead to it ("… on {date}", "… and height {height}"), or a
number of things becomes "some" of them; where a wording allows neither without becoming another sentence, it
is not used. Every other value stays as it was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from strop.training.catalogue import Argument, Catalogue, CatalogueTool
from strop.training.catalogue.phrasing import Piece, Slot
from strop.training.exchange import Exchange, asking
from strop.training.offers import any_tool, with_others
from strop.training.wording import Request, request, sentence

_OTHERS = (0, 0, 0, 1, 1, 2)
_LEADS = re.compile(r',?(?: and)? (on|in|at|for|to|from)(?: the)? ["#]?$')
"""What leads to a value in the middle of a sentence."""
_GOES_ON = re.compile(r" (?:on|in|at|for|to|from|with|as|named|called|over|starting)\b|[.,;?!]|$")
_TAIL = re.compile(r',?(?: and(?! [a-z]+ of )| with)(?: [a-z]+){1,3} ["#]?$')
"""What leads to a value that ends a sentence; not "birth and death of"."""
_END = re.compile(r"[.?!]?$")
_STRANDED = re.compile(
    r"\b(?:\w+ing|\w+ed|built|am|is|are|be|set|equal|up|stands?|points?|stops|deliver|comes|succeeds|go|write|skills"
    r"|weighs?)$"
)
"""Words that need what followed them: "… starting [at 10:00]", "people skilled [in law]"."""
_PUT = re.compile(r"\bput (?!.*\b(?:in|into|on)\b)")
"""A verb that needs a place, and none that follows."""
_IDIOM = re.compile(r"(?:What|How much|How fast) (?:is|are) \"?$|express ", re.I)
"""Beginnings of sentences that mean something else without their end: "What is [5 kg in pounds]?"."""
_THINGS = re.compile(
    r" (?:minutes|hours|days|nights|weeks|months|years|guests|grams|people|copies)\b(?! old)"
)
_UNCOUNTED = re.compile(r"(?:next|coming|last|past|another|least|exactly|each of) $")
QUESTIONING = ("which", "what", "how", "who", "whom", "where", "when", "whether")
_DETAIL = re.compile(r"((?<!\w)'[^']*')|(?: as (?:['A-Z]|an? )| without |[,;:(]).*$")
"""Where a description goes on to how a value is written; marks within a quotation are none."""
_ASKS = (
    "Could you tell me {what}?",
    "I can {does}, but I still need to know {what}.",
    "Before I can {does}, please tell me {what}.",
    "To do that I need one more thing: please tell me {what}.",
    "Please tell me {what}, and I will {does}.",
    "Your request does not say {what}. Could you add that?",
    "I am missing {what}. Can you tell me?",
    "Happy to {does}. First tell me {what}, please.",
)


@dataclass(frozen=True, slots=True)
class Omission:
    """A request without one of its values."""

    whole: Request
    """With the value: its call is what the request would ask for."""
    said: tuple[Piece, ...]
    """Its pieces without the value."""
    argument: Argument
    """What is left out; required."""

    def question(self, rng: Random) -> str:
        """As a person would type it."""
        return sentence(replace(self.whole, pieces=self.said).part, rng)

    def ask(self, rng: Random) -> str:
        """Prose that asks for the value."""
        tool = self.whole.tool
        return rng.choice(_ASKS).format(what=in_words(tool, self.argument), does=tool.does)


def missing_parameters(catalogue: Catalogue, rng: Random) -> Exchange:
    """A request that no call can meet yet: the right answer asks for the value, and makes none up."""
    left = omission(catalogue, rng)
    tools = with_others(catalogue, [left.whole.tool], rng.choice(_OTHERS), rng)
    return asking(left.question(rng), tools, response=left.ask(rng))


def omission(catalogue: Catalogue, rng: Random) -> Omission:
    """Any request that can do without one of its values, optional arguments mostly unsaid."""
    while True:
        whole = request(any_tool(catalogue, rng), rng, optional=0.2)
        possible = list(omissions(whole))
        if possible:
            return rng.choice(possible)


def omissions(whole: Request) -> Iterator[Omission]:
    """Every required value that the request can leave out."""
    for argument in whole.tool.arguments:
        # What lies inside an object may have required neighbours that only the object's absence would show.
        able = argument.required and argument.omissible
        said = without(whole.pieces, argument) if able else None
        if said is not None:
            yield Omission(whole, said, argument)


def without(pieces: Sequence[Piece], argument: Argument) -> tuple[Piece, ...] | None:
    """The pieces without the slot of `argument` and what leads to it; None where that is no sentence."""
    pieces = _merged(pieces)
    places = [
        at for at, piece in enumerate(pieces) if not isinstance(piece, str) and piece.path == argument.path
    ]
    if len(places) != 1 or not isinstance(pieces[places[0]], Slot):
        return None
    at = places[0]
    left, right = _text(pieces, at - 1), _text(pieces, at + 1)
    if not left or (right is None and at + 1 < len(pieces)):
        return None
    if at > 1 and _IDIOM.match(_text(pieces, 0) or ""):
        return None
    joined = _joined(left, right or "", argument)
    said = None if joined is None else (*pieces[: at - 1], joined, *pieces[at + 2 :])
    return None if said is None or _PUT.search(_template(said)) else said


def _joined(left: str, right: str, argument: Argument) -> str | None:
    """What stands in the place of the slot and the text around it."""
    if argument.source.kind == "number" and _THINGS.match(right) and not _UNCOUNTED.search(left):
        return f"{left}some{right}"
    quoted = left.endswith('"')
    after = right[1:] if quoted and right.startswith('"') else right
    lead = _LEADS.search(left)
    if lead and _GOES_ON.match(after) and not (lead[1] == "from" and after.startswith(" to ")):
        kept = left[: lead.start()]
        return None if _STRANDED.search(kept) else kept + after
    tail = _TAIL.search(left)
    if tail and _END.fullmatch(after) and "between" not in left:
        return left[: tail.start()] + after
    return None


def in_words(tool: CatalogueTool, argument: Argument) -> str:
    """What an argument is, as it would be asked for: "the city of arrival", "which fact"."""
    text = _DETAIL.sub(r"\1", _described(tool, argument.path)).strip().rstrip(".")
    name = argument.path.rpartition(".")[2].replace("_", " ")
    if " " not in text and name.startswith(f"{text.lower()} "):
        text = name
    first, _, rest = text.partition(" ")
    if not first[1:2].isupper():
        text = f"{first.lower()} {rest}".strip()
    is_determined = first.lower() in (*QUESTIONING, "the", "a", "an", "your")
    return text if is_determined else f"the {text}"


def _described(tool: CatalogueTool, path: str) -> str:
    schema: Any = {"properties": tool.spec.properties}
    for name in path.split("."):
        schema = schema["properties"][name]
    return str(schema["description"])


def _template(pieces: Sequence[Piece]) -> str:
    """The text, with a mark for every slot."""
    return "".join(piece if isinstance(piece, str) else "…" for piece in pieces)


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    """With neighbouring texts as one."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _text(pieces: Sequence[Piece], at: int) -> str | None:
    piece = pieces[at] if 0 <= at < len(pieces) else None
    return piece if isinstance(piece, str) else None
