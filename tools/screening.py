"""What tasks to train on were compared with, what was found, and what was not looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.tools.contamination import Hit, Index
from strop.tools.corpus import Corpus
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class Compared:
    """A benchmark that was compared with."""

    version: str
    """Of what it asks: 16 hexadecimal digits."""
    questions: int
    """Cases and their later turns."""
    left_out: Mapping[str, str]
    """Categories of it that could not be read, each with the reason."""

    @classmethod
    def of(cls, corpus: Corpus) -> Compared:
        return cls(corpus.version, len(corpus.tasks), corpus.left_out)

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, "questions": self.questions, "left_out": dict(self.left_out)}


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """Benchmarks, ready to compare tasks with."""

    index: Index | None
    """None where there is no benchmark."""
    compared: Mapping[str, Compared]
    absent: Mapping[str, str]
    """Benchmarks whose data are not here, each with the reason."""

    @classmethod
    def of(cls, corpora: Sequence[Corpus], absent: Mapping[str, str]) -> Yardsticks:
        """Raises UsageError where there are benchmarks but not what comparing needs (``strop[data]``)."""
        index = Index() if corpora else None
        for corpus in corpora:
            assert index is not None
            index.add(corpus.suite, corpus.tasks)
        return cls(index, {corpus.suite: Compared.of(corpus) for corpus in corpora}, absent)

    def screen(self, tasks: Sequence[Task]) -> Screening:
        """Compare these tasks with all of them."""
        hits = () if self.index is None else tuple(self.index.hits(tasks))
        return Screening(len({task.id for task in tasks}), self.compared, self.absent, hits)


@dataclass(frozen=True, slots=True)
class Screening:
    """What came of comparing tasks with benchmarks."""

    tasks: int
    """How many were compared."""
    compared: Mapping[str, Compared]
    """The benchmarks, by name."""
    absent: Mapping[str, str]
    """Those not compared with, each with the reason."""
    hits: tuple[Hit, ...]

    @property
    def repeating(self) -> int:
        """Tasks with a hit."""
        return len({hit.task for hit in self.hits})

    def counts(self) -> list[tuple[tuple[str, str, str], int, int]]:
        """(benchmark, what, copy), texts and tasks with such hits."""
        texts = Counter(map(_kind, self.hits))
        tasks = Counter(kind for kind, _ in {(_kind(hit), hit.task) for hit in self.hits})
        return [(kind, texts[kind], tasks[kind]) for kind in sorted(texts)]

    def unread(self) -> Iterable[str]:
        """A line for every benchmark or part of one that was not compared with."""
        for suite, reason in self.absent.items():
            yield f"{suite}: {reason}"
        for suite, one in self.compared.items():
            for category, reason in one.left_out.items():
                yield f"{suite} {category}: {reason}"

    def to_json(self) -> dict[str, Any]:
        """What a run keeps of it: everything but the hits themselves."""
        return {
            "tasks": self.tasks,
            "compared": {suite: one.to_json() for suite, one in self.compared.items()},
            "not_compared": dict(self.absent),
            "repeating": self.repeating,
            "copies": [
                {"benchmark": suite, "what": what, "copy": copy, "texts": texts, "tasks": tasks}
                for (suite, what, copy), texts, tasks in self.counts()
            ],
        }


def _kind(hit: Hit) -> tuple[str, str, str]:
    return hit.suite, hit.what, str(hit.copy)
