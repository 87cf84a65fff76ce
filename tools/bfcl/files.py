"""Where BFCL's files are, and their rows.

They come with the ``bfcl-eval`` distribution, of which nothing is imported for that: it pulls every
vendor's SDK. Its data stay where they are; nothing of them is part of Strop.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError
from strop.tools.files import read_jsonl

PREFIX = "BFCL_v4"
"""What every official file name starts with."""

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"


def find_data() -> Path:
    """The directory that holds ``BFCL_v4_*.json``. Raises DataError that says how to get it."""
    named = os.environ.get("STROP_BFCL_DATA")
    if named:
        return Path(named)
    try:
        return Path(str(metadata.distribution("bfcl-eval").locate_file("bfcl_eval/data")))
    except metadata.PackageNotFoundError:
        message = f"the BFCL data are not installed: {INSTALL} (or name their directory in STROP_BFCL_DATA)"
        raise DataError(message) from None


def question_file(directory: Path, category: str) -> Path:
    """The questions of a category."""
    return directory / f"{PREFIX}_{category}.json"


def answer_file(directory: Path, category: str) -> Path:
    """Its answers; there are none for relevance and irrelevance."""
    return directory / "possible_answer" / f"{PREFIX}_{category}.json"


def version_of(directory: Path, categories: Iterable[str]) -> str:
    """``BFCL_v4`` and a digest of the files of these categories that are there."""
    digest = hashlib.sha256()
    for category in categories:
        for path in (question_file(directory, category), answer_file(directory, category)):
            if path.is_file():
                digest.update(path.read_bytes())
    return f"{PREFIX} {digest.hexdigest()[:12]}"


def rows_of(path: Path, *wanted: str) -> list[dict[str, Any]]:
    """Rows of a file, each with the fields `wanted`."""
    if not path.is_file():
        raise DataError(f"no such BFCL file; get it with: {INSTALL}", path=path)
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(bad[0].reason, path=path, line=bad[0].line)
    for line, row in rows:
        missing = [name for name in wanted if name not in row]
        if missing:
            raise DataError(f"no {missing[0]!r}; is this BFCL v4?", path=path, line=line)
    return [row for _, row in rows]


def answers_of(directory: Path, category: str, questions: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The ground truth of each question. Raises DataError naming one that has none."""
    path = answer_file(directory, category)
    answers = {row["id"]: row["ground_truth"] for row in rows_of(path, "id", "ground_truth")}
    missing = [row["id"] for row in questions if row["id"] not in answers]
    if missing:
        raise DataError(f"no answer to {missing[0]!r}", path=path)
    return [answers[row["id"]] for row in questions]
