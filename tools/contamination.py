"""Do tasks to train on repeat what a benchmark asks?

Compared are three texts of every task: what is asked (all that users say), the schema of each tool, and the
answer (the canonical gold calls). A text is

- an **exact** copy where it is the same but for case, punctuation, white space, width and other forms of the
  same letters (Unicode's NFKC), and characters that are not seen;
- a **near** copy where at least `NEAR` of the word triples of both are common to both (Jaccard), of
  `SHORTEST_NEAR` words or more;
- an **n-gram** copy where `NGRAM` words in a row are in both, as in the contamination study of GPT-3 (Brown
  et al. 2020, appendix C). Only for what is asked: schemas and answers share long runs by their nature.

What is asked in several messages, or in one that holds a whole dialogue (`USER_TURN`), is compared as a whole
and turn by turn, so that a question is found in a conversation of any layout. Turns and word runs that more
than `COMMON` of a benchmark's cases share are its form, not its questions.

Candidates for near copies come from MinHash (Broder 1997) and locality-sensitive hashing, and are then
compared exactly, so that nothing is reported that is not there; what may be missed is measured in the
tests. Texts of fewer than `SHORTEST` words (an answer without arguments, a tool nobody described) say too
little to be copies. Chinese, Japanese and Korean characters are a word each.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias

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
SHORTEST_NEAR = 10
"""Words of a near copy: of six, "the capital of Peru" and "the capital of Chad" would have most in common."""
COMMON = 10
"""Cases of one benchmark."""
PERMUTATIONS = 128
"""Of a MinHash signature."""

USER_TURN = re.compile(
    r"<user>(?P<tagged>.*?)</user>|^user:(?P<named>.*?)(?=^(?:user|system|assistant):|\Z)",
    re.DOTALL | re.MULTILINE,
)
"""What a user says in a dialogue written as one text, as API-Bank and ACEBench write them."""

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Kana, Han and Hangul, written without spaces or with few: each character counts as a word, for a whole
sentence would be one."""
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
Words: TypeAlias = tuple[str, ...]
Shingles: TypeAlias = frozenset[Words]


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
    similarity: float | None
    """Jaccard similarity of word triples, in [0, 1]; None for an n-gram, which says nothing of the rest."""
    text: str
    """The text of the task to train on, shortened."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Text:
    what: str
    words: Words
    shown: str
    part: bool = False
    """Whether it is one turn of several."""

    @property
    def key(self) -> tuple[str, Words]:
        return self.what, self.words

    @property
    def shingles(self) -> Shingles:
        return frozenset(zip(self.words, self.words[1:], self.words[2:], strict=False))


@dataclass(frozen=True, slots=True)
class _Match:
    """What a text is a copy of."""

    suite: str
    case: str
    copy: Copy
    similarity: float | None


class Index:
    """The texts of benchmarks, to look others up in. Needs ``datasketch`` (``strop[data]``)."""

    def __init__(self) -> None:
        try:
            from datasketch import MinHashLSH
        except ModuleNotFoundError as error:
            raise UsageError(f"looking for near copies needs strop[data]: {error}") from None
        self._having: defaultdict[tuple[str, Words], dict[str, str]] = defaultdict(dict)
        """Of a text, by benchmark, the first case that has it."""
        self._runs: defaultdict[Words, dict[str, str]] = defaultdict(dict)
        # Tuned for few misses: what it offers too many is sorted out by the exact comparison.
        self._near = {
            what: MinHashLSH(threshold=0.8 * least, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
            for what, least in NEAR.items()
        }
        self._shingles: dict[tuple[str, Words], Shingles] = {}

    def add(self, suite: str, tasks: Iterable[Task]) -> None:
        """Add all of a benchmark's tasks at once: what many of them share is found by counting."""
        texts = [(task.id, text) for task in tasks for text in _texts(task)]
        form = _form(texts)
        for case, text in texts:
            if text.part and text.words in form:
                continue
            if text.key not in self._shingles:
                shingles = self._shingles[text.key] = text.shingles
                self._near[text.what].insert(text.key, _signature(shingles), check_duplication=False)
            if suite not in self._having[text.key]:
                self._having[text.key][suite] = case
                for run in _runs(text):
                    if run not in form:
                        self._runs[run].setdefault(suite, case)

    def hits(self, tasks: Iterable[Task]) -> Iterator[Hit]:
        """What of these tasks is in the benchmarks: of each text the most alike of each benchmark."""
        known: dict[tuple[str, Words], list[_Match]] = {}
        for task in tasks:
            for text in _texts(task):
                if text.key not in known:
                    known[text.key] = self._matches(text)
                for one in known[text.key]:
                    yield Hit(task.id, one.suite, one.case, text.what, one.copy, one.similarity, text.shown)

    def _matches(self, text: _Text) -> list[_Match]:
        exact = self._having.get(text.key, {})
        found = {suite: _Match(suite, case, Copy.EXACT, 1.0) for suite, case in exact.items()}
        shingles = text.shingles
        near = [
            (jaccard(shingles, self._shingles[key]), key)
            for key in self._near[text.what].query(_signature(shingles))
        ]
        for similarity, key in sorted(near, reverse=True):
            if similarity >= NEAR[text.what] and len(text.words) >= SHORTEST_NEAR:
                for suite, case in self._having[key].items():
                    found.setdefault(suite, _Match(suite, case, Copy.NEAR, similarity))
        for run in _runs(text):
            for suite, case in self._runs.get(run, {}).items():
                found.setdefault(suite, _Match(suite, case, Copy.NGRAM, None))
        return list(found.values())


def jaccard(ours: frozenset[Any], theirs: frozenset[Any]) -> float:
    """Size of what both have over the size of what either has; 0 where neither has any."""
    either = len(ours | theirs)
    return len(ours & theirs) / either if either else 0.0


def _texts(task: Task) -> Iterator[_Text]:
    """What of a task is compared, each text once."""
    said = [_content(message) for message in task.messages if message["role"] == "user"]
    turns = [turn for text in said for turn in _turns(text)]
    texts = [
        ("question", " ".join(said), False),
        *(("tool", _schema_text(tool), False) for tool in task.tools),
    ]
    if task.gold is not None and task.gold.calls:
        texts.append(("answer", _unescaped(canonical(task.gold.calls)), False))
    if len(turns) > 1:
        texts += (("question", turn, True) for turn in turns)
    found: dict[tuple[str, Words], _Text] = {}
    for what, shown, part in texts:
        words = tuple(word.lower() for word in _WORD.findall(_folded(shown)))
        if len(words) >= SHORTEST:
            text = _Text(what, words, shown if len(shown) <= 200 else f"{shown[:200]}…", part)
            found.setdefault(text.key, text)
    yield from found.values()


def _folded(text: str) -> str:
    """`text` in one form of its letters, without what nobody sees: zero-width spaces, soft hyphens, marks of
    direction (Unicode's category Cf)."""
    if text.isascii():  # most is, and stays what it is
        return text
    unseen = {ord(one): None for one in set(text) if unicodedata.category(one) == "Cf"}
    return unicodedata.normalize("NFKC", text.translate(unseen) if unseen else text)


def _content(message: Mapping[str, Any]) -> str:
    """A message's text, of all its parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)


def _turns(text: str) -> list[str]:
    """What the user says in a dialogue that is one text; of any other text itself."""
    turns = [match["tagged"] or match["named"] or "" for match in USER_TURN.finditer(text)]
    return turns or [text]


def _schema_text(tool: ToolSpec) -> str:
    """Name, description and parameters; the words of JSON Schema itself say nothing about the tool."""
    return f"{tool.name} {tool.description} {_unescaped(canonical_value(tool.properties))}"


def _unescaped(text: str) -> str:
    """JSON with its letters as they are: of an escaped one neither case nor form could be told."""
    return json.dumps(json.loads(text), ensure_ascii=False) if "\\u" in text else text


def _runs(text: _Text) -> Iterator[Words]:
    if text.what == "question":
        yield from zip(*(text.words[start:] for start in range(NGRAM)), strict=False)


def _form(texts: Iterable[tuple[str, _Text]]) -> frozenset[Words]:
    """Turns and runs of words that more than `COMMON` cases of a benchmark have."""
    cases: defaultdict[Words, set[str]] = defaultdict(set)
    for case, text in texts:
        for words in (*_runs(text), *([text.words] if text.part else ())):
            if len(cases[words]) <= COMMON:
                cases[words].add(case)
    return frozenset(words for words, having in cases.items() if len(having) > COMMON)


@cache
def _blank() -> Any:
    """Of nothing. Drawing its permutations takes as long as making a signature with them."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS)


def _signature(shingles: Shingles) -> Any:
    signature = _blank().copy()
    signature.update_batch([" ".join(shingle).encode() for shingle in shingles])
    return signature
