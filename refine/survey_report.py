"""What a survey of deficiencies comes to: counts by category, tool and place, and what they say in words.

pass@k is `strop.agent.summary.pass_at`, the unbiased estimate of Chen et al. (2021, arXiv 2107.03374). Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.agent.summary import pass_at, quantile
from strop.refine.deficiency import Deficiency, Selection
from strop.refine.partings import Parting, Place
from strop.refine.sample import Outcome
from strop.refine.selection import main_error
from strop.refine.store import Diagnosis
from strop.tools.share import wilson
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind

NO_TOOL = "(no tool)"
"""Stands for the tool of a failure that none can be blamed for: an unreadable answer where prose is right."""
TOKEN_BINS = (0, 1, 4, 8, 16, 32, 64, 128)
"""First index of each group of positions."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One wrong sample."""

    task: Task
    sample: int
    """Index among the task's samples."""
    group: str
    outcome: Outcome
    tools: tuple[str, ...]
    """Tools that it counts against, at least one."""
    parting: Parting | None
    """None where no right answer is known."""

    @property
    def error(self) -> str:
        return str(self.outcome.verdict.error)


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks of one category, or all of them."""

    tasks: int
    """Those that were sampled."""
    samples: int
    passes: int
    pass_at: Mapping[int, float]
    """Chance that one of k samples is right, for k = 1, 2, 4 … and all samples."""
    errors: Mapping[str, int]
    """Wrong samples by error, most frequent first."""
    states: Mapping[str, int]
    """Tasks by `Selection`."""
    perplexities: Sequence[float]
    """Of the golds that were scored, ascending."""

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of pass@1. Samples of one task are not independent: tasks count."""
        return wilson(self.accuracy * self.tasks, self.tasks)

    @property
    def accuracy(self) -> float:
        """pass@1, in [0, 1]."""
        return self.pass_at.get(1, 0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "tasks": self.tasks,
            "samples": self.samples,
            "passes": self.passes,
            "pass_at": {str(k): round(share, 6) for k, share in self.pass_at.items()},
            "interval": [round(end, 6) for end in self.interval],
            "errors": dict(self.errors),
            "states": dict(self.states),
            "perplexity": quantiles(self.perplexities),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A survey, counted."""

    model: str
    whole: Group
    groups: Mapping[str, Group]
    """By category, the one with most wrong samples first."""
    rows: Sequence[Deficiency]
    failures: Sequence[Failure]
    tools: Mapping[str, Mapping[str, int]]
    """Tool → error → wrong samples, the tool with most of them first; one sample may count for several."""
    places: Mapping[str, int]
    """Wrong samples by `Place`, in its order, zeros included."""
    spots: Mapping[str, int]
    """The same by `Parting.description`, most frequent first."""
    tokens: Mapping[int, int]
    """The same by the index of the first wrong id, in `TOKEN_BINS`."""

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "findings": findings(self),
            "all": self.whole.to_json(),
            "by_category": {name: group.to_json() for name, group in self.groups.items()},
            "by_tool": {name: dict(errors) for name, errors in self.tools.items()},
            "by_place": dict(self.places),
            "by_spot": dict(self.spots),
            "by_token": {str(first): count for first, count in self.tokens.items()},
        }


def report_on(model: str, tasks: Sequence[Task], diagnoses: Mapping[str, Diagnosis]) -> Report:
    """Count what was found of `tasks`."""
    failures = [one for task in tasks for one in _failures(task, diagnoses[task.id])]
    grouped: dict[str, list[Deficiency]] = {}
    for task in tasks:
        grouped.setdefault(group_of(task), []).append(diagnoses[task.id].deficiency)
    groups = {name: _group(rows) for name, rows in grouped.items()}
    rows = [diagnoses[task.id].deficiency for task in tasks]
    parted = [one.parting for one in failures if one.parting]
    places = Counter(str(parting.place) for parting in parted)
    tokens = Counter(_bin(parting.token) for parting in parted)
    return Report(
        model=model,
        whole=_group(rows),
        groups=dict(sorted(groups.items(), key=lambda one: one[1].passes - one[1].samples)),
        rows=rows,
        failures=failures,
        tools=_by_tool(failures),
        places={str(place): places[place] for place in Place},
        spots=dict(Counter(parting.description for parting in parted).most_common()),
        tokens={first: tokens[first] for first in TOKEN_BINS},
    )


def group_of(task: Task) -> str:
    """The task's category; without one, how many calls are right."""
    if task.category or task.gold is None:
        return task.category or "uncategorised"
    calls = len(task.gold.calls)
    return "several calls" if calls > 1 else "one call" if calls else "no call"


def _group(rows: Sequence[Deficiency]) -> Group:
    sampled = [row for row in rows if row.samples]
    errors: Counter[str] = Counter()
    for row in sampled:
        errors.update(row.errors)
    least = min((row.samples for row in sampled), default=0)
    ks = sorted({*(1 << power for power in range(least.bit_length())), least} - {0})
    return Group(
        tasks=len(sampled),
        samples=sum(row.samples for row in sampled),
        passes=sum(row.passes for row in sampled),
        pass_at={k: sum(pass_at(row.passes, row.samples, k) for row in sampled) / len(sampled) for k in ks},
        errors=dict(errors.most_common()),
        states=dict(Counter(str(row.selection) for row in rows)),
        perplexities=sorted(row.perplexity for row in rows if row.perplexity is not None),
    )


def _failures(task: Task, diagnosis: Diagnosis) -> Iterable[Failure]:
    parted = {parting.sample: parting for parting in diagnosis.deficiency.partings}
    for index, sample in enumerate(diagnosis.samples):
        if not sample.outcome.verdict.correct:
            tools = blamed(task, sample.outcome) or (NO_TOOL,)
            yield Failure(task, index, group_of(task), sample.outcome, tools, parted.get(index))


def blamed(task: Task, outcome: Outcome) -> tuple[str, ...]:
    """Tools that a wrong answer counts against, each once.

    The tools it did not call and should have, or called and should not have; for what is wrong with a call's
    arguments that call's; for what cannot be read all that should have been called.
    """
    wanted = Counter(call.name for call in (task.gold.calls if task.gold else ()))
    made = Counter(call.name for call in outcome.calls)
    match outcome.verdict.error:
        case ErrorKind.MISSING_CALL | ErrorKind.WRONG_NAME:
            return tuple(wanted - made) or tuple(wanted)
        case ErrorKind.EXTRA_CALL | ErrorKind.SHOULD_NOT_CALL:
            return tuple(made - wanted) or tuple(made)
        case ErrorKind.UNPARSABLE:
            return tuple(wanted)
    # The verdict's sentence begins with the call it speaks of (`strop.tools.judge`).
    named = [name for name in wanted if outcome.verdict.detail.startswith(f"{name}: ")]
    return tuple(named) or tuple(wanted)


def _by_tool(failures: Sequence[Failure]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for failure in failures:
        for tool in failure.tools:
            counts.setdefault(tool, Counter())[failure.error] += 1
    ranked = sorted(counts.items(), key=lambda one: (-one[1].total(), one[0]))
    return {tool: dict(errors.most_common()) for tool, errors in ranked}


def _bin(token: int) -> int:
    return max(first for first in TOKEN_BINS if first <= token)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Tenth, quarter, half, three quarters and nine tenths of ascending values, and how many there are."""
    named = {f"p{percent}": quantile(values, percent / 100) for percent in (10, 25, 50, 75, 90)}
    return {"count": len(values), **named} if values else {"count": 0}


def headline(report: Report) -> str:
    """What to train on, in a line."""
    if not report.whole.samples:
        return "Nothing was sampled"
    if not report.failures:
        return "Nothing to train on: every sample is right"
    error, count = next(iter(report.whole.errors.items()))
    return f"Train on {_said(error)} first: {count / len(report.failures):.0%} of the failures"


def findings(report: Report) -> list[str]:
    """What a person should know, most important first; every figure is counted from the report."""
    if not report.whole.samples:
        return [f"None of {len(report.rows)} tasks could be sampled: {_states(report.whole)}."]
    sentences = [_overall(report.whole)]
    if report.failures:
        sentences += [_by_error(report), *_where(report), _by_tools(report), *_unsolved(report)]
    return [*sentences, *_perplexity(report)]


def advice(report: Report) -> list[str]:
    """A selection for what fails most, as ``--select`` takes it; empty where nothing fails."""
    if not report.failures:
        return []
    error = next(iter(report.whole.errors))
    count = sum(row.selection.searched and main_error(row) == error for row in report.rows)
    return ["band", f"quota:{error}={count}"] if count else ["band"]


def _overall(whole: Group) -> str:
    k = max(whole.pass_at)
    several = f"; one of {k} is in {whole.pass_at[k]:.0%} of the tasks" if k > 1 else ""
    return (
        f"{whole.passes} of {whole.samples} samples are right ({whole.accuracy:.0%}){several}. "
        f"Tasks: {_states(whole)}."
    )


def _states(group: Group) -> str:
    names = {
        Selection.SOLVED: "always solved",
        Selection.BAND: "sometimes solved",
        Selection.UNSOLVED: "never solved",
        Selection.NO_GOLD: "without gold",
        Selection.NO_ROOM: "too long for the context",
    }
    return ", ".join(f"{group.states[key]} {name}" for key, name in names.items() if group.states.get(key))


def _by_error(report: Report) -> str:
    error, count = next(iter(report.whole.errors.items()))
    groups = Counter(failure.group for failure in report.failures if failure.error == error).most_common(3)
    where = ", ".join(f"{there} in {_tasks(group)}" for group, there in groups)
    return f"{count} of {len(report.failures)} failures are {_said(error)}: {where}."


def _where(report: Report) -> Iterable[str]:
    total = sum(report.places.values())
    if not total:
        return
    place = max(report.places, key=lambda name: report.places[name])
    spot, count = next(iter(report.spots.items()))
    often = f" The most frequent spot is {spot} ({count})." if count < report.places[place] else ""
    yield f"{report.places[place]} of {total} wrong answers first go wrong {_PLACES[place]}.{often}"


_PLACES: Mapping[str, str] = {
    Place.NO_CALL: "by making no call",
    Place.CALL: "by calling where prose is right",
    Place.OPENING: "at how many calls they open with",
    Place.NAME: "at a tool's name",
    Place.ARGUMENT: "in an argument",
    Place.FURTHER_CALL: "at the step from one call to the next",
    Place.END: "at their end",
}


def _by_tools(report: Report) -> str:
    tool, errors = next(iter(report.tools.items()))
    count, error = sum(errors.values()), next(iter(errors))
    if len(report.tools) > 3 and count <= 0.1 * len(report.failures):
        return f"No tool stands out: {tool} fails most, in {count} of {len(report.failures)} failures."
    return f"{tool} fails most: {count} wrong samples, {errors[error]} of them {_said(error)}."


def _unsolved(report: Report) -> Iterable[str]:
    never = report.whole.states.get(Selection.UNSOLVED, 0)
    failing = never + report.whole.states.get(Selection.BAND, 0)
    if 2 * never > failing:
        yield (
            f"{never} of {failing} failing tasks were never solved: there, only their gold (--gold unsolved, "
            "the default) or what the search finds can be preferred."
        )


def _perplexity(report: Report) -> Iterable[str]:
    never, other = (
        sorted(
            row.perplexity
            for row in report.rows
            if row.perplexity is not None and (row.selection is Selection.UNSOLVED) is unsolved
        )
        for unsolved in (True, False)
    )
    if never and other:
        yield (
            f"Half of the golds of tasks never solved have a perplexity above {quantile(never, 0.5):.3g}; "
            f"of the other tasks, above {quantile(other, 0.5):.3g}."
        )


def _said(error: str) -> str:
    return error.replace("_", " ")


def _tasks(group: str) -> str:
    return f"tasks with {group}" if group.endswith((" call", " calls")) else f"{_said(group)} tasks"
