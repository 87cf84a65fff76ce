"""The directory of a collection: what is in it, and going on with it after a kill.

DIR/settings.json        what the collection was made with; a second start with others is refused
DIR/deficiencies.jsonl   a row a task: its k samples, judged, and whether it is searched
DIR/trees/ID.json.gz     a finished tree each
DIR/pairs.jsonl          the accepted pairs, ordered by task id
DIR/summary.json         counts, by kind, category, error and reason for refusal
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from strop.refine.deficiency import Deficiency
from strop.refine.sample import Sample
from strop.refine.tree import SearchTree
from strop.tools.errors import DataError, UsageError
from strop.tools.files import JsonlWriter, has_rows, json_text, read_json, read_jsonl, write_bytes, write_json
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
        self.pairs = path / "pairs.jsonl"
        self.summary = path / "summary.json"

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Note what this collection is made with. Raises UsageError where it has rows made otherwise."""
        file = self.path / "settings.json"
        settings = json.loads(json.dumps(settings))
        if not (file.exists() and has_rows(self.path / "deficiencies.jsonl")):
            write_json(file, settings)
            return
        known = read_json(file)
        if known != settings:
            changed = [key for key in sorted({*known, *settings}) if known.get(key) != settings.get(key)]
            raise UsageError(
                f"{self.path} holds a collection made with other settings ({', '.join(changed)} differ): "
                "take another directory, or delete this one to begin again"
            )

    def diagnoses(self, tasks: Sequence[Task]) -> dict[str, Diagnosis]:
        """Rows written so far, by task id, those of other tasks left out.

        Raises UsageError where a row is of a task whose id is the same but whose content is not.
        """
        file = self.path / "deficiencies.jsonl"
        if not file.exists():
            return {}
        digests = {task.id: digest([task]) for task in tasks}
        found: dict[str, Diagnosis] = {}
        for line, row in read_jsonl(file)[0]:
            expected = digests.get(row.get("task_id", ""))
            if expected is None:
                continue
            if row.get("task_digest") != expected:
                raise UsageError(
                    f"{file}:{line}: task {row['task_id']!r} has changed since it was sampled: take another "
                    "directory, or delete this one to begin again"
                )
            found[row["task_id"]] = _read_diagnosis(row, file, line)
        return found

    def diagnosis_log(self) -> JsonlWriter:
        """Where new rows go."""
        return JsonlWriter(self.path / "deficiencies.jsonl")

    def tree_file(self, task_id: str) -> Path:
        """Named after the task: readable, and different for different ids."""
        name = quote(task_id, safe="", errors="surrogatepass")
        if len(name) > LONGEST_NAME:
            whole = hashlib.sha256(name.encode()).hexdigest()
            name = f"{name[:LONGEST_NAME]}-{whole[:16]}"
        return self.path / "trees" / f"{name}.json.gz"

    def write_tree(self, task_id: str, tree: bytes) -> None:
        """`tree_bytes` of a task's tree, all or nothing."""
        write_bytes(self.tree_file(task_id), tree)

    def read_tree(self, task_id: str) -> SearchTree:
        """Raises DataError where the file is missing or no tree."""
        file = self.tree_file(task_id)
        try:
            return SearchTree.from_json(json.loads(gzip.decompress(file.read_bytes())))
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a search tree ({error}): delete it to search again", path=file) from error


def tree_bytes(tree: SearchTree) -> bytes:
    """A tree's file: the same bytes for the same tree."""
    return gzip.compress(json_text(tree.to_json()).encode(), mtime=0)


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
