"""The directory of a collection: what is in it, and going on with it after a kill.

DIR/settings.json        what the collection was made with; a second start with others is refused
DIR/deficiencies.jsonl   a row a task: its k samples, judged; of two rows of a task the last counts
DIR/selection.json       which of them are searched, and why (`strop.refine.selection`)
DIR/trees/ID.json.gz     a finished tree each
DIR/trees/index.jsonl    a line for every one of them; see `strop.refine.tree_index`
DIR/pairs.jsonl          the accepted pairs, ordered by task id
DIR/summary.json         counts, by kind, category, error and reason for refusal
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from strop.agent.claim import claim
from strop.refine.deficiency import Deficiency
from strop.refine.sample import Sample
from strop.refine.tree import SearchTree
from strop.refine.tree_index import SUFFIX, TreeEntry, load_tree, refresh
from strop.tools.errors import DataError, UsageError
from strop.tools.files import (
    JsonlWriter,
    has_rows,
    json_text,
    read_json,
    read_jsonl,
    write_bytes,
    write_jsonl,
)
from strop.tools.formats import DEFAULT_FORMAT
from strop.tools.task import Task, digest

LONGEST_NAME = 120
"""Characters of a tree file's name before a digest replaces the rest."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A row of deficiencies.jsonl."""

    deficiency: Deficiency
    samples: tuple[Sample, ...]
    """What it was diagnosed from; empty where nothing was sampled."""


class CollectionDir:
    """Reads and writes one collection's files."""

    def __init__(self, path: Path):
        self.path = path
        self.trees = path / "trees"
        self.pairs = path / "pairs.jsonl"
        self.summary = path / "summary.json"
        self._written: dict[str, TreeEntry] = {}
        self.selection = path / "selection.json"

    def claim(self, settings: Mapping[str, Any], search: Mapping[str, Any] | None = None) -> None:
        """Note what this collection's samples (and trees: `search`) are made with.

        Who only samples claims without `search`: a directory begun so can be searched later, with any.
        Raises UsageError where it has rows made otherwise, or trees of which nothing says how they were made.
        """
        if not has_rows(self.path / "deficiencies.jsonl") and any(self.trees.glob(f"*{SUFFIX}")):
            raise UsageError(
                f"{self.trees} holds trees, and deficiencies.jsonl beside it none of the samples they grew "
                "from: delete the trees, or give another directory"
            )
        claim(
            self.path,
            {**settings, "search": search},
            "a collection",
            ("deficiencies.jsonl",),
            optional=("search", "call_format"),
        )

    def model(self) -> str:
        """Name of the model the collection was made with.

        Raises UsageError where this is no collection, DataError where its settings cannot be read.
        """
        return str(self._settings()["model"])

    def weights(self) -> str:
        """What tells the policy it was made with from others of its name (`Policy.weights`); empty where that
        was not known. Raises what `model` raises."""
        return str(self._settings().get("weights") or "")

    def call_format(self) -> str:
        """How its policy writes calls, as far as its settings say. Raises DataError where they cannot be
        read."""
        file = self.path / "settings.json"
        known = read_json(file) if file.exists() else {}
        return str((isinstance(known, dict) and known.get("call_format")) or DEFAULT_FORMAT)

    def _settings(self) -> Mapping[str, Any]:
        file = self.path / "settings.json"
        if not file.exists():
            raise UsageError(f"{self.path} holds no collection: it has no settings.json")
        known = read_json(file)
        if not isinstance(known, dict) or not isinstance(known.get("model"), str):
            raise DataError("names no model", path=file)
        return known

    def diagnoses(self, tasks: Sequence[Task]) -> dict[str, Diagnosis]:
        """Rows written so far, by task id, those of other tasks left out.

        Raises UsageError where a row is of a task whose id is the same but whose content is not, DataError
        for a row that cannot be read.
        """
        file = self.path / "deficiencies.jsonl"
        if not file.exists():
            return {}
        rows, bad = read_jsonl(file)
        if bad:
            raise DataError(f"{bad[0].reason}: delete the line", path=file, line=bad[0].line)
        digests = {task.id: digest([task]) for task in tasks}
        found: dict[str, Diagnosis] = {}
        for line, row in rows:
            if not isinstance(row.get("task_id"), str):
                raise DataError("'task_id' must be text: delete the line", path=file, line=line)
            expected = digests.get(row["task_id"])
            if expected is None:
                continue
            if row.get("task_digest") != expected:
                raise UsageError(
                    f"{file}:{line}: task {row['task_id']!r} has changed since it was sampled: take another "
                    "directory, or delete this one to begin again"
                )
            found[row["task_id"]] = _read_diagnosis(row, file, line)
        return found

    def keep_last_rows(self) -> None:
        """Of several rows of one task in deficiencies.jsonl, the last, in the first one's place."""
        file = self.path / "deficiencies.jsonl"
        write_jsonl(file, {row.get("task_id"): row for _, row in read_jsonl(file)[0]}.values())

    def diagnosis_log(self) -> JsonlWriter:
        """Where new rows go."""
        return JsonlWriter(self.path / "deficiencies.jsonl")

    def tree_file(self, task_id: str) -> Path:
        """Where the task's tree is, or will be."""
        return self.trees / tree_name(task_id)

    def write_tree(self, tree: TreeFile) -> None:
        """All or nothing."""
        write_bytes(self.trees / tree.entry.file, tree.data)
        self._written[tree.entry.file] = tree.entry

    def read_tree(self, task_id: str) -> SearchTree:
        """Raises DataError where the file is missing or no tree."""
        return load_tree(self.tree_file(task_id))

    def index_trees(self) -> dict[str, TreeEntry]:
        """Bring trees/index.jsonl up to date; its lines by file name. Raises DataError, RunError."""
        return {entry.file: entry for entry in refresh(self.trees, self._written)}


def selected_ids(collection: Path) -> set[str]:
    """Ids of the tasks that a finished collection selected. Raises DataError."""
    file = collection / "selection.json"
    try:
        return set(read_json(file)["tasks"])
    except (KeyError, TypeError) as error:
        raise DataError(f"not a collection's selection ({error!r})", path=file) from error


def tree_name(task_id: str) -> str:
    """A tree's file, named after the task: readable, and different for different ids."""
    # An empty name, or one that begins with a dot, would be one of those that are being written.
    name = quote(task_id, safe="", errors="surrogatepass") or "%"
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > LONGEST_NAME:
        whole = hashlib.sha256(name.encode()).hexdigest()
        name = f"{name[:LONGEST_NAME]}-{whole[:16]}"
    return f"{name}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A tree as it is stored. Can be pickled, and is a fraction of the tree's size."""

    data: bytes
    """The same for the same tree."""
    entry: TreeEntry
    """Its line of the index."""

    @classmethod
    def of(cls, tree: SearchTree) -> Self:
        data = gzip.compress(json_text(tree.to_json()).encode(), mtime=0)
        return cls(data, TreeEntry.of(tree, tree_name(tree.task_id), data))


def diagnosis_row(task: Task, diagnosis: Diagnosis) -> dict[str, Any]:
    """What `CollectionDir.diagnoses` reads."""
    return {
        **diagnosis.deficiency.to_json(),
        "task_digest": digest([task]),
        "attempts": [sample.to_json() for sample in diagnosis.samples],
    }


def _read_diagnosis(row: Mapping[str, Any], file: Path, line: int) -> Diagnosis:
    try:
        return Diagnosis(Deficiency.from_json(row), tuple(map(Sample.from_json, row["attempts"])))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a row of this Strop's ({error!r}): delete it", path=file, line=line) from error
