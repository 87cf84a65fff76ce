"""Which tasks are searched and trained on: strategies over what k samples showed, used one after the other.

A selection is a list of strategies in words, each of which keeps some of what the one before it kept:

    band                    solved by some samples or by none, not by all; `band:solvable` leaves the latter
                            out: solvable and not yet solved (ToolACE-R, arXiv 2504.01400), counted anew
                            each round
    perplexity:0.3          the 30 % whose gold the policy finds least likely, tasks with calls and without
                            apart (iTool, arXiv 2501.09766: the hardest by perplexity)
    quota:missing_call=40   at most so many tasks of each error named, by their most frequent one (ours)
    diverse:100             so many, in turn from each cluster of their questions (Diversify and Conquer,
                            arXiv 2409.11378: k-means over embeddings; its reweighting of clusters by a
                            trained model's scores is not done here)
    random:50               so many, drawn by the seed

Every strategy is a pure function from deficiencies to `Reasons`. What was not sampled is never kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from strop.refine.clusters import Vectors, clusters
from strop.refine.deficiency import Deficiency, Selection
from strop.tools.errors import UsageError
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind

DEFAULT = ("band",)
OTHER = "other"
"""In a quota: errors that it does not name, and tasks without any."""

Reasons: TypeAlias = Mapping[str, str]
"""Task ids that are kept, in the order of the deficiencies, each with why."""
Embed: TypeAlias = Callable[[Sequence[Task]], Vectors]
"""Tasks to vectors, a row each (`strop.agent.embedding`)."""


def band(rows: Sequence[Deficiency], *, solvable: bool = False) -> Reasons:
    """Not solved by all samples; where `solvable`, by at least one."""
    wanted = {Selection.BAND} if solvable else {Selection.BAND, Selection.UNSOLVED}
    return {
        row.task_id: f"solved by {row.passes or 'none'} of {row.samples} samples"
        for row in rows
        if row.selection in wanted
    }


def hardest(rows: Sequence[Deficiency], share: float) -> Reasons:
    """The `share` in (0, 1] with the greatest gold perplexity, of tasks with calls and of those without.

    Each of the two groups is rounded up. Tasks whose perplexity is unknown are not kept. Raises UsageError
    where that is all of them.
    """
    known = [(row.perplexity, row) for row in rows if row.perplexity is not None]
    if rows and not known:
        raise UsageError(
            "select perplexity: no gold was scored: the engine cannot, or no task has a gold it can write"
        )
    kept: dict[str, str] = {}
    for calls in (True, False):
        group = sorted((one for one in known if bool(one[1].tools) is calls), key=lambda one: -one[0])
        what = "with calls" if calls else "without calls"
        for value, row in group[: math.ceil(share * len(group) - 1e-9)]:
            kept[row.task_id] = f"gold perplexity {value:.4g}, of the hardest {share:.0%} {what}"
    return {row.task_id: kept[row.task_id] for row in rows if row.task_id in kept}


def quota(rows: Sequence[Deficiency], quotas: Mapping[str, int], seed: int) -> Reasons:
    """At most so many tasks of each error (`OTHER`: all errors not named), by the task's most frequent one.

    Those come first in which it is most frequent; among equals the seed decides.
    """
    kept: dict[str, str] = {}
    for error, most in quotas.items():
        group = [row for row in rows if _quota_of(row, quotas) == error]
        group.sort(key=lambda row: (-max(row.errors.values(), default=0), _draw(seed, row.task_id)))
        for row in group[:most]:
            kept[row.task_id] = f"{main_error(row) or 'no error'}, one of at most {most}"
    return {row.task_id: kept[row.task_id] for row in rows if row.task_id in kept}


def _quota_of(row: Deficiency, quotas: Mapping[str, int]) -> str:
    error = main_error(row)
    return error if error in quotas else OTHER


def main_error(row: Deficiency) -> str:
    """The most frequent error of a task's samples, the first in `ErrorKind`'s order among equals; or ''."""
    order = {str(kind): place for place, kind in enumerate(ErrorKind)}
    return min(row.errors, key=lambda error: (-row.errors[error], order[error]), default="")


def diverse(rows: Sequence[Deficiency], count: int, vectors: Vectors, seed: int) -> Reasons:
    """`count` of them, one from each cluster in turn, those nearest to its middle first.

    `vectors` has a row for each of `rows`. Larger clusters come first; there are about √count of them.
    """
    groups = clusters(vectors, max(1, math.isqrt(count)), seed)
    order = [(turn, number, place) for number, group in enumerate(groups) for turn, place in enumerate(group)]
    chosen = {place: number for _, number, place in sorted(order)[:count]}
    return {
        row.task_id: f"of cluster {chosen[place] + 1} of {len(groups)}"
        for place, row in enumerate(rows)
        if place in chosen
    }


def drawn(rows: Sequence[Deficiency], count: int, seed: int) -> Reasons:
    """`count` of them by the seed; the same ids, whatever their order."""
    first = sorted(rows, key=lambda row: _draw(seed, row.task_id))[:count]
    chosen = {row.task_id for row in first}
    return {row.task_id: f"drawn with seed {seed}" for row in rows if row.task_id in chosen}


def _draw(seed: int, task_id: str) -> bytes:
    """A number of its own for every task: adding others does not change who comes first."""
    return hashlib.sha256(f"{seed}/{task_id}".encode(errors="surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Strategy:
    """One strategy as it was asked for."""

    text: str
    """As in a configuration: ``quota:missing_call=40``."""
    name: str
    keep: Callable[[Sequence[Deficiency], int, Callable[[], Vectors]], Reasons]
    """(deficiencies, seed, vectors of their tasks when needed) → what is kept, and why."""


def parse_strategy(text: str) -> Strategy:
    """Read ``name`` or ``name:argument``. Raises UsageError naming what is wrong with it."""
    name, colon, argument = text.strip().partition(":")
    reader = _READERS.get(name)
    if reader is None:
        raise UsageError(f"unknown selection {text!r} (want {', '.join(_READERS)})")
    return Strategy(text.strip(), name, reader(text, argument if colon else None))


def parse_selection(texts: Iterable[str]) -> tuple[Strategy, ...]:
    """Read a whole selection. Raises UsageError for none at all, or for a strategy that is there twice."""
    strategies = tuple(map(parse_strategy, texts))
    if not strategies:
        raise UsageError("select is empty: name at least one strategy, e.g. band")
    for place, one in enumerate(strategies):
        if any(one.name == earlier.name for earlier in strategies[:place]):
            hint = "; give its errors in one, with commas" if one.name == "quota" else ""
            raise UsageError(f"select names {one.name} twice{hint}")
    return strategies


def needs_perplexity(texts: Iterable[str]) -> bool:
    """Whether golds must be scored for a selection. Raises UsageError."""
    return any(one.name == "perplexity" for one in parse_selection(texts))


def judges_apart(texts: Iterable[str]) -> bool:
    """Whether a selection keeps or drops each task whatever the others are. Raises UsageError."""
    return all(one.name == "band" for one in parse_selection(texts))


@dataclass(frozen=True, slots=True)
class Step:
    """What one strategy of a selection did."""

    strategy: str
    """As it was asked for."""
    given: int
    """Tasks it had to choose from."""
    kept: int


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection kept."""

    reasons: Mapping[str, tuple[str, ...]]
    """Task ids in the tasks' order, each with one reason from every strategy."""
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """What ``selection.json`` holds."""
        return {
            "steps": [{"strategy": s.strategy, "given": s.given, "kept": s.kept} for s in self.steps],
            "tasks": {task_id: list(why) for task_id, why in self.reasons.items()},
        }


def select_tasks(
    tasks: Sequence[Task],
    rows: Sequence[Deficiency],
    selection: Iterable[str],
    *,
    seed: int,
    embed: Embed | None = None,
) -> Selected:
    """Use the strategies one after the other. `rows` has the deficiency of each of `tasks`, in their order.

    `embed` is called only by ``diverse``, with the tasks that are left then. Raises UsageError where a
    strategy makes no sense, or wants what is not there.
    """
    by_id = {task.id: task for task in tasks}
    left = [row for row in rows if row.samples]
    why: dict[str, tuple[str, ...]] = {row.task_id: () for row in left}
    steps = []
    for strategy in parse_selection(selection):
        asked = list(left)

        def vectors(asked: list[Deficiency] = asked, name: str = strategy.text) -> Vectors:
            if embed is None:
                raise UsageError(f"select {name}: there is no model here to embed questions with")
            return embed([by_id[row.task_id] for row in asked])

        kept = strategy.keep(asked, seed, vectors) if asked else {}
        left = [row for row in asked if row.task_id in kept]
        why = {row.task_id: (*why[row.task_id], kept[row.task_id]) for row in left}
        steps.append(Step(strategy.text, len(asked), len(left)))
    return Selected(why, tuple(steps))


def grew(before: Collection[str], after: Collection[str]) -> bool:
    """Whether a round's selection (task ids) has a task that earlier rounds' had not.

    ToolACE-R (arXiv 2504.01400) goes on as long as training makes more tasks solvable: with `band:solvable`
    these come in as they begin to be solved. What has been solved and left does not count against it.
    """
    return not set(after) <= set(before)


_Keep: TypeAlias = Callable[[Sequence[Deficiency], int, Callable[[], Vectors]], Reasons]


def _read_band(text: str, argument: str | None) -> _Keep:
    if argument not in (None, "solvable"):
        raise UsageError(f"select {text!r}: band takes nothing, or 'solvable' (band:solvable)")
    return lambda rows, _seed, _vectors: band(rows, solvable=argument is not None)


def _read_perplexity(text: str, argument: str | None) -> _Keep:
    try:
        share = float(argument or "")
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UsageError(f"select {text!r}: perplexity takes a share in (0, 1], e.g. perplexity:0.3")
    return lambda rows, _seed, _vectors: hardest(rows, share)


def _read_quota(text: str, argument: str | None) -> _Keep:
    quotas: dict[str, int] = {}
    for part in (argument or "").split(","):
        error, _, number = (piece.strip() for piece in part.partition("="))
        if error not in (*ErrorKind, OTHER):
            known = ", ".join((*ErrorKind, OTHER))
            raise UsageError(f"select {text!r}: {error!r} is no error (want ERROR=N,… of {known})")
        if error in quotas:
            raise UsageError(f"select {text!r}: {error} is there twice")
        quotas[error] = _whole(text, number, "a quota")
    return lambda rows, seed, _vectors: quota(rows, quotas, seed)


def _read_diverse(text: str, argument: str | None) -> _Keep:
    count = _whole(text, argument, "diverse")
    return lambda rows, seed, vectors: diverse(rows, count, vectors(), seed)


def _read_random(text: str, argument: str | None) -> _Keep:
    count = _whole(text, argument, "random")
    return lambda rows, seed, _vectors: drawn(rows, count, seed)


def _whole(text: str, number: str | None, what: str) -> int:
    if not (number and number.isascii() and number.isdigit() and int(number) > 0):
        raise UsageError(f"select {text!r}: {what} takes a whole number above 0")
    return int(number)


_READERS: Mapping[str, Callable[[str, str | None], _Keep]] = {
    "band": _read_band,
    "perplexity": _read_perplexity,
    "quota": _read_quota,
    "diverse": _read_diverse,
    "random": _read_random,
}
