"""Calls told while they are being written.

A call is *plain* where it is written the way its format writes it: the name, then the arguments, nothing
between. A plain call in the model's own format is certain as soon as one of its arguments is: its name can
be sent then, and its arguments as they come: texts character by character, other values when they are
complete. Everything else waits for the whole answer.

What is certain is a function of the text alone, never of how it was cut: `EarlyCalls` reads character by
character and decides only on characters it has seen. So it also decides what a whole text says where reading
fails after something was certain (`strop.tools.formats.stream`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from strop.tools.formats import functiongemma
from strop.tools.formats.announced import (
    DEEPSEEK,
    DEEPSEEK_ALL,
    DEEPSEEK_ALL_END,
    DEEPSEEK_END,
    DEEPSEEK_SEP,
    GRANITE,
    LLAMA,
    MISTRAL,
    MISTRAL_ARGS,
)
from strop.tools.formats.growing import RUN, GrowingText, OddError, Steps, loose_value
from strop.tools.formats.loose_json import UnreadableError
from strop.tools.formats.notation import FUNCTIONGEMMA, PYTHON, Notation

_LABEL = re.compile(r"(?:json|json5|jsonc|tool_call|tool_calls)?")
_IDENTIFIER = re.compile(r"[^\W\d]\w*+")


@dataclass(slots=True)
class EarlyCall:
    """A call as far as it is certain."""

    name: str
    arguments: str = ""
    """The certain beginning of its arguments as `to_text` writes them."""
    closed: bool = False
    """Whether the arguments are complete."""


def to_text(value: Any) -> str:
    """The JSON text of arguments, or of one value, as it is sent."""
    return json.dumps(value, ensure_ascii=False)


class EarlyCalls(GrowingText):
    """Reads a text that begins where a call may begin."""

    def __init__(self, call_format: str):
        super().__init__()
        self.calls: list[EarlyCall] = []
        """The certain ones; the last may still grow."""
        self.done = 0
        """Where the last call that is complete ends, with what closes it."""
        self.odd = False
        """Whether something came that is not plain: nothing more will be certain."""
        self._name = ""
        self._going: Steps | None = _READERS[call_format](self)

    def feed(self, text: str) -> None:
        """Read on."""
        self._text += text
        if self._going is None:
            return
        try:
            next(self._going)
        except StopIteration:
            self._going = None
        except (OddError, UnreadableError):
            self._going, self.odd = None, True

    @property
    def over(self) -> bool:
        """Whether nothing more will be certain."""
        return self._going is None

    @property
    def rest(self) -> str:
        """What stands behind the certain calls; of a call that broke off, what stands behind the break."""
        if self.calls and not self.calls[-1].closed:
            return self._text[self.at :] if self.odd else ""
        return self._text[self.done :]

    def _begin(self, name: str) -> None:
        if not name.strip():
            raise OddError
        self._name = name

    def _finish(self, closing: str) -> Steps:
        """What closes a call, or a list of them."""
        yield from self._expect(closing)
        self.done = self.at

    def _say(self, text: str, *, first: bool) -> None:
        """Add to the arguments of the call that was begun, which is certain from now on."""
        if first and (not self.calls or self.calls[-1].closed):
            self.calls.append(EarlyCall(self._name))
        self.calls[-1].arguments += text

    def _close(self, *, empty: bool) -> None:
        self._say("{}" if empty else "}", first=empty)
        self.calls[-1].closed, self.done = True, self.at

    # JSON

    def json_calls(self, keys: tuple[str, ...]) -> Steps:
        """An object, or an array of them; more may follow after a comma, a semicolon or nothing."""
        if not (yield from self._is_next("[")):
            yield from self._object_call(keys)
            return
        yield from self._space()
        while True:
            yield from self._object_call(keys)
            yield from self._space()
            if (yield from self._is_next("]")):
                self.done = self.at
                return
            yield from self._expect(",")
            yield from self._space()

    def _object_call(self, keys: tuple[str, ...]) -> Steps:
        yield from self._expect("{")
        yield from self._space()
        if (yield from self._key()) != "name":
            raise OddError
        self._begin((yield from self._string()))
        yield from self._space()
        yield from self._expect(",")
        yield from self._space()
        if (yield from self._key()) not in keys:
            raise OddError
        yield from self.arguments()
        yield from self._space()
        yield from self._finish("}")

    def _key(self) -> Generator[None, None, str]:
        key = yield from self._string()
        yield from self._space()
        yield from self._expect(":")
        yield from self._space()
        return key

    def arguments(self) -> Steps:
        """An object of arguments."""
        yield from self._expect("{")
        known: set[str] = set()
        yield from self._space()
        while (yield from self._peek()) != "}":
            key = yield from self._key()
            if key in known:
                raise OddError
            known.add(key)
            yield from self._argument(f"{', ' if len(known) > 1 else '{'}{to_text(key)}: ", len(known) == 1)
            yield from self._space()
            if (yield from self._is_next(",")):
                yield from self._space()
            elif (yield from self._peek()) != "}":
                raise OddError
        self.at += 1
        self._close(empty=not known)

    def _argument(self, lead: str, first: bool) -> Steps:
        char = yield from self._peek()
        if char in RUN:
            self.at += 1
            yield from self._growing_string(char, lead + '"', first)
        else:
            self._say(lead + to_text(loose_value((yield from self._value()))), first=first)

    def _growing_string(self, quote: str, lead: str, first: bool) -> Steps:
        while (char := (yield from self._peek())) != quote:
            run = RUN[quote].match(self._text, self.at)
            if run:
                piece, self.at = run[0], run.end()
            elif char == "\\":
                piece = yield from self._escape()
            else:
                raise OddError  # half a surrogate pair
            self._say(lead + to_text(piece)[1:-1], first=first)
            lead, first = "", False
        self.at += 1
        self._say(lead + '"', first=first)

    # The formats

    def fenced_json(self) -> Steps:
        yield from self._expect("```")
        if not _LABEL.fullmatch((yield from self._until(" \t\r\n{[")).lower()):
            raise OddError
        yield from self._space()
        yield from self.json_calls(("arguments",))
        yield from self._space()
        yield from self._finish("```")

    def hermes(self) -> Steps:
        while (yield from self._is_next("<tool_call>")):
            yield from self._space()
            yield from self.json_calls(("arguments",))
            yield from self._space()
            yield from self._finish("</tool_call>")
            yield from self._space()

    def bare_json(self) -> Steps:
        yield from self._values(("arguments",))

    def llama3_json(self) -> Steps:
        if (yield from self._is_next(LLAMA)):
            yield from self._space()
        yield from self._values(("parameters", "arguments"))

    def _values(self, keys: tuple[str, ...]) -> Steps:
        yield from self.json_calls(keys)
        while True:
            yield from self._space()
            if (yield from self._peek()) in ",;":
                self.at += 1
                yield from self._space()
            if (yield from self._peek()) not in "{[":
                return
            yield from self.json_calls(keys)

    def granite(self) -> Steps:
        yield from self._expect(GRANITE)
        yield from self._space()
        yield from self.json_calls(("arguments",))

    def mistral(self) -> Steps:
        while (yield from self._is_next(MISTRAL)):
            yield from self._space()
            if (yield from self._peek()) in "[{":
                yield from self.json_calls(("arguments",))
            else:
                self._begin((yield from self._until(" \t\r\n[{")))
                yield from self._is_next(MISTRAL_ARGS)
                yield from self._space()
                yield from self.arguments()
            yield from self._space()

    def deepseek(self) -> Steps:
        yield from self._expect(DEEPSEEK_ALL)
        yield from self._space()
        while (yield from self._is_next(DEEPSEEK)):
            yield from self._deepseek_call()
            yield from self._space()
        yield from self._finish(DEEPSEEK_ALL_END)

    def _deepseek_call(self) -> Steps:
        fenced = False
        name = yield from self._until("<\n`")
        yield from self._expect(DEEPSEEK_SEP)
        if name.strip() == "function":
            fenced, name = True, (yield from self._until("\n<`"))
            yield from self._expect("\n```json")
        self._begin(name.strip())
        yield from self._space()
        yield from self.arguments()
        if fenced:
            yield from self._space()
            yield from self._expect("```")
        yield from self._space()
        yield from self._finish(DEEPSEEK_END)

    def functiongemma(self) -> Steps:
        while (yield from self._is_next(functiongemma.BEGIN)):
            yield from self._space()
            yield from self._expect("call:")
            self._begin((yield from self._until(" \t\r\n<{")))
            yield from self._expect("{")
            yield from self._entries("}", ":", FUNCTIONGEMMA)
            yield from self._finish(functiongemma.END)
            yield from self._space()

    def pythonic(self) -> Steps:
        yield from self._expect("[")
        while True:
            yield from self._space()
            name = yield from self._until("( \t\r\n,)]}\"'")
            if not all(map(_IDENTIFIER.fullmatch, name.split("."))):
                raise OddError
            self._begin(name)
            yield from self._expect("(")
            yield from self._entries(")", "=", PYTHON)
            yield from self._space()
            if (yield from self._is_next("]")):
                self.done = self.at
                return
            yield from self._expect(",")

    def _entries(self, close: str, assign: str, notation: Notation) -> Steps:
        """Names and values up to `close`, each told when the character after it is there."""
        known: set[str] = set()
        yield from self._space()
        while (yield from self._peek()) != close:
            key = (yield from self._until(f"{assign}{close},<[{{\"'")).strip()
            yield from self._expect(assign)
            if key in known or not key:
                raise OddError
            known.add(key)
            yield from self._space()
            value = yield from self._entry(notation, f",{close}")
            lead = f"{', ' if len(known) > 1 else '{'}{to_text(key)}: "
            self._say(lead + to_text(value), first=len(known) == 1)
            if (yield from self._is_next(",")):
                yield from self._space()
        self.at += 1
        self._close(empty=not known)

    def _entry(self, notation: Notation, ends: str) -> Generator[None, None, Any]:
        """The value before the first of `ends` that is in no bracket and in no string.

        It is parsed once, there: parsing it wherever it might end takes quadratic time. Where it is none, no
        longer text will be one, and nothing more is certain.
        """
        start = end = self.at
        depth = 0
        while (char := (yield from self.char_at(end))) not in ends or depth:
            depth += (char in notation.opening) - (char in notation.closing)
            end = (yield from notation.skip_string(self, end)) if char in notation.quotes else end + 1
            if depth < 0:
                yield from self.never()
        found = notation.value_of(self._text[start : end + 1])
        if found is None:
            yield from self.never()
        assert found is not None
        self.at = start + found[1]
        yield from self._space()
        return found[0]


_READERS: Mapping[str, Callable[[EarlyCalls], Steps]] = {
    "fenced_json": EarlyCalls.fenced_json,
    "hermes": EarlyCalls.hermes,
    "bare_json": EarlyCalls.bare_json,
    "xlam": EarlyCalls.bare_json,
    "llama3_json": EarlyCalls.llama3_json,
    "pythonic": EarlyCalls.pythonic,
    "mistral": EarlyCalls.mistral,
    "granite": EarlyCalls.granite,
    "deepseek": EarlyCalls.deepseek,
    "functiongemma": EarlyCalls.functiongemma,
}
