"""What a benchmark keeps of an answer: one JSON object, its verdict included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError
from strop.tools.files import read_jsonl

Row = Mapping[str, Any]

ANSWERS, SETTINGS = "answers.jsonl", "settings.json"
_KEYS = ("id", "category", "correct", "usage", "elapsed")
"""What every row has, and a benchmark reads."""
TOO_LONG = "too_long"
"""Error of a task that does not fit the model's context: it is wrong, whatever is right."""
REFUSED = "refused"
"""Error of a task that could not be asked: the endpoint refuses it, or the model's template does."""
JUDGED, TEXT, CONTENT, PROSE = "judged", "text", "content", "prose"
"""What the verdict is about, where it is not the calls: the answer's whole text, its prose, or what was said
last in a conversation."""


def read_answers(out: Path) -> list[dict[str, Any]]:
    """Rows of a benchmark directory; none where it has no answers yet. Raises DataError for a broken row."""
    path = out / ANSWERS
    if not path.exists():
        return []
    rows, bad = read_jsonl(path)
    if bad:
        raise DataError(
            f"{bad[0].reason}; delete the line to have it asked again", path=path, line=bad[0].line
        )
    for line, row in rows:
        lacking = [key for key in _KEYS if key not in row]
        if lacking:
            reason = f"no answer of a benchmark: it lacks {', '.join(lacking)}; delete the line"
            raise DataError(reason, path=path, line=line)
    return [row for _, row in rows]


def key_of(row: Row) -> tuple[str, int]:
    """What tells a row from the others of its directory: the task and the number of the sample."""
    return row["id"], row.get("sample", 0)
