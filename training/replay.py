"""Pairs of earlier rounds among those of a later one, so that what was learned is not unlearned.

Replay as continual learning has it (arXiv 1811.11682), for preferences: a round's own pairs are all there,
and beside them a sample of those that earlier rounds were accepted with. An earlier pair is a fact about
token ids, what to prefer after them, whatever policy sampled it; what depends on the policy, the reference's
log-probabilities, is computed anew by whoever trains. Left out are pairs that the present ones, or a later
round's, say already or contradict, and those whose task has another prompt now.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from strop.refine.defects import JudgedRow, collisions
from strop.refine.record import PairRecord, lines_of, pairs_file, read_records
from strop.tools.errors import DataError, UsageError
from strop.tools.files import write_text

REWORDED = "reworded"
"""Why a pair is left out whose task has another prompt now; other reasons are of `strop.refine.defects`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of an earlier pairs file."""

    record: PairRecord
    text: str
    """The line as it stands."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What of the earlier pairs is trained on again."""

    pairs: tuple[Kept, ...]
    wanted: int
    """How many the share asks for; more than `pairs` where there are too few."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """{reason: pairs of earlier rounds that could not be sampled for it}."""


def replay(now: Path, earlier: Sequence[Path], share: float, seed: int) -> Replay:
    """A sample of the pairs in `earlier`, the oldest first, to be trained on beside those in `now`.

    Paths are pairs files or directories that hold one. As many are taken as make up `share`, in [0, 1), of
    all; which, `seed` and the content decide. Raises DataError where a file or one of its rows cannot be
    read, UsageError for a share out of range.
    """
    if not 0 <= share < 1:
        raise UsageError(f"share must be in [0, 1), got {share}")
    present = [kept.record for kept in read_whole(now)]
    # Of what two rounds say alike the later one's row stays: its evidence is about a later policy.
    pool = [kept for path in reversed(earlier) for kept in read_whole(path)]
    usable, left_out = _usable(present, pool)
    wanted = round(len(present) * share / (1 - share))
    usable.sort(key=lambda kept: kept.record.id)
    sample = random.Random(seed).sample(usable, min(wanted, len(usable)))
    return Replay(tuple(sample), wanted, left_out)


def mix(now: Path, earlier: Sequence[Path], share: float, seed: int, out: Path) -> Replay:
    """Write the pairs in `now` and a replay of those in `earlier` to the file `out`, rows as they stand.

    Raises UsageError where `out` is one of them, DataError where `now` holds no pair, RunError where the disk
    refuses, and what `replay` raises.
    """
    if out.resolve() in {pairs_file(path).resolve() for path in (now, *earlier)}:
        raise UsageError(f"{out} is one of the files that are mixed: name another")
    rows = read_whole(now)
    if not rows:
        raise DataError("holds no preference pair", path=pairs_file(now))
    chosen = replay(now, earlier, share, seed)
    write_text(out, "".join(f"{kept.text}\n" for kept in (*rows, *chosen.pairs)))
    return chosen


def read_whole(path: Path) -> list[Kept]:
    """The rows of a pairs file with their lines. Raises DataError naming a row that is none."""
    records, bad = read_records(path)
    file = pairs_file(path)
    if bad:
        raise DataError(bad[0].reason, path=file, line=bad[0].line)
    texts = dict(lines_of(file))
    return [Kept(record, texts[record.line]) for record in records]


def _usable(present: Sequence[PairRecord], pool: Sequence[Kept]) -> tuple[list[Kept], dict[str, int]]:
    """What of `pool` can be trained on beside `present`, and how many cannot, by reason."""
    prompts = {record.task_id: record.prompt_ids for record in present if record.task_id}
    same = [kept for kept in pool if _put_alike(kept.record, prompts)]
    # Numbered through, because two files have the same line numbers.
    rows = [*present, *(kept.record for kept in same)]
    judged = [JudgedRow.of(replace(record, line=number), {}) for number, record in enumerate(rows)]
    reasons: dict[int, str] = {}
    for finding in collisions(judged):
        reasons.setdefault(finding.line - len(present), str(finding.defect))
    left_out = Counter(reason for place, reason in reasons.items() if place >= 0)
    left_out[REWORDED] = len(pool) - len(same)
    usable = [kept for place, kept in enumerate(same) if place not in reasons]
    return usable, {reason: count for reason, count in sorted(left_out.items()) if count}


def _put_alike(record: PairRecord, prompts: Mapping[str, tuple[int, ...]]) -> bool:
    return prompts.get(record.task_id, record.prompt_ids) == record.prompt_ids
