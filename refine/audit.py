"""Quality before training: what is wrong with a file of pairs, row by row and as a whole.

The gate (`strop.refine.gate`) decides pair by pair while they are collected. An audit looks at the file that
is about to be trained on, wherever it comes from: what the gate holds must hold still, evidence must be what
the texts say, and the pairs together must not teach something else than the task. It refuses with reasons.

Not covered: whether a row's text is what its ids spell (that takes the tokenizer), and the verdict of a
fragment, which is that of answers the row does not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from strop.agent.chat import Ids
from strop.refine.defects import Defect, Finding, JudgedRow, collisions, faults
from strop.refine.measures import (
    SAME_SHAPE,
    Cut,
    Distances,
    Drift,
    Lengths,
    Spread,
    by_kind,
    counted,
    cut,
    distances,
    drift,
)
from strop.refine.pairs import PairKind
from strop.refine.record import PairRecord, pairs_file, read_records
from strop.refine.store import CollectionDir
from strop.tools.bounds import require
from strop.tools.errors import DataError
from strop.tools.files import BadRow, read_jsonl
from strop.tools.formats import DEFAULT_FORMAT
from strop.tools.share import wilson
from strop.tools.task import Task

FEWEST = 20
"""Pairs below which nothing is said of their drift: a handful comes of two or three tasks."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When an audit refuses; all ours."""

    allow: float = 0.0
    """Most rows with any one defect, as a share."""
    min_margin: float = 0.1
    """Least difference of the two values."""
    max_length: int = 2048
    """Most ids of context and continuation together."""
    max_bias: float = 0.9
    """Most pairs whose chosen side is longer, or shorter, as a share of those of the same shape: beyond it a
    policy learns length."""
    near: float = 0.05
    """Sides this near (edits over ids) count as nearly the same."""
    max_near: float = 0.9
    """Most such pairs, as a share."""
    far: float = 0.9
    """Sides this far count as having nothing in common."""
    max_far: float = 0.9
    """Most such pairs, as a share of those of the same shape."""
    max_drift: float = 0.5
    """Most total variation distance, beyond what chance makes, from the deficiency report's errors."""

    def __post_init__(self) -> None:
        shares = ("allow", "min_margin", "max_bias", "near", "max_near", "far", "max_far", "max_drift")
        bounds = [(name, 0 <= getattr(self, name) <= 1, "in [0, 1]") for name in shares]
        require(self, [*bounds, ("max_length", self.max_length >= 2, "at least 2")])


@dataclass(frozen=True, slots=True)
class Objection:
    """A threshold that is broken."""

    threshold: str
    """A `Defect`, or a field of `Thresholds`."""
    reason: str
    """One sentence."""
    findings: tuple[Finding, ...] = ()
    """The rows it is about; empty where it is about all of them."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found."""

    rows: int
    """Readable ones."""
    by_kind: Mapping[str, int]
    by_source: Mapping[str, int]
    by_category: Mapping[str, int]
    margins: Spread
    lengths: Mapping[str, Lengths]
    """By `strop.refine.measures.by_kind`."""
    distances: Mapping[str, Distances]
    """By `strop.refine.measures.by_kind`."""
    drift: Drift | None
    """None where there is no deficiency report, or no error."""
    cut: Cut
    end_ids: tuple[int, ...]
    """End-of-turn ids that were looked for; empty: none are known, so that `INCOMPLETE` and `END_INSIDE`
    were not looked for."""
    rejudged: int
    """Rows whose texts were judged anew."""
    findings: tuple[Finding, ...]
    """By line."""
    objections: tuple[Objection, ...]
    """Empty: the file may be trained on."""

    @property
    def accepted(self) -> bool:
        return not self.objections

    @property
    def defects(self) -> dict[str, int]:
        """Findings by defect."""
        counts = Counter(finding.defect for finding in self.findings)
        return {str(defect): counts[defect] for defect in Defect if counts[defect]}

    @property
    def bad_lines(self) -> frozenset[int]:
        """Lines of rows with a defect: a file without them has none."""
        return frozenset(finding.line for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {"accepted": self.accepted, "defects": self.defects, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What besides the file an audit can look at."""

    tasks: Mapping[str, Task] | None = None
    """By id; None: texts are not judged anew."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Wrong samples by error, of the deficiency report; empty where there is none."""
    end_ids: Collection[int] = ()
    """Ids that end a turn; empty: those most full pairs end by."""
    worlds: str = ""
    """Module of simulated worlds the pairs were judged in, too; empty: none."""
    call_format: str = DEFAULT_FORMAT
    """What answers are read as first, as when they were sampled."""


def audit(
    records: Sequence[PairRecord], bad: Sequence[BadRow], thresholds: Thresholds, known: Knowledge
) -> Audit:
    """Look at every row and at all of them together. Pure; `records` and `bad` are `read_records`'s."""
    end_ids = tuple(sorted(known.end_ids)) or usual_ends(records)
    judged = [JudgedRow.of(one, known.tasks or {}, known.worlds, known.call_format) for one in records]
    findings = [Finding(row.line, "", Defect.UNREADABLE, row.reason) for row in bad]
    sound: list[JudgedRow] = []
    for one in judged:
        own = list(faults(one, thresholds.min_margin, thresholds.max_length, end_ids, known.tasks))
        findings += own
        # What is refused for itself speaks neither for nor against another row, as in the gate.
        sound += [] if own else [one]
    findings = sorted([*findings, *collisions(sound)], key=lambda finding: finding.line)
    groups = by_kind(records)
    lengths = {name: Lengths.of(group) for name, group in groups.items()}
    apart = {name: distances(group, thresholds.near, thresholds.far) for name, group in groups.items()}
    drifted = drift(records, known.errors)
    return Audit(
        rows=len(records),
        by_kind=counted(records, lambda one: str(one.kind or "unknown")),
        by_source=counted(records, lambda one: one.source),
        by_category=counted(records, lambda one: one.category or "uncategorised"),
        margins=Spread.of(one.margin for one in records if one.margin is not None),
        lengths=lengths,
        distances=apart,
        drift=drifted,
        cut=cut(records, thresholds.max_length),
        end_ids=end_ids,
        rejudged=sum(one.is_rejudged for one in judged),
        findings=tuple(findings),
        objections=(
            *_too_many(findings, len(records) + len(bad), thresholds),
            *_lopsided(lengths, apart, drifted, thresholds),
        ),
    )


def audit_file(
    path: Path,
    thresholds: Thresholds,
    *,
    tasks: Mapping[str, Task] | None = None,
    deficiencies: Path | None = None,
    end_ids: Collection[int] = (),
    worlds: str = "",
) -> Audit:
    """Audit a pairs file, or a collection's directory with its deficiencies.jsonl unless another is named.

    Beside a collection's settings answers are read in its policy's call format. Raises DataError where a file
    cannot be read, or holds no row at all.
    """
    records, bad = read_records(path)
    if not records and not bad:
        raise DataError("holds no preference pair", path=pairs_file(path))
    beside = path / "deficiencies.jsonl"
    report = deficiencies or (beside if beside.exists() else None)
    errors, ends = read_sampled(report) if report else ({}, frozenset())
    call_format = CollectionDir(path if path.is_dir() else path.parent).call_format()
    known = Knowledge(tasks, errors, end_ids or ends, worlds, call_format)
    return audit(records, bad, thresholds, known)


def read_sampled(file: Path) -> tuple[dict[str, int], frozenset[int]]:
    """Of a deficiencies.jsonl: wrong samples by error, and the ids that complete samples end by.

    Samples that were cut off are left out where the rows say which: no pair can reject one. Raises DataError
    where the file cannot be read, or naming the row that is none.
    """
    errors: Counter[str] = Counter()
    ends: set[int] = set()
    for line, row in read_jsonl(file)[0]:
        try:
            whole = [one for one in row.get("attempts", ()) if one["complete"]]
            ends.update(one["ids"][-1] for one in whole)
            if "attempts" in row:
                errors.update(str(one["error"]) for one in whole if one["error"])
            else:
                errors.update({str(name): int(count) for name, count in row["errors"].items()})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a row of a deficiency report ({error!r})", path=file, line=line) from error
    return dict(errors), frozenset(ends)


def usual_ends(records: Sequence[PairRecord]) -> Ids:
    """The id that more than half of all full sides end by, if there is one."""
    last = Counter(
        side.ids[-1] for one in records if one.kind is PairKind.FULL for side in (one.chosen, one.rejected)
    )
    return tuple(one for one, count in last.items() if 2 * count > last.total())


def _too_many(findings: Sequence[Finding], rows: int, thresholds: Thresholds) -> Iterator[Objection]:
    """Defects that more rows have than may."""
    for defect in Defect:
        about = tuple(finding for finding in findings if finding.defect is defect)
        affected = len({finding.line for finding in about})
        if affected > thresholds.allow * rows:
            name = defect.replace("_", " ")
            may = f"at most {thresholds.allow:.1%} may be" if thresholds.allow else "none may be"
            yield Objection(str(defect), f"{name}: {affected} of {rows} rows are, {may}", about)


def _lopsided(
    lengths: Mapping[str, Lengths],
    apart: Mapping[str, Distances],
    drifted: Drift | None,
    thresholds: Thresholds,
) -> Iterator[Objection]:
    """Shares that are too high even at the lower end of their 95 % interval, so that few pairs pass."""
    fair, near, far = lengths[SAME_SHAPE], apart["all"], apart[SAME_SHAPE]
    shares = (
        ("max_bias", fair.longer, fair.pairs, "have the longer side chosen"),
        ("max_bias", fair.shorter, fair.pairs, "have the shorter side chosen"),
        ("max_near", near.near, near.spread.count, f"differ in at most {thresholds.near:.0%} of their ids"),
        ("max_far", far.far, far.spread.count, f"differ in at least {thresholds.far:.0%} of their ids"),
    )
    for name, count, total, what in shares:
        most: float = getattr(thresholds, name)
        if total and wilson(count, total)[0] > most:
            yield Objection(
                name, f"{count} of {total} pairs ({count / total:.0%}) {what}, at most {most:.0%} may"
            )
    pairs = sum(one.pairs for one in drifted.errors.values()) if drifted is not None else 0
    if drifted is not None and pairs >= FEWEST and drifted.variation - drifted.chance > thresholds.max_drift:
        yield Objection(
            "max_drift",
            f"the errors of the rejected sides are {drifted.variation:.2f} from the deficiency report's "
            f"({drifted.chance:.2f} by chance), at most {thresholds.max_drift:g} may they be",
        )
