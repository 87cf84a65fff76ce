"""Conversations whose last turn can only be understood from what was said before it.

    a change    request, call, result, report, then "And for Oslo?": the call again, one or two values new
    a reply     request without a value, the question for it, then the value: the whole call

A value is changed only where it is clear which one is meant: the follow-up names the argument, unless no
other argument of the tool takes values of its kind. All else of the call stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from strop.training.catalogue import Argument, Catalogue, CatalogueTool
from strop.training.catalogue.phrasing import Slot
from strop.training.catalogue.values import Value
from strop.training.exchange import Exchange, Transcript
from strop.training.offers import any_tool, with_others
from strop.training.omission import QUESTIONING, in_words, omission
from strop.training.returns import report_of, result_of
from strop.training.wording import Request, draw_values, marks_around, request, sentence

_OTHERS = (0, 0, 1, 1, 2)
_SHORT = (
    "And for {said}?",
    "What about {said}?",
    "Now for {said}, please.",
    "Do the same with {said}.",
    "And {said}?",
    "The same for {said}, please.",
)
_NAMED = (
    "The same again, but with {said} as {what}.",
    "Do that once more with {said} as {what}.",
    "Now with {said} as {what}, please.",
    "And if {what} is {said}?",
    "Repeat that, with {said} for {what}.",
)
_TWICE = (
    "The same again, but with {said} as {what} and {said2} as {what2}.",
    "Once more, please: {said} as {what}, {said2} as {what2}.",
)
_REPLIES = ("{said}", "{said}.", "{said}, please.", "Make it {said}.", "It is {said}.", "Oh, sorry: {said}.")


def follow_up(catalogue: Catalogue, rng: Random) -> Exchange:
    """A change of an earlier call, or the reply to a question for a missing value."""
    return _reply(catalogue, rng) if rng.random() < 0.35 else _change(catalogue, rng)


def _reply(catalogue: Catalogue, rng: Random) -> Exchange:
    left = omission(catalogue, rng)
    talk = Transcript()
    talk.user(left.question(rng))
    talk.assistant(left.ask(rng))
    said = _said(left.whole, left.argument, left.whole.values[left.argument.path])
    talk.user(rng.choice(_REPLIES).format(said=said))
    tools = with_others(catalogue, [left.whole.tool], rng.choice(_OTHERS), rng)
    return Exchange(tuple(talk.messages), tools, (left.whole.call,))


def _change(catalogue: Catalogue, rng: Random) -> Exchange:
    made = [_changeable_request(catalogue, rng)]
    talk = Transcript()
    talk.user(sentence(made[0].part, rng))
    for _ in range(rng.choice((1, 1, 1, 2))):
        changed = _changed(made, rng)
        if changed is None:
            break
        _answer(talk, made[-1], rng)
        made.append(changed[0])
        talk.user(changed[1])
    if len(made) == 1:
        return _change(catalogue, rng)
    tools = with_others(catalogue, [made[0].tool], rng.choice(_OTHERS), rng)
    return Exchange(tuple(talk.messages), tools, (made[-1].call,))


def _answer(talk: Transcript, asked: Request, rng: Random) -> None:
    talk.call(asked.call, result_of(asked.tool, asked.call))
    talk.assistant(report_of(asked.tool, asked.call, rng))


def _changed(made: Sequence[Request], rng: Random) -> tuple[Request, str] | None:
    """The last of these requests with one or two values new, and how the user asks for them; None where that
    would be one of the others over again."""
    changeable = changeable_arguments(made[-1])
    count = 2 if len(changeable) > 1 and rng.random() < 0.2 else 1
    wanted = rng.sample(changeable, count)
    after = _redrawn(made, [argument.path for argument in wanted], rng)
    if after is None:
        return None
    said = [_said(after, argument, after.values[argument.path]) for argument in wanted]
    return after, _words_for(after.tool, wanted, said, rng)


def _words_for(tool: CatalogueTool, wanted: Sequence[Argument], said: Sequence[str], rng: Random) -> str:
    what = [in_words(tool, argument) for argument in wanted]
    if len(wanted) == 2:
        return rng.choice(_TWICE).format(said=said[0], what=what[0], said2=said[1], what2=what[1])
    frame = rng.choice(_SHORT if _is_alone(tool, wanted[0]) and rng.random() < 0.75 else _NAMED)
    return frame.format(said=said[0], what=what[0])


def _changeable_request(catalogue: Catalogue, rng: Random) -> Request:
    while True:
        asked = request(any_tool(catalogue, rng), rng, optional=0.35)
        if changeable_arguments(asked):
            return asked


def changeable_arguments(asked: Request) -> list[Argument]:
    """Arguments of which one would ask for another value: what wordings list, days, times, numbers."""
    listed = _listed(asked.tool)
    stated = {piece.path for piece in asked.pieces if isinstance(piece, Slot)}
    floors = {argument.above for argument in asked.tool.arguments}
    names = [in_words(asked.tool, argument) for argument in asked.tool.arguments]
    return [
        argument
        for argument in asked.tool.arguments
        if argument.path in stated - floors
        and (argument.path in listed or argument.source.kind in ("date", "time", "number", "percent"))
        and not in_words(asked.tool, argument).startswith(QUESTIONING)
        and names.count(in_words(asked.tool, argument)) == 1
    ]


def _listed(tool: CatalogueTool) -> set[str]:
    return {
        piece.path
        for phrasing in (*tool.questions, *tool.clauses)
        for pieces in phrasing.variants()
        for piece in pieces
        if isinstance(piece, Slot) and piece.lists == "*"
    }


def _redrawn(made: Sequence[Request], paths: Sequence[str], rng: Random) -> Request | None:
    """The last request with other values at these paths, which make it none of those before."""
    before = made[-1]
    kept = {path: value for path, value in before.values.items() if path not in paths}
    for _ in range(200):
        after = replace(before, values=draw_values(before.tool, before.pieces, rng, kept))
        are_new = all(after.values[path].value != before.values[path].value for path in paths)
        if are_new and all(after.call != other.call for other in made):
            return after
    return None


def _is_alone(tool: CatalogueTool, argument: Argument) -> bool:
    """Whether a value of this kind can be meant for no other argument of the tool."""
    numeric = ("number", "percent")
    kinds = ["number" if one.source.kind in numeric else one.source.kind for one in tool.arguments]
    kind = "number" if argument.source.kind in numeric else argument.source.kind
    return kinds.count(kind) == 1


def _said(asked: Request, argument: Argument, value: Value) -> str:
    """The words for a value, in the quotation marks that the request has around it."""
    before, after = marks_around(asked.pieces, argument.path)
    return f"{before}{value.said}{after}"
