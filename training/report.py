"""The report of a run: one HTML page without outside requests, whatever the run has come to so far.

It says what happened whichever way it went: a score that fell is said to have fallen, a difference that
chance could have made is said to be one. All text of models and files is escaped by the template engine.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

from strop.tools.bfcl.suite import load_suite
from strop.tools.errors import StropError, UsageError
from strop.tools.files import write_text
from strop.tools.verdict import ErrorKind
from strop.training.run_view import (
    BenchView,
    RoundView,
    Row,
    RunView,
    ScoreLine,
    overall,
    question_of,
    read_run,
    score_lines,
)

PAIRS_SHOWN = 8
FLIPS_SHOWN = 40
LONGEST_TEXT = 1200
"""Characters of a model's text shown before it is cut."""
SIGNIFICANT = 0.05
"""p-values below this are called a difference."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The run in a sentence."""

    tone: str
    """``up``, ``down``, ``flat`` or ``open``: how the page colours it."""
    text: str
    remark: str
    """What to make of it; may be empty."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A task that turned from right to wrong."""

    id: str
    category: str
    question: str
    """Empty where it is not known here."""
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """Errors of one category's samples."""

    category: str
    tasks: int
    samples: int
    passes: int
    searched: int
    """Tasks in the band or unsolved."""
    errors: Mapping[str, int]

    def heat(self, error: str) -> int:
        """Share of the samples with this error, in percent."""
        return round(100 * self.errors.get(error, 0) / self.samples) if self.samples else 0


def render_report(run_dir: Path) -> Path:
    """Write RUN_DIR/report.html and return its path; stages not run yet are said to be missing.

    Raises UsageError where there is no such directory, RunError where the page cannot be written.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a run directory: give the one a 'strop round' wrote to")
    page = run_dir / "report.html"
    write_text(page, render(read_run(run_dir)))
    return page


def render(run: RunView) -> str:
    """The page's HTML."""
    from jinja2 import Environment

    from strop.training.charts import accuracy_chart, curve

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": _percent,
        "clip": _clip,
        "duration": _duration,
        "pretty": _pretty,
        "tojson_line": _line_of,
        "chance": _chance,
        "signed": _signed,
    }
    environment.globals |= {"accuracy_chart": accuracy_chart, "curve": curve}
    template = environment.from_string((files("strop.training") / "report.html.j2").read_text("utf-8"))
    return template.render(
        run=run,
        headline=headline(run),
        rounds=[_round(run, one) for one in run.rounds],
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        started=_clock(run.events[0]) if run.events else "",
        total_seconds=sum(stage.seconds or 0.0 for stage in run.stages),
        toml=to_toml(run.config),
        bench=_bench_command(run),
    )


def headline(run: RunView) -> Headline:
    """First round's score before against the last accepted round's after, else the last round's."""
    measured = [one for one in run.rounds if one.before.exists and one.after.exists]
    if not measured:
        return Headline("open", "Not finished: there is no score after training yet", _so_far(run))
    accepted = [one for one in measured if one.decision.get("accepted")]
    last = (accepted or measured)[-1]
    line = overall(measured[0].before, last.after)
    if line is None or line.before is None or line.after is None:
        return Headline("open", "Not finished: nothing was measured", "")
    return _verdict(line, last)


def _verdict(line: ScoreLine, last: RoundView) -> Headline:
    assert line.before is not None
    assert line.after is not None
    change = 100 * (line.after.accuracy - line.before.accuracy)
    moved = "rose" if change > 0 else "fell" if change < 0 else "stayed the same,"
    scores = f"from {_percent(line.before.accuracy)} to {_percent(line.after.accuracy)}"
    text = f"Benchmark accuracy {moved} {scores}"
    p = line.paired.p_value if line.paired else 1.0
    remark = f"{_signed(change)} points over {line.after.total} benchmark tasks, p {_chance(p, equals='= ')}."
    if p >= SIGNIFICANT:
        remark += " Chance alone could have made a difference of this size."
    if not last.decision:
        remark += " No decision was made yet."
    elif not last.decision.get("accepted"):
        remark += " The trained policy was refused: the one before it stays in place."
    # A rise is coloured as one only where it is more than chance; a fall is never hidden.
    tone = "down" if change < 0 else "up" if change > 0 and p < SIGNIFICANT else "flat"
    return Headline(tone, text, remark)


def _so_far(run: RunView) -> str:
    if not run.events:
        return "Nothing has been run in this directory yet."
    failed = [stage for stage in run.stages if stage.failure]
    if failed:
        return f"Stage {failed[-1].name} failed: {failed[-1].failure}"
    done = [stage.name for stage in run.stages if stage.seconds is not None]
    return f"Stages done so far: {', '.join(done) or 'none'}."


def _round(run: RunView, one: RoundView) -> dict[str, Any]:
    """What the template shows of a round."""
    return {
        "view": one,
        "suite": str(one.before.summary.get("suite") or one.after.summary.get("suite") or "benchmark"),
        "lines": score_lines(one.before, one.after),
        "held": score_lines(one.held_before, one.held_after),
        "reason": _sentence(str(one.decision.get("reason", "no reason was recorded"))),
        "flips": [
            *_flips(one.before, one.after, _benchmark_questions(run, one)),
            *_flips(
                one.held_before, one.held_after, {key: question_of(row) for key, row in run.tasks.items()}
            ),
        ][:FLIPS_SHOWN],
        "heat": (heat := heat_rows(one.deficiencies)),
        "errors": [kind for kind in ErrorKind if any(row.errors.get(kind) for row in heat)],
        "kinds": [
            (title, _counted(one.pairs, key))
            for title, key in (
                ("Kind", "kind"),
                ("Category", "category"),
                ("Rejected for", "rejected_verdict"),
                ("Chosen from", "source"),
            )
        ],
        "examples": [_example(run, pair) for pair in pick_examples(one.pairs, PAIRS_SHOWN)],
    }


def heat_rows(deficiencies: Iterable[Row]) -> list[HeatRow]:
    """Deficiency rows added up by category."""
    groups: dict[str, list[Row]] = {}
    for row in deficiencies:
        groups.setdefault(str(row.get("category") or "uncategorised"), []).append(row)
    return [
        HeatRow(
            category=name,
            tasks=len(rows),
            samples=sum(row.get("samples", 0) for row in rows),
            passes=sum(row.get("passes", 0) for row in rows),
            searched=sum(row.get("selection") in ("band", "unsolved") for row in rows),
            errors=sum((Counter(row.get("errors", {})) for row in rows), Counter()),
        )
        for name, rows in sorted(groups.items())
    ]


def pick_examples(pairs: Sequence[Row], count: int) -> list[Row]:
    """Up to `count` pairs, in turn from every category and error, so that none crowds out another."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for pair in pairs:
        error = str(pair.get("evidence", {}).get("rejected_verdict", ""))
        groups.setdefault((str(pair.get("category", "")), error), []).append(pair)
    turns: Iterator[Row | None] = (pair for turn in zip_longest(*groups.values()) for pair in turn)
    return [pair for pair in turns if pair is not None][:count]


def _example(run: RunView, pair: Row) -> dict[str, Any]:
    task = run.tasks.get(str(pair.get("task_id")), {})
    return {
        "pair": pair,
        "evidence": pair.get("evidence", {}),
        "question": question_of(task),
        "tools": [tool.get("function", tool).get("name", "?") for tool in task.get("tools", ())],
        "shared": len(pair.get("prefix_ids", ())),
    }


def _flips(before: BenchView, after: BenchView, questions: Mapping[str, str]) -> list[Flip]:
    first = {str(row.get("id")): row for row in before.answers}
    return [
        Flip(
            id=str(row["id"]),
            category=str(row.get("category", "")),
            question=questions.get(str(row["id"]), ""),
            before=_answer(first[str(row["id"])]),
            after=_answer(row),
            reason=f"{row.get('error') or 'wrong'}".replace("_", " ")
            + f": {row.get('detail') or 'no detail'}",
        )
        for row in after.answers
        if not row.get("correct") and first.get(str(row.get("id")), {}).get("correct")
    ]


def _answer(row: Row) -> str:
    """What the model wrote, else what was read of it."""
    calls = "\n".join(json.dumps(call, ensure_ascii=False) for call in row.get("calls") or ())
    return str(row.get("text") or calls or row.get("content") or "(nothing)")


def _benchmark_questions(run: RunView, one: RoundView) -> dict[str, str]:
    """Questions of the BFCL tasks asked, where its data are installed: a run directory has none."""
    names = [*one.before.categories, *one.after.categories]
    if one.before.summary.get("suite") != "bfcl" or not names:
        return {}
    try:
        suite = load_suite(tuple(dict.fromkeys(names)))
    except StropError as error:
        run.notes.append(f"questions of the benchmark cannot be shown: {error}")
        return {}
    return {case.task.id: question_of({"messages": case.task.messages}) for case in suite.cases}


def _counted(pairs: Iterable[Row], key: str) -> list[tuple[str, int]]:
    counts = Counter(str(pair.get(key) or pair.get("evidence", {}).get(key) or "unknown") for pair in pairs)
    return counts.most_common()


def _bench_command(run: RunView) -> str:
    bench = run.config.get("bench", {})
    categories = ",".join(bench.get("categories", ()))
    limit = f" --limit {bench['limit']}" if bench.get("limit") else ""
    return f"strop bench bfcl {run.config.get('model', 'MODEL')} --categories {categories or 'all'}{limit}"


def to_toml(table: Mapping[str, Any], name: str = "") -> str:
    """A configuration as TOML text that `strop round` reads; None is left out, as TOML has no such value."""
    flat = {
        key: value for key, value in table.items() if value is not None and not isinstance(value, Mapping)
    }
    lines = [f"[{name}]"] if name and (flat or not table) else []
    # JSON's values are TOML's, but for one control character that TOML wants escaped.
    lines += [
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for key, value in flat.items()
    ]
    blocks = ["\n".join(lines)] if lines else []
    for key, value in table.items():
        if isinstance(value, Mapping):
            blocks.append(to_toml(value, f"{name}.{key}" if name else key))
    return "\n\n".join(block for block in blocks if block)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _chance(p: float, equals: str = "") -> str:
    return f"{equals}{p:.2g}" if p >= 0.0001 else "< 0.0001"


def _sentence(reason: str) -> str:
    """A decision's reason without the verdict that stands above it."""
    text = reason.removeprefix("accepted: ").removeprefix("refused: ")
    return f"{text[:1].upper()}{text[1:]}."


def _signed(points: float) -> str:
    """With one decimal and a real minus sign."""
    return f"{points:+.1f}".replace("-", "−") if round(points, 1) else "0.0"


def _clip(text: object, longest: int = LONGEST_TEXT) -> str:
    whole = str(text)
    return whole if len(whole) <= longest else f"{whole[:longest]}… ({len(whole) - longest} more characters)"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _line_of(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def _clock(event: Row) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(float(event.get("time") or 0)))
