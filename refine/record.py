"""Rows of a pairs file, read back: what the trainer reads of them, and the evidence it does not look at.

Training reads rows by this reader, too (`strop.training.datasets`). Evidence is optional: a file of somebody
else's has ids and perhaps texts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from strop.agent.chat import Ids
from strop.refine.pairs import PairKind
from strop.tools.errors import DataError
from strop.tools.files import BadRow, read_jsonl

_MOST = sys.float_info.max
"""Of a value that can be compared; neither an infinity nor an integer beyond floats."""


@dataclass(frozen=True, slots=True)
class RecordSide:
    """One side of a row."""

    ids: Ids
    """Continuation of the shared context; not empty."""
    text: str | None
    """Of a whole answer without its end-of-turn token; None where the row has none."""
    value: float | None
    """Mean reward, in [0, 1]; None where the row has none."""
    verdict: str | None
    """``correct`` or the error's name; None where the row has none."""


@dataclass(frozen=True, slots=True)
class PairRecord:
    """A row of a pairs file."""

    line: int
    """Counted from 1."""
    id: str
    task_id: str
    """Empty where the row has none."""
    category: str
    kind: PairKind | None
    """None where the row does not say."""
    source: str
    """Where the chosen side comes from; ``unknown`` where the row does not say."""
    prompt_ids: Ids
    prefix_ids: Ids
    """Beginning of the answer that both sides share."""
    chosen: RecordSide
    rejected: RecordSide
    thinking: bool | None = None
    """Whether the prompt has opened a thinking block, within which answers begin; None where the row does not
    say."""

    @property
    def context_ids(self) -> Ids:
        """What no loss is taken on."""
        return self.prompt_ids + self.prefix_ids

    @property
    def margin(self) -> float | None:
        """Difference of the two values."""
        if self.chosen.value is None or self.rejected.value is None:
            return None
        return self.chosen.value - self.rejected.value

    @classmethod
    def from_json(cls, row: Mapping[str, Any], line: int) -> Self:
        """Raises DataError naming the field that no trainer could read."""
        if not isinstance(row.get("id"), str):
            raise DataError(f"'id' must be text, got {row.get('id')!r}")
        evidence = row.get("evidence")
        evidence = evidence if isinstance(evidence, Mapping) else {}
        record = cls(
            line=line,
            id=row["id"],
            task_id=_text(row, "task_id") or "",
            category=_text(row, "category") or "",
            kind=PairKind(row["kind"]) if row.get("kind") in tuple(PairKind) else None,
            source=_text(evidence, "source") or "unknown",
            prompt_ids=ids_in(row, "prompt_ids"),
            prefix_ids=ids_in(row, "prefix_ids", empty=True),
            chosen=_side(row, evidence, "chosen"),
            rejected=_side(row, evidence, "rejected"),
            thinking=row["thinking"] if isinstance(row.get("thinking"), bool) else None,
        )
        if record.chosen.ids == record.rejected.ids:
            raise DataError(f"pair {record.id!r}: chosen_ids and rejected_ids are the same")
        return record


def read_records(path: Path) -> tuple[list[PairRecord], list[BadRow]]:
    """Rows of a pairs file, or of the directory that holds a pairs.jsonl, and the rows that are none.

    Raises DataError where the file cannot be read.
    """
    rows, bad = read_jsonl(pairs_file(path))
    records: list[PairRecord] = []
    for line, row in rows:
        try:
            records.append(PairRecord.from_json(row, line))
        except DataError as error:
            bad.append(BadRow(line, str(error)))
    return records, sorted(bad, key=lambda one: one.line)


def lines_of(file: Path) -> list[tuple[int, str]]:
    """The lines of a pairs file that are not blank, as they stand, each with its number."""
    lines = enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def pairs_file(path: Path) -> Path:
    """`path`, or the pairs.jsonl in it where it is a directory."""
    return path / "pairs.jsonl" if path.is_dir() else path


def _side(row: Mapping[str, Any], evidence: Mapping[str, Any], name: str) -> RecordSide:
    return RecordSide(
        ids=ids_in(row, f"{name}_ids"),
        text=_text(row, f"{name}_text"),
        value=_value(row, evidence, f"{name}_value"),
        verdict=_text(evidence, f"{name}_verdict"),
    )


def _value(row: Mapping[str, Any], evidence: Mapping[str, Any], key: str) -> float | None:
    """Raises DataError for a number that cannot be compared."""
    value = evidence.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_MOST <= value <= _MOST:
        raise DataError(f"row {row.get('id')!r}: '{key}' must be a finite number, got {str(value)[:60]}")
    return float(value)


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) else None


def ids_in(row: Mapping[str, Any], key: str, *, empty: bool = False) -> Ids:
    """Token ids under `key`; none only where `empty`. Raises DataError naming row and key."""
    ids = row.get(key, [] if empty else None)
    whole = isinstance(ids, list) and all(type(one) is int and one >= 0 for one in ids)
    if not whole or not (ids or empty):
        raise DataError(f"row {row.get('id')!r}: '{key}' must be a list of token ids, got {str(ids)[:60]}")
    return tuple(ids or ())
