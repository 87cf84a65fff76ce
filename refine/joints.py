"""Where an answer may be cut: after a call's name, after an argument, after a call, at the end.

The cuts are what search branches at, so they follow the call's structure and not its punctuation. They
are a *causal* function of the token ids: whether there is a cut after an id depends on the ids up to it and
on nothing later. So two answers that begin with the same ids are cut at the same places as far as they
agree, and equal prefixes always become the same nodes. Ids are never decoded and encoded again: a joint
inside a token moves to that token's end.

The scanners recognise joints, they do not validate: on prose or broken calls they find few joints or odd
ones, which costs a branching point but never a wrong id. Reading calls is `strop.tools.formats`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from strop.agent.chat import Template

Decode = Callable[[Sequence[int]], str]
"""Token ids to text; an incomplete UTF-8 sequence becomes U+FFFD."""


class Joint(StrEnum):
    """What has just been completed where a fragment ends."""

    ROOT = "root"
    """Nothing yet: the empty answer."""
    NAME = "name"
    """The name of the tool."""
    ARGUMENT = "argument"
    """An argument's value and the comma after it; the last argument ends with its call."""
    CALL = "call"
    """A whole call."""
    END = "end"
    """The answer, by its end token or because it was cut off."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of one fragment."""

    end: int
    """Ids before the cut, counted from the answer's first."""
    joint: Joint


class Scanner(Protocol):
    """Reads text piece by piece."""

    def feed(self, text: str) -> Joint | None:
        """The last joint completed within `text`, or None."""
        ...


NAME_KEYS = frozenset({"name"})
ARGUMENT_KEYS = frozenset({"arguments", "parameters", "args"})
NESTED_KEYS = frozenset({"function", "tool_call"})
"""Keys under which a call may lie inside another object, as in OpenAI's form."""


@dataclass(slots=True)
class _Frame:
    """An open JSON container."""

    role: str
    """``calls`` (outermost list), ``call``, ``arguments`` or ``other``."""
    is_object: bool
    key: str = ""
    in_value: bool = False


class JsonScanner:
    """Joints of calls written as JSON: bare, fenced, or in tags; one object, several, or a list of them."""

    def __init__(self) -> None:
        self._stack: list[_Frame] = []
        self._string: list[str] | None = None
        self._escaped = False

    def feed(self, text: str) -> Joint | None:
        found = [joint for char in text if (joint := self._step(char))]
        return found[-1] if found else None

    def _step(self, char: str) -> Joint | None:
        if self._string is not None:
            return self._in_string(self._string, char)
        if char in "{[":
            self._stack.append(_Frame(self._role(is_object=char == "{"), is_object=char == "{"))
        elif not self._stack:
            return None
        elif char == '"':
            self._string = []
        elif char == ":":
            self._stack[-1].in_value = True
        elif char == ",":
            self._stack[-1].in_value = False
            return Joint.ARGUMENT if self._stack[-1].role == "arguments" else None
        elif char in "}]":
            return Joint.CALL if self._stack.pop().role == "call" else None
        return None

    def _in_string(self, string: list[str], char: str) -> Joint | None:
        if self._escaped or char != '"':
            self._escaped = not self._escaped and char == "\\"
            string.append(char)
            return None
        self._string = None
        frame = self._stack[-1]
        if frame.is_object and not frame.in_value:
            frame.key = "".join(string)
            return None
        return Joint.NAME if frame.role == "call" and frame.key in NAME_KEYS else None

    def _role(self, *, is_object: bool) -> str:
        if not self._stack:
            return "call" if is_object else "calls"
        parent = self._stack[-1]
        if not is_object:
            return "other"
        if parent.role == "calls" or (parent.role == "call" and parent.key in NESTED_KEYS):
            return "call"
        return "arguments" if parent.role == "call" and parent.key in ARGUMENT_KEYS else "other"


class PythonicScanner:
    """Joints of calls written as Python: ``[f(a=1), g(b="x")]``."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._quote = ""
        self._escaped = False
        self._begun = False
        self._is_list = False

    def feed(self, text: str) -> Joint | None:
        found = [joint for char in text if (joint := self._step(char))]
        return found[-1] if found else None

    def _step(self, char: str) -> Joint | None:
        if not self._begun:
            self._begun = not char.isspace()
            self._is_list = char == "["
        if not self._is_list:
            return None  # prose, whose parentheses mean nothing
        if self._quote:
            self._in_string(char)
            return None
        return self._outside_string(char)

    def _in_string(self, char: str) -> None:
        if char == self._quote and not self._escaped:
            self._quote = ""
        self._escaped = not self._escaped and char == "\\"

    def _outside_string(self, char: str) -> Joint | None:
        in_call = self._stack == ["[", "("]
        if char in "\"'":
            self._quote, self._escaped = char, False
        elif char in "([{":
            self._stack.append(char)
            return Joint.NAME if self._stack == ["[", "("] else None
        elif char in ")]}" and self._stack:
            self._stack.pop()
            return Joint.CALL if in_call else None
        elif char == "," and in_call:
            return Joint.ARGUMENT
        return None


def spelling(template: Template) -> Decode:
    """How a template spells ids, special ones included."""
    return lambda ids: template.decode(ids, skip_special=False)


def scanner_for(call_format: str) -> Scanner:
    """The scanner of a call format by its name; every format but ``pythonic`` is JSON inside."""
    return PythonicScanner() if call_format == "pythonic" else JsonScanner()


def pieces(ids: Sequence[int], decode: Decode) -> Iterator[tuple[int, str]]:
    """(ids consumed, text they added), one for every token boundary that falls between characters.

    Decoding starts one piece back, since some tokenizers drop the space of a first token.
    """
    anchor = done = 0
    for end in range(1, len(ids) + 1):
        text = decode(ids[anchor:end])
        if text.endswith("�"):
            continue  # in the middle of a character
        yield end, text[len(decode(ids[anchor:done])) :]
        anchor, done = done, end


def cuts(ids: Sequence[int], decode: Decode, call_format: str, *, depth: int) -> tuple[Cut, ...]:
    """Cuts of an answer, in order; the last is always its end. At most `depth` of them.

    `ids` may include the end-of-turn id. Causal: see the module's text.
    """
    scanner = scanner_for(call_format)
    found: list[Cut] = []
    for end, text in pieces(ids, decode):
        if len(found) >= depth - 1 or end == len(ids):
            break
        if joint := scanner.feed(text):
            found.append(Cut(end, joint))
    return (*found, Cut(len(ids), Joint.END))
