"""Where BFCL's files are, and their rows.

They come with the ``bfcl-eval`` distribution, of which nothing is imported for that: it pulls every
vendor's SDK. Its data stay where they are; nothing of them is part of Strop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from strop.tools import local_suite
from strop.tools.errors import MissingDataError
from strop.tools.local_suite import digest_of, matched, named_data

PREFIX = "BFCL_v4"
"""What every official file name starts with."""

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"


def find_data() -> Path:
    """The directory that holds ``BFCL_v4_*.json``. Raises MissingDataError that says how to get it."""
    named = named_data("bfcl")
    if named is not None:
        return named
    found = find_spec("bfcl_eval")
    if found is None or not found.submodule_search_locations:
        message = f"the BFCL data are not installed: {INSTALL} (or name their directory in STROP_BFCL_DATA)"
        raise MissingDataError(message)
    return Path(found.submodule_search_locations[0], "data")


def question_file(directory: Path, category: str) -> Path:
    """The questions of a category."""
    return directory / f"{PREFIX}_{category}.json"


def answer_file(directory: Path, category: str) -> Path:
    """Its answers; there are none for relevance and irrelevance."""
    return directory / "possible_answer" / f"{PREFIX}_{category}.json"


def rows_of(path: Path, *wanted: str) -> list[dict[str, Any]]:
    """Rows of a file, each with the fields `wanted`. Raises DataError."""
    return local_suite.rows_of(path, *wanted, title="BFCL v4", get=INSTALL)


def answers_of(directory: Path, category: str, questions: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The ground truth of each question. Raises DataError naming one that has none."""
    path = answer_file(directory, category)
    return matched(questions, rows_of(path, "id", "ground_truth"), path)


def version_of(directory: Path, categories: Iterable[str]) -> str:
    """``BFCL_v4`` and a digest of the files of these categories, of memories and of the simulators' tools."""
    asked = [
        path
        for category in (*categories, "memory")
        for path in (question_file(directory, category), answer_file(directory, category))
    ]
    asked += sorted((directory / "memory_prereq_conversation").glob("*.json"))
    return f"{PREFIX} {digest_of([*asked, *sorted(tool_folder(directory).glob('*.json'))])}"


def tool_folder(directory: Path) -> Path:
    """Where the tools of multi-turn tasks are, a file a simulator."""
    return directory / "multi_turn_func_doc"
