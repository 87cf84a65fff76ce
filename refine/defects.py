"""What can be wrong with one row of a pairs file, on its own and beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from strop.agent.answer import Draft
from strop.agent.chat import Ids
from strop.refine.gate import Preference, conflicting, ends_itself, evenly_spaced
from strop.refine.pairs import PairKind
from strop.refine.record import PairRecord, RecordSide
from strop.refine.sample import Outcome, assess
from strop.refine.simulated import executed
from strop.tools.formats import DEFAULT_FORMAT, read_calls
from strop.tools.formats.thoughts import BEGIN, END
from strop.tools.task import Task
from strop.tools.verdict import Verdict

RIGHT = "correct"
ROUNDING = 2e-6
"""Rows hold values with six decimals: a margin that the gate found large enough must not turn too small."""


class Defect(StrEnum):
    """What can be wrong with a row."""

    UNREADABLE = "unreadable"
    """No trainer could read it."""
    CHOSEN_FAILS = "chosen_fails"
    """The chosen side is wrong, by its evidence or judged anew."""
    REJECTED_PASSES = "rejected_passes"
    """The rejected side is right, by its evidence or judged anew."""
    STALE = "stale"
    """The evidence is not what the text is judged to be."""
    UNKNOWN_TASK = "unknown_task"
    """There is no such task among those given."""
    INCOMPLETE = "incomplete"
    """A side of a full pair does not end by an end-of-turn id."""
    END_INSIDE = "end_inside"
    """An end-of-turn id in a fragment, or before the end of an answer."""
    NESTED = "nested"
    """One side is the beginning of the other: the end is preferred, not what is said."""
    SAME = "same"
    """Both sides say the same, written differently."""
    CONFLICT = "conflict"
    """Another row of the same context says the opposite."""
    REPEATED = "repeated"
    """The same ids as an earlier row."""
    DUPLICATE = "duplicate"
    """The same preference as an earlier row, calls compared canonically."""
    MARGIN = "margin"
    """The values are too close, or the wrong way round."""
    LENGTH = "length"
    """Longer than the trainer takes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect of one row."""

    line: int
    id: str
    """Empty for a row that could not be read."""
    defect: Defect
    detail: str


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A row with what it says."""

    record: PairRecord
    preference: Preference
    chosen: Verdict | None
    """Judged anew; None where it was not."""
    rejected: Verdict | None

    @property
    def is_rejudged(self) -> bool:
        return self.chosen is not None

    @classmethod
    def of(
        cls,
        record: PairRecord,
        tasks: Mapping[str, Task],
        worlds: str = "",
        call_format: str = DEFAULT_FORMAT,
    ) -> Self:
        """Read both sides, as `call_format` first, and judge them where they are whole answers to a known
        task.

        `worlds` is as of `strop.refine.simulated.judged`.
        """
        if record.kind is not PairKind.FULL or record.chosen.text is None or record.rejected.text is None:
            texts = [_written(side) for side in (record.chosen, record.rejected)]
            return cls(record, Preference(record.context_ids, *texts), None, None)
        task = tasks.get(record.task_id)
        sides = [
            _outcome(side.text or "", record, record.prefix_ids + side.ids, task, worlds, call_format)
            for side in (record.chosen, record.rejected)
        ]
        preference = Preference(record.prompt_ids, *(side.meaning for side in sides))
        verdicts = [side.verdict if task else None for side in sides]
        return cls(record, preference, *verdicts)


def _written(side: RecordSide) -> str:
    return str(side.ids) if side.text is None else evenly_spaced(side.text)


def _outcome(
    text: str, record: PairRecord, ids: Ids, task: Task | None, worlds: str, call_format: str
) -> Outcome:
    """What a whole answer of the record says, and is worth where the task is known."""
    thinking = record.thinking
    if thinking is None:  # a file of somebody else's, or an older one
        thinking = END in text and not text.lstrip().startswith(BEGIN)
    tools = task.tools if task else ()
    reading = read_calls(text, preferred=call_format, tools=tools, thinking=thinking)
    calls = () if reading.problem else reading.calls
    draft = Draft((), ids, text, calls, reading.content, problem=reading.problem, opened=thinking)
    if task is not None:
        outcome = assess(task, draft)
        return executed(task, outcome, worlds) if worlds else outcome
    return Outcome(text, calls, Verdict.right(), 0.0, complete=True)  # only its meaning is asked for


def faults(
    judged: JudgedRow, min_margin: float, max_length: int, end_ids: Ids, tasks: Mapping[str, Task] | None
) -> Iterator[Finding]:
    """What is wrong with a row on its own. Without `end_ids` no end of a turn is looked for, without `tasks`
    no task."""
    record = judged.record

    def found(defect: Defect, detail: str) -> Finding:
        return Finding(record.line, record.id, defect, detail)

    if tasks is not None and record.task_id not in tasks:
        yield found(Defect.UNKNOWN_TASK, f"task {record.task_id!r}")
    for defect, detail in (*_verdicts(judged), *_shape(record, end_ids)):
        yield found(defect, detail)
    if judged.preference.chosen == judged.preference.rejected:
        yield found(Defect.SAME, f"both say {_short(judged.preference.chosen)}")
    if record.margin is not None and record.margin < min_margin - ROUNDING:
        yield found(Defect.MARGIN, f"{record.margin:.3g}, at least {min_margin:g} is wanted")
    length = len(record.context_ids) + max(len(record.chosen.ids), len(record.rejected.ids))
    if length > max_length:
        yield found(Defect.LENGTH, f"{length} ids, {max_length} is the most")


def _verdicts(judged: JudgedRow) -> Iterator[tuple[Defect, str]]:
    """Verdicts that do not fit their side, and evidence that does not fit the text."""
    sides = (
        ("chosen", judged.record.chosen, judged.chosen, Defect.CHOSEN_FAILS),
        ("rejected", judged.record.rejected, judged.rejected, Defect.REJECTED_PASSES),
    )
    for name, side, verdict, defect in sides:
        wanted = name == "chosen"
        if verdict is not None and verdict.correct is not wanted:
            yield defect, f"judged anew: {verdict.detail or RIGHT}"
        elif side.verdict is not None and (side.verdict == RIGHT) is not wanted:
            yield defect, f"its evidence says {side.verdict}"
        anew = None if verdict is None else str(verdict.error or RIGHT)
        if anew is not None and side.verdict is not None and anew != side.verdict:
            yield Defect.STALE, f"the evidence of the {name} side says {side.verdict}, its text is {anew}"


def _shape(record: PairRecord, end_ids: Ids) -> Iterator[tuple[Defect, str]]:
    """What is wrong with a row's ids."""
    for name, side in (("chosen", record.chosen), ("rejected", record.rejected)):
        ends = [place for place, one in enumerate(side.ids) if one in end_ids]
        whole = record.kind is PairKind.FULL
        if whole and end_ids and not ends_itself(side.ids, end_ids):
            yield Defect.INCOMPLETE, f"the {name} side ends by id {side.ids[-1]}"
        inside = ends if record.kind is PairKind.FRAGMENT else [p for p in ends if p < len(side.ids) - 1]
        if inside:
            yield Defect.END_INSIDE, f"id {side.ids[inside[0]]} at place {inside[0]} of the {name} side"
    shorter, longer = sorted((record.chosen.ids, record.rejected.ids), key=len)
    if longer[: len(shorter)] == shorter:
        begins = "chosen" if shorter == record.chosen.ids else "rejected"
        yield Defect.NESTED, f"the other side begins like the {begins} one and goes on"


def collisions(judged: Sequence[JudgedRow]) -> Iterator[Finding]:
    """What is wrong with rows among others that have no `faults`; of equal rows, the first is kept."""
    opposed = conflicting(one.preference for one in judged if one.preference != one.preference.reversed)
    first_ids: dict[tuple[Ids, ...], int] = {}
    first_said: dict[Preference, int] = {}
    lines = {one.preference: one.record.line for one in reversed(judged)}
    for one in judged:
        record = one.record
        if one.preference in opposed:
            other = lines[one.preference.reversed]
            yield Finding(record.line, record.id, Defect.CONFLICT, f"line {other} prefers the opposite")
        ids = (record.context_ids, record.chosen.ids, record.rejected.ids)
        same = first_ids.setdefault(ids, record.line)
        alike = first_said.setdefault(one.preference, record.line)
        if same != record.line:
            yield Finding(record.line, record.id, Defect.REPEATED, f"the ids of line {same}")
        elif alike != record.line:
            yield Finding(record.line, record.id, Defect.DUPLICATE, f"says what line {alike} says")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
