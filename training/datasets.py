"""Training rows as token ids: what was sampled is what is trained, id for id.

Rows hold nothing but ids and a name, so that no table format in between can add nulls to nested schemas and
nothing is tokenised twice. Files in other people's layouts are read by `strop.training.layouts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from strop.agent.chat import Template
from strop.agent.policy import written_after
from strop.refine.record import PairRecord, ids_in, pairs_file, read_records
from strop.tools.errors import DataError, UsageError
from strop.tools.files import EXACT, BadRow, read_jsonl
from strop.tools.formats import FORMATS
from strop.tools.task import Task
from strop.training.layouts import read_layout
from strop.training.layouts.own import own_task
from strop.training.recipe import Refused

IGNORED = -100
"""TRL's label of ids no loss is taken on."""


class Row(Protocol):
    """Anything with a name and ids."""

    @property
    def id(self) -> str: ...

    @property
    def length(self) -> int: ...

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]: ...


@dataclass(frozen=True, slots=True)
class PairRow:
    """One preference: after this context, rather this continuation than that."""

    id: str
    prompt_ids: tuple[int, ...]
    """Prompt and shared start of the answer: no loss is taken on it."""
    chosen_ids: tuple[int, ...]
    """As sampled; an end-of-turn id only where it was sampled."""
    rejected_ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Ids of the longer of the two sequences."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Its ids, the prompt's first."""
        return self.prompt_ids, self.chosen_ids, self.rejected_ids

    @classmethod
    def of(cls, record: PairRecord) -> Self:
        """What training needs of a row."""
        return cls(record.id, record.context_ids, record.chosen.ids, record.rejected.ids)


@dataclass(frozen=True, slots=True)
class SftRow:
    """One demonstration: after this prompt, this answer."""

    id: str
    prompt_ids: tuple[int, ...]
    """No loss is taken on it."""
    answer_ids: tuple[int, ...]
    """The end-of-turn id included."""

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Its ids, the prompt's first."""
        return self.prompt_ids, self.answer_ids

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read ``{"id", "prompt_ids", "answer_ids"}``. Raises DataError naming the field."""
        return cls(id=_name(row), prompt_ids=ids_in(row, "prompt_ids"), answer_ids=ids_in(row, "answer_ids"))

    @classmethod
    def from_task(cls, task: Task, template: Template) -> Self:
        """The gold answer, as the model is to write it. Raises DataError where the task has none."""
        if task.gold is None or not is_demonstration(task):
            raise DataError(f"task {task.id!r}: no calls and no response to train on")
        calls = FORMATS[template.call_format].render(task.gold.calls) if task.gold.calls else None
        prompt_ids = tuple(template.prompt_ids(task.messages, task.tools))
        text = written_after(template, prompt_ids, calls or task.gold.response or "")
        return cls(task.id, prompt_ids, tuple(template.answer_ids(text)))


def is_demonstration(task: Task) -> bool:
    """Whether there is an answer to train on: gold calls, or prose that somebody wrote."""
    return task.gold is not None and bool(task.gold.calls or task.gold.response)


def read_pairs(path: Path) -> tuple[list[PairRow], list[BadRow]]:
    """Pairs of a pairs.jsonl, or of the directory that holds one, and the rows that are none.

    Raises DataError where the file cannot be read or holds no pair at all.
    """
    records, bad = read_records(path)
    if not records:
        raise DataError(_nothing("preference pair", bad), path=pairs_file(path))
    return [PairRow.of(record) for record in records], bad


def read_sft(path: Path, template: Template) -> tuple[list[SftRow], list[BadRow]]:
    """Demonstrations of a file, and the rows that are none.

    Its rows are tasks, whose gold is rendered through `template`, or ids already; both may be mixed. Or they
    are of another layout (`strop.training.layouts`), which is detected. Raises DataError where the file
    cannot be read or holds no demonstration at all.
    """
    found, bad = tasks_and_ids(path)
    demonstrations: list[SftRow] = []
    for line, one in found:
        try:
            demonstrations.append(SftRow.from_task(one, template) if isinstance(one, Task) else one)
        except (DataError, UsageError) as error:  # a task the template or the call format cannot render
            bad.append(BadRow(line, str(error)))
    if not demonstrations:
        raise DataError(_nothing("demonstration", bad), path=path)
    return demonstrations, sorted(bad, key=lambda one: one.line)


def tasks_and_ids(path: Path) -> tuple[list[tuple[int, Task | SftRow]], list[BadRow]]:
    """Each row's line and what it is. Files of tasks and ids are told by any one row that looks like it."""
    lines = path.exists() and path.suffix not in (".json", ".parquet")
    rows, bad = read_jsonl(path, EXACT.decode) if lines else ([], [])
    if not any("prompt_ids" in row or "calls" in row for _, row in rows):
        loaded = read_layout(path)
        return list(loaded.tasks), loaded.bad
    found: list[tuple[int, Task | SftRow]] = []
    for line, row in rows:
        try:
            found.append((line, SftRow.from_json(row) if "prompt_ids" in row else own_task(row)))
        except DataError as error:
            bad.append(BadRow(line, str(error)))
    return found, bad


AnyRow = TypeVar("AnyRow", bound=Row)


def usable(
    rows: Iterable[AnyRow], *, max_length: int, vocabulary: int
) -> tuple[list[AnyRow], tuple[Refused, ...]]:
    """Rows of at most `max_length` ids, and the longer ones with the reason.

    Raises DataError where an id is not in the vocabulary (the rows are another model's), a prompt or an
    answer is empty, or no row is left.
    """
    kept: list[AnyRow] = []
    refused: list[Refused] = []
    for row in rows:
        if not all(row.parts):
            raise DataError(f"row {row.id!r} has a prompt or an answer without any id")
        if (least := min(map(min, row.parts))) < 0:
            raise DataError(f"row {row.id!r} has token id {least}: ids are 0 or more")
        if (largest := max(map(max, row.parts))) >= vocabulary:
            raise DataError(
                f"row {row.id!r} has token id {largest}, but this model's vocabulary ends at "
                f"{vocabulary - 1}: the rows were made with another model"
            )
        if row.length > max_length:
            refused.append(Refused(row.id, f"{row.length} ids, max_length is {max_length}"))
        else:
            kept.append(row)
    if not kept and not refused:
        raise DataError("nothing to train on: there is no row")
    if not kept:
        first = f"{refused[0].id}: {refused[0].reason}"
        raise DataError(f"nothing to train on: {len(refused)} rows are too long; {first}")
    return kept, tuple(refused)


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("id")
    if not isinstance(name, str):
        raise DataError(f"'id' must be text, got {name!r}")
    return name


def _nothing(what: str, bad: Sequence[BadRow]) -> str:
    first = f" (line {bad[0].line}: {bad[0].reason})" if bad else ""
    return f"holds no {what}{first}"
