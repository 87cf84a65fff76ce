"""Do tasks to train on repeat what a benchmark asks?

Compared are three texts of every task: what is asked (all that users say), the schema of each tool, and the
answer (the canonical gold calls). A text is

- an **exact** copy where it is the same but for case, punctuation and white space;
- a **near** copy where at least `NEAR` of the word triples of both are common to both (Jaccard);
- an **n-gram** copy where `NGRAM` words in a row are in both, as in the contamination study of GPT-3 (Brown
  et al.
  2020, appendix C). Only for what is asked: schemas and answers share long runs by their nature.

Candidates for near copies come from MinHash (Broder 1997) and locality-sensitive hashing, and are then
compared exactly, so that nothing is reported that is not there; what may be missed is measured in the
tests. Texts of fewer than `SHORTEST` words (an answer without arguments, a tool nobody described) say too
little to be copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from strop.tools.canonical import canonical, canonical_value
from strop.tools.errors import UsageError
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

NEAR: Mapping[str, float] = {"question": 0.6, "tool": 0.8, "answer": 0.8}
"""Least Jaccard similarity of word triples; questions vary more when they are reworded."""
NGRAM = 13
"""Words in a row."""
SHORTEST = 6
"""Words."""
PERMUTATIONS = 128
"""Of a MinHash signature."""

_WORD = re.compile(r"\w+")
Shingles = frozenset[tuple[str, ...]]


class Copy(StrEnum):
    """How two texts are alike."""

    EXACT = "exact"
    """The same words in the same order."""
    NEAR = "near"
    """Most word triples in common."""
    NGRAM = "n-gram"
    """A long run of words in common."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A text of a task to train on that a benchmark has, too."""

    task: str
    """Id of the task to train on."""
    suite: str
    case: str
    """Id of the benchmark's case, the first of several with the same text."""
    what: str
    """``question``, ``tool`` or ``answer``."""
    copy: Copy
    similarity: float
    """Jaccard similarity of word triples, in [0, 1]."""
    text: str
    """The text of the task to train on, shortened."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Text:
    what: str
    words: tuple[str, ...]
    shown: str

    @property
    def shingles(self) -> Shingles:
        return frozenset(zip(self.words, self.words[1:], self.words[2:], strict=False))


class Index:
    """The texts of benchmarks, to look others up in. Needs ``datasketch`` (``strop[data]``)."""

    def __init__(self) -> None:
        try:
            from datasketch import MinHashLSH
        except ModuleNotFoundError as error:
            raise UsageError(f"looking for near copies needs strop[data]: {error}") from None
        self._exact: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}
        self._runs: dict[tuple[str, ...], tuple[str, str]] = {}
        # Tuned for few misses: what it offers too many is sorted out by the exact comparison.
        self._near = {
            what: MinHashLSH(threshold=0.8 * least, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
            for what, least in NEAR.items()
        }
        self._shingles: dict[tuple[str, tuple[str, ...]], Shingles] = {}

    def add(self, suite: str, tasks: Iterable[Task]) -> None:
        """Add a benchmark's tasks."""
        for task in tasks:
            for text in _texts(task):
                key = text.what, text.words
                if key in self._exact:
                    continue
                self._exact[key] = suite, task.id
                self._shingles[key] = text.shingles
                self._near[text.what].insert(key, _signature(text.shingles), check_duplication=False)
                for run in _runs(text):
                    self._runs.setdefault(run, (suite, task.id))

    def hits(self, tasks: Iterable[Task]) -> Iterator[Hit]:
        """What of these tasks is in the benchmarks: of each text the most alike."""
        for task in tasks:
            for text in _texts(task):
                hit = self._hit(task, text)
                if hit is not None:
                    yield hit

    def _hit(self, task: Task, text: _Text) -> Hit | None:
        where = self._exact.get((text.what, text.words))
        if where is not None:
            return Hit(task.id, *where, text.what, Copy.EXACT, 1.0, text.shown)
        shingles = text.shingles
        best, similarity = None, 0.0
        for key in self._near[text.what].query(_signature(shingles)):
            alike = jaccard(shingles, self._shingles[key])
            if alike > similarity:
                best, similarity = key, alike
        if best is not None and similarity >= NEAR[text.what]:
            return Hit(task.id, *self._exact[best], text.what, Copy.NEAR, similarity, text.shown)
        for run in _runs(text):
            if run in self._runs:
                return Hit(task.id, *self._runs[run], text.what, Copy.NGRAM, similarity, text.shown)
        return None


def jaccard(ours: Shingles, theirs: Shingles) -> float:
    """Size of what both have over the size of what either has; 0 where neither has any."""
    either = len(ours | theirs)
    return len(ours & theirs) / either if either else 0.0


def _texts(task: Task) -> Iterator[_Text]:
    asked = " ".join(
        str(message.get("content") or "") for message in task.messages if message["role"] == "user"
    )
    texts = [("question", asked), *(("tool", _schema_text(tool)) for tool in task.tools)]
    if task.gold is not None and task.gold.calls:
        texts.append(("answer", canonical(task.gold.calls)))
    for what, shown in texts:
        words = tuple(word.lower() for word in _WORD.findall(shown))
        if len(words) >= SHORTEST:
            yield _Text(what, words, shown if len(shown) <= 200 else f"{shown[:200]}…")


def _schema_text(tool: ToolSpec) -> str:
    """Name, description and parameters; the words of JSON Schema itself say nothing about the tool."""
    return f"{tool.name} {tool.description} {canonical_value(tool.properties)}"


def _runs(text: _Text) -> Iterator[tuple[str, ...]]:
    if text.what == "question":
        yield from zip(*(text.words[start:] for start in range(NGRAM)), strict=False)


def _signature(shingles: Sequence[Any] | Shingles) -> Any:
    from datasketch import MinHash

    signature = MinHash(num_perm=PERMUTATIONS)
    signature.update_batch([" ".join(shingle).encode() for shingle in shingles])
    return signature
