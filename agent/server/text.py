"""Ids to text while they arrive: whole characters only, and nothing of a stop text.

What is said of a stream here holds for every way of cutting it: all that `feed` and `finish` return, joined,
depends on the ids (or the text) alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from strop.agent.chat import Template

_HALF = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Decodes a growing sequence of ids, without the ids that end the turn.

    A tokenizer may decode an id differently after another (byte-level ids that are parts of a character,
    leading spaces), so each piece is decoded together with the piece before it, and text that ends within a
    character waits for the next id.
    """

    def __init__(self, template: Template, *, skip_special: bool = False):
        self._template = template
        self._skip_special = skip_special
        self._ids: list[int] = []
        self._ending: list[int] = []
        """Ids that end a turn, unless something follows after all."""
        self._context = 0
        """Where the last piece that was sent begins."""
        self._sent = 0
        """Where what was not sent yet begins."""

    def feed(self, ids: Sequence[int]) -> str:
        """The text that has become certain."""
        self._append(ids)
        text = self._unsent()
        if not text or text.endswith(_HALF):
            return ""
        self._context, self._sent = self._sent, len(self._ids)
        return text

    def finish(self) -> str:
        """The rest, half characters as U+FFFD."""
        return self._unsent()

    def _append(self, ids: Sequence[int]) -> None:
        ending = [*self._ending, *ids]
        end = len(ending)
        while end and ending[end - 1] in self._template.end_ids:
            end -= 1
        self._ids += ending[:end]
        self._ending = ending[end:]

    def _unsent(self) -> str:
        known = self._decode(self._ids[self._context : self._sent])
        return self._decode(self._ids[self._context :])[len(known) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._template.decode(ids, skip_special=self._skip_special)


def cut(text: str, stops: Sequence[str]) -> str:
    """`text` up to the stop text that is complete first; where two are at once, up to the longer one."""
    found = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    return text[: min(found)[1]] if found else text


class StopFilter:
    """`cut` for text that arrives in pieces: holds back what may be the start of a stop text."""

    def __init__(self, stops: Sequence[str]):
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        """Whether a stop text was complete; nothing comes after."""

    def feed(self, text: str) -> str:
        """What is certainly before any stop text."""
        if self.stopped:
            return ""
        seen = self._held + text
        kept = cut(seen, self._stops)
        self.stopped = len(kept) < len(seen)
        free = len(kept) if self.stopped else len(kept) - self._at_risk(kept)
        self._held = kept[free:]
        return kept[:free]

    def finish(self) -> str:
        """What was held back and turned out to be text."""
        rest, self._held = self._held, ""
        return rest

    def _at_risk(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop text."""
        longest = max(map(len, self._stops), default=1) - 1
        sizes = range(min(longest, len(text)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
