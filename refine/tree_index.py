"""trees/index.jsonl: what is known of every finished tree without opening it.

The files are the truth and the index follows them. A line counts only while its sha256 is its file's, so that
a tree without a line, a line without a tree and a line of a tree that has changed are all repaired by
`refresh`, whenever it is called. Lines are ordered by task id: equal trees give equal bytes, whoever finished
first.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from strop.refine.tree import SearchTree
from strop.tools.errors import DataError
from strop.tools.files import json_text, read_jsonl, write_text

INDEX = "index.jsonl"
SUFFIX = ".json.gz"
"""Of a tree's file."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A line of the index."""

    task_id: str
    file: str
    """Name within the directory of trees."""
    category: str
    nodes: int
    """The root included."""
    generated_tokens: int
    """Ids sampled for the tree."""
    answers: int
    """Answers sampled; equal ones count each time."""
    right: int
    """Right ones among them."""
    best: float
    """Highest reward of an answer, in [0, 1]."""
    worst: float
    """Lowest reward of an answer, in [0, 1]."""
    sha256: str
    """Of the file's bytes."""

    @classmethod
    def of(cls, tree: SearchTree, file: str, data: bytes) -> Self:
        """The line of a tree whose file is called `file` and holds `data`."""
        answers = [(leaf.visits, leaf.outcome) for leaf in tree.leaves() if leaf.outcome]
        rewards = [outcome.reward for _, outcome in answers] or [0.0]
        return cls(
            task_id=tree.task_id,
            file=file,
            category=tree.category,
            nodes=len(tree.nodes),
            generated_tokens=tree.generated_tokens,
            answers=sum(visits for visits, _ in answers),
            right=sum(visits for visits, outcome in answers if outcome.verdict.correct),
            best=max(rewards),
            worst=min(rewards),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Raises TypeError where `row` is no line of this version."""
        return cls(**row)


def decode_tree(data: bytes, file: Path) -> SearchTree:
    """The tree in the bytes of `file`. Raises DataError where they are none."""
    try:
        return SearchTree.from_json(json.loads(gzip.decompress(data)))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"not a search tree ({error}): delete it to search again", path=file) from error


def load_tree(file: Path) -> SearchTree:
    """Raises DataError where the file is missing or no tree."""
    return decode_tree(_bytes(file), file)


def entries(folder: Path, fresh: Mapping[str, TreeEntry] | None = None) -> list[TreeEntry]:
    """A line for every tree file in `folder`, by task id; writes nothing.

    Lines of the index and those of `fresh`, by file name, save opening a tree where their sha256 is the
    file's. Raises DataError for a file that is no tree.
    """
    known = {entry.sha256: entry for entry in (*_read(folder / INDEX), *(fresh or {}).values())}
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    found = [_entry(file, known) for file in files if not file.name.startswith(".")]
    return sorted(found, key=lambda entry: (entry.task_id, entry.file))


def refresh(folder: Path, fresh: Mapping[str, TreeEntry] | None = None) -> list[TreeEntry]:
    """`entries`, and the index rewritten where it says anything else. Raises DataError, RunError."""
    found, index = entries(folder, fresh), folder / INDEX
    text = "".join(json_text(asdict(entry)) + "\n" for entry in found)
    if (found or index.exists()) and not (index.exists() and index.read_bytes() == text.encode()):
        write_text(index, text)
    return found


def _entry(file: Path, known: Mapping[str, TreeEntry]) -> TreeEntry:
    data = _bytes(file)
    entry = known.get(hashlib.sha256(data).hexdigest())
    if entry is not None and entry.file == file.name:
        return entry
    return TreeEntry.of(decode_tree(data, file), file.name, data)


def _read(file: Path) -> list[TreeEntry]:
    """What can be read of an index; what cannot is made anew by who asks."""
    if not file.exists():
        return []
    found = []
    for _, row in read_jsonl(file)[0]:
        try:
            found.append(TreeEntry.from_json(row))
        except TypeError:
            continue
    return found


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"not a search tree ({error}): delete it to search again", path=file) from error
