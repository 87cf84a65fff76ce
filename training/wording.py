"""Requests and the calls they ask for, made together so that the calls are right by construction.

A `Part` is what one tool is asked to do, once or several times; `sentence` and `join` turn parts into what a
person would type. Pure functions over the catalogue and an explicit random generator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from strop.tools.spec import ToolCall
from strop.training.catalogue import Argument, CatalogueTool
from strop.training.catalogue.phrasing import Piece, Setting, Slot, fill
from strop.training.catalogue.values import Value, draw_above, spoken_list

_FRAMES = (
    "{C}.",
    "{C}, please.",
    "Please {c}.",
    "Can you {c}?",
    "Could you {c}?",
    "Could you please {c}?",
    "I need you to {c}.",
    "I want you to {c}.",
    "Go ahead and {c}.",
    "I'd like you to {c}.",
)
_PAIRS = (
    "{C} and {1}.",
    "First {0}, then {1}.",
    "Please {0}, and also {1}.",
    "Can you {0} and then {1}?",
    "{C}, and after that {1}.",
)
_SEQUELS = ("Also, {c}.", "Then {c}.", "After that, {c}.", "And please {c}.", "I also need you to {c}.")
_FOLLOWS = ("Also, {q}", "And {q}", "One more thing: {q}")
_LOWERED = re.compile(
    r"(what|how|when|which|where|is|are|can|could|do|does|did|will|would|at|if|given|in)\b", re.I
)
"""First words of a sentence that lose their capital after "Also, "."""

_MEASURES = ("number", "percent")
"""Kinds of which two arguments may have the same value."""
_IN_ALL = (
    ", in every combination",
    ", for every combination",
    ", in all combinations",
    ", in all {n} combinations",
    ", for each of the {n} combinations",
    ", for all possible combinations",
    ", taking every combination of the two lists",
)
"""What says that a call for every combination of two lists is meant, at the end of a sentence."""
_IN_ALL_AFTER = (
    "I need every combination.",
    "I mean all {n} combinations.",
    "That makes {n} answers, one for each combination.",
    "Combine each of the first with each of the second.",
    "Go through all the combinations.",
)
"""The same as a sentence of its own."""
_NUMERALS = {4: "four", 6: "six"}


@dataclass(frozen=True, slots=True)
class Part:
    """What one tool is asked to do."""

    text: str
    """An imperative clause, or whole sentences."""
    is_clause: bool
    calls: tuple[ToolCall, ...]
    """In the order of their mention."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call asked for, before it is text: a settled wording, and a value for every slot of it."""

    tool: CatalogueTool
    is_clause: bool
    pieces: tuple[Piece, ...]
    values: Mapping[str, Value]
    """By the argument's path."""

    @property
    def part(self) -> Part:
        return Part(_fill(self.pieces, self.values), self.is_clause, (self.call,))

    @property
    def call(self) -> ToolCall:
        return _call(self.tool, self.pieces, self.values)


def request(
    tool: CatalogueTool, rng: Random, *, optional: float = 0.5, clause: bool | None = None
) -> Request:
    """A wording and values. Optional arguments are stated with probability `optional`."""
    is_clause, pieces = _wording(tool, rng, optional, clause)
    return Request(tool, is_clause, pieces, draw_values(tool, pieces, rng))


def single(tool: CatalogueTool, rng: Random, *, optional: float = 0.5, clause: bool | None = None) -> Part:
    """One call. Optional arguments are stated with probability `optional`, and given only if stated."""
    return request(tool, rng, optional=optional, clause=clause).part


def listed(tool: CatalogueTool, count: int, rng: Random, *, clause: bool | None = None) -> Part | None:
    """`count` calls that differ in one listed value, or in two ("…, respectively").

    None where the wording that was drawn has no place for a list.
    """
    is_clause, pieces = _wording(tool, rng, 0.25, clause)
    slots = [piece for piece in pieces if isinstance(piece, Slot) and piece.lists]
    alone = [slot.path for slot in slots if slot.lists == "*"]
    pairs_well = len(slots) > 1 and (is_clause or _is_one_question(pieces)) and _is_plain(tool, pieces)
    if pairs_well and (not alone or rng.random() < 0.35):
        varied = [slot.path for slot in rng.sample(slots, 2)]
    elif alone:
        varied = [rng.choice(alone)]
    else:
        return None
    rows = _rows(tool, pieces, varied, count, rng, draw_values(tool, pieces, rng))
    if rows is None:
        return None
    said = {
        path: Value(None, _inside(marks_around(pieces, path), [row[path].said for row in rows], rng))
        for path in varied
    }
    text = _fill(pieces, {**rows[0], **said})
    if len(varied) == 2:
        text = f"{text[:-1]}, respectively?" if text.endswith("?") else f"{text}, respectively"
    return Part(text, is_clause, tuple(_call(tool, pieces, row) for row in rows))


def crossed(tool: CatalogueTool, counts: tuple[int, int], rng: Random) -> Part | None:
    """A call for every combination of the values listed in two places, so many in the first and the second.

    The text says so. None where the wording that was drawn has no two places for lists, where what belongs in
    one could be taken for what belongs in the other, or where the tool acts: nobody wants a room at two
    temperatures.
    """
    if tool.acts:
        return None
    is_clause, pieces = _wording(tool, rng, 0.0, None)
    paths = _crossing(tool, pieces, rng) if is_clause or _is_one_question(pieces) else None
    if paths is None:
        return None
    (here, there), first = paths, draw_values(tool, pieces, rng)
    rows = _rows(tool, pieces, [here], counts[0], rng, first)
    others = _rows(tool, pieces, [there], counts[1], rng, first)
    if rows is None or others is None:
        return None
    said = {
        path: Value(None, _inside(marks_around(pieces, path), [row[path].said for row in listing], rng))
        for path, listing in ((here, rows), (there, others))
    }
    calls = tuple(_call(tool, pieces, {**row, there: other[there]}) for row in rows for other in others)
    return _in_all(Part(_fill(pieces, {**first, **said}), is_clause, calls), rng)


def batched(tool: CatalogueTool, count: int, rng: Random) -> Part | None:
    """`count` calls as a lead and a list of items; None where the tool has no such wording."""
    if not tool.batches:
        return None
    batch = rng.choice(tool.batches)
    items: list[str] = []
    calls: list[ToolCall] = []
    while len(calls) < count:
        pieces = batch.item.choose(rng, 0.0)
        values = draw_values(tool, pieces, rng)
        call = _call(tool, pieces, values)
        if call not in calls:
            items.append(_fill(pieces, values))
            calls.append(call)
    return Part(_itemised(batch.lead, items, rng), False, tuple(calls))


def sentence(part: Part, rng: Random) -> str:
    """One part as whole sentences."""
    return _framed(rng.choice(_FRAMES), part.text) if part.is_clause else part.text


def join(parts: Sequence[Part], rng: Random) -> str:
    """Several parts as one request, in their order; what holds lists is kept apart by more than "and"."""
    clauses = [part.text for part in parts]
    if not all(part.is_clause for part in parts):
        return _in_sentences(parts, rng)
    tangled = any(mark in clause for clause in clauses for mark in (" and ", ",", " then ", "."))
    style = rng.random()
    if tangled:
        return _numbered(clauses, rng) if style < 0.35 else _in_sentences(parts, rng)
    if style < 0.3:
        return _in_sentences(parts, rng)
    if len(clauses) == 2:
        return rng.choice(_PAIRS).format(*clauses, C=capital(clauses[0]))
    if style < 0.5:
        return _numbered(clauses, rng)
    if style < 0.75:
        return f"First {clauses[0]}, then {', then '.join(clauses[1:-1])}, and finally {clauses[-1]}."
    return f"{capital(', '.join(clauses[:-1]))}, and {clauses[-1]}."


def draw_values(
    tool: CatalogueTool, pieces: Iterable[Piece], rng: Random, given: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    """Values for every slot of the pieces that is not `given`; two arguments of a kind never get the same."""
    wanted = {piece.path for piece in pieces if isinstance(piece, Slot)}
    values = dict(given or {})
    for argument in tool.arguments:
        if argument.path not in wanted or argument.path in values:
            continue
        values[argument.path] = _draw(tool, argument, values, rng)
    return values


def _draw(tool: CatalogueTool, argument: Argument, values: Mapping[str, Value], rng: Random) -> Value:
    if argument.above is not None and argument.above in values:
        return draw_above(rng, argument.source, values[argument.above])
    kinds = {other.path: other.source.kind for other in tool.arguments}
    taken = [value.value for path, value in values.items() if kinds[path] == argument.source.kind]
    if argument.source.kind in _MEASURES:  # base 6 and height 6 are fine
        taken = []
    while True:
        value = argument.source.draw(rng)
        if value.value not in taken:
            return value


def _wording(
    tool: CatalogueTool, rng: Random, optional: float, clause: bool | None
) -> tuple[bool, tuple[Piece, ...]]:
    is_clause = rng.random() < 0.6 if clause is None else clause
    return is_clause, rng.choice(tool.clauses if is_clause else tool.questions).choose(rng, optional)


def _is_one_question(pieces: Sequence[Piece]) -> bool:
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    return text.endswith("?") and text.count("?") == 1 and ". " not in text


def _is_plain(tool: CatalogueTool, pieces: Iterable[Piece]) -> bool:
    """Whether only required arguments are stated."""
    required = {argument.path for argument in tool.arguments if argument.required}
    return all(isinstance(piece, str) or piece.path in required for piece in pieces)


def _crossing(tool: CatalogueTool, pieces: Sequence[Piece], rng: Random) -> list[str] | None:
    """Two arguments, in the order of their mention, that may be lists side by side; None without any."""
    if not _is_plain(tool, pieces) or any(argument.above for argument in tool.arguments):
        return None
    kinds = {argument.path: argument.source.kind for argument in tool.arguments}
    slots = [piece for piece in pieces if isinstance(piece, Slot) and piece.lists]
    possible = [
        [one.path, other.path]
        for at, one in enumerate(slots)
        for other in slots[at + 1 :]
        if "*" in (one.lists, other.lists) and _told_apart(kinds[one.path], kinds[other.path])
    ]
    return rng.choice(possible) if possible else None


def _told_apart(one: str, other: str) -> bool:
    """Whether it is clear what each of two lists is of: two lists of cities could be pairs of them."""
    return one != other or one in _MEASURES


def _rows(
    tool: CatalogueTool,
    pieces: Sequence[Piece],
    varied: Sequence[str],
    count: int,
    rng: Random,
    first: dict[str, Value],
) -> list[dict[str, Value]] | None:
    """`count` sets of values, `first` one of them, that agree but in `varied`, where no value comes twice."""
    shared = {path: value for path, value in first.items() if path not in varied}
    rows = [first]
    for _ in range(60):
        if len(rows) == count:
            return rows
        row = draw_values(tool, pieces, rng, shared)
        if all(row[path].value != other[path].value for path in varied for other in rows):
            rows.append(row)
    return None


def marks_around(pieces: Sequence[Piece], path: str) -> tuple[str, str]:
    """The quotation marks, or the #, directly around a slot: every item of a list wants its own."""
    place = next(at for at, piece in enumerate(pieces) if isinstance(piece, Slot) and piece.path == path)
    before, after = pieces[place - 1 : place], pieces[place + 1 : place + 2]
    left = before[0][-1] if before and isinstance(before[0], str) and before[0][-1] in '"#' else ""
    right = '"' if left == '"' and after and isinstance(after[0], str) and after[0].startswith('"') else ""
    return left, right


def _inside(around: tuple[str, str], said: Sequence[str], rng: Random) -> str:
    left, right = around
    text = spoken_list([f"{left}{item}{right}" for item in said], rng)
    return text[len(left) : len(text) - len(right)]


def _in_all(part: Part, rng: Random) -> Part:
    """With words that say that every combination is meant: two lists alone could as well belong in pairs."""
    number = _NUMERALS.get(len(part.calls), str(len(part.calls)))
    if rng.random() < 0.4:
        after = rng.choice(_IN_ALL_AFTER).format(n=number)
        return Part(f"{sentence(part, rng)} {after}", False, part.calls)
    words = rng.choice(_IN_ALL).format(n=number)
    asked = part.text.endswith("?")
    return replace(part, text=f"{part.text[:-1]}{words}?" if asked else f"{part.text}{words}")


def _call(tool: CatalogueTool, pieces: Iterable[Piece], values: Mapping[str, Value]) -> ToolCall:
    stated: dict[str, Any] = {path: value.value for path, value in values.items()}
    stated |= {piece.path: piece.value for piece in pieces if isinstance(piece, Setting)}
    arguments: dict[str, Any] = {}
    for argument in tool.arguments:
        if argument.path in stated:
            *outer, leaf = argument.path.split(".")
            place = arguments
            for name in outer:
                place = place.setdefault(name, {})
            place[leaf] = stated[argument.path]
    return ToolCall(tool.name, arguments)


def _fill(pieces: tuple[Piece, ...], values: Mapping[str, Value]) -> str:
    return fill(pieces, {path: value.said for path, value in values.items()})


def _itemised(lead: str, items: Sequence[str], rng: Random) -> str:
    style = rng.random()
    if style < 0.25:
        return f"{lead}:\n" + "\n".join(f"- {item}" for item in items)
    if style < 0.45:
        return f"{lead}: " + " ".join(f"({n}) {item}" for n, item in enumerate(items, start=1)) + "."
    tangled = any(mark in item for item in items for mark in (" and ", ","))
    if tangled or style < 0.7:
        return f"{lead}: {'; '.join(items)}."
    return f"{lead}: {spoken_list(items, rng)}."


def _numbered(clauses: Sequence[str], rng: Random) -> str:
    lead = rng.choice(("Please do the following", "I need these things done", "Here is what I need"))
    if rng.random() < 0.4:
        return f"{lead}:\n" + "\n".join(f"{n}. {capital(c)}" for n, c in enumerate(clauses, start=1))
    return f"{lead}: " + "; ".join(f"{n}) {c}" for n, c in enumerate(clauses, start=1)) + "."


def _in_sentences(parts: Sequence[Part], rng: Random) -> str:
    said = [sentence(parts[0], rng)]
    for part in parts[1:]:
        if part.is_clause:
            said.append(_framed(rng.choice(_SEQUELS), part.text))
        elif rng.random() < 0.5:
            said.append(rng.choice(_FOLLOWS).format(q=_lowered(part.text)))
        else:
            said.append(part.text)
    return (" " if rng.random() < 0.85 else "\n").join(said)


def _framed(frame: str, clause: str) -> str:
    return frame.format(c=clause, C=capital(clause))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:] if _LOWERED.match(text) else text
