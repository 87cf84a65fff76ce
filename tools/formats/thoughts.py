"""The thinking block before an answer: ``<think>…</think>``.

It counts only where the text begins with it (or the prompt has opened it already). Calls inside are thoughts,
not calls. A block that never ends is all there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BEGIN, END = "<think>", "</think>"


@dataclass(slots=True)
class Thoughts:
    """Divides a growing text into thoughts and the answer after them."""

    inside: bool = False
    """Whether the text is in the block; at the start, whether the prompt has opened it."""
    found: bool = field(default=False, init=False)
    """Whether there is a block."""
    _held: str = field(default="", init=False)
    _over: bool = field(default=False, init=False)
    """Everything that comes is the answer."""
    _said: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.found = self.inside

    def feed(self, text: str) -> tuple[str, str]:
        """(more of the thoughts, more of the answer) that are certain now."""
        if self._over:
            return "", text
        self._held += text
        if not self.inside and not self._enter():
            return self._leave_unless_begun()
        before, end, after = self._held.partition(END)
        if end:
            self._over, self._held = True, ""
            return self._said_of(before.rstrip()), after
        # Space at the end of the block is not part of it, and the mark that ends it may have begun.
        certain = before[: len(before) - _overlap(before, END)].rstrip()
        self._held = before[len(certain) :]
        return self._said_of(certain), ""

    def finish(self) -> tuple[str, str]:
        """The rest of both."""
        held, self._held = self._held, ""
        if self._over:
            return "", ""
        return (self._said_of(held.rstrip()), "") if self.inside else ("", held)

    def _enter(self) -> bool:
        begun = self._held.lstrip()
        if not begun.startswith(BEGIN):
            return False
        self.inside = self.found = True
        self._held = begun[len(BEGIN) :]
        return True

    def _leave_unless_begun(self) -> tuple[str, str]:
        if BEGIN.startswith(self._held.lstrip()):
            return "", ""
        answer, self._held, self._over = self._held, "", True
        return "", answer

    def _said_of(self, text: str) -> str:
        """`text` without the space the block begins with."""
        if self._said:
            return text
        text = text.lstrip()
        self._said = bool(text)
        return text


def without_thoughts(text: str, *, opened: bool = False) -> str:
    """A whole text after its thinking block, which with `opened` the prompt has begun."""
    thoughts = Thoughts(opened)
    answer = thoughts.feed(text)[1] + thoughts.finish()[1]
    return answer.lstrip() if thoughts.found else answer


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins `mark`."""
    return next((n for n in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:n])), 0)
