"""``strop data``: tasks made up or reworded, what is wrong with a file of them, and other people's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    SeedOption,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from strop.tools.screening import Screening
    from strop.tools.task import Task
    from strop.training.layouts import Numbered

app = typer.Typer(help="Files of tasks: make, reword, check and convert them.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """A group of commands."""


@app.command()
def check(
    train: Annotated[Path, typer.Argument(metavar="TRAIN.jsonl", help="Tasks to train on.")],
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="SUITE[=DIR]",
            help="A benchmark, with its data; may be repeated. Default: every one whose data are here.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Where to write every copy found.")
    ] = None,
    shown: Annotated[int, typer.Option("--show", min=0, help="How many to print.")] = 20,
) -> None:
    """Does TRAIN repeat what benchmarks ask? Exit code 1 where it does, 2 where that cannot be told."""
    from strop.tools.errors import StropError, UsageError
    from strop.tools.files import write_jsonl

    try:
        screening, unread = _screened(train, against, out)
    except StropError as error:
        # A gate must not take a file that cannot be read for one with copies.
        raise UsageError(str(error)) from error
    if out is not None:
        write_jsonl(out, [hit.to_json() for hit in screening.hits])
    _show(screening, shown)
    if unread and not screening.hits:
        raise UsageError(f"{train}: {unread} rows could not be read, and were compared with nothing")
    raise typer.Exit(1 if screening.hits else 0)


def _screened(train: Path, against: list[str] | None, out: Path | None) -> tuple[Screening, int]:
    """What was found, and how many rows could not be read."""
    from strop.agent.cli.parsing import corpora_of, elsewhere, read_most_aloud
    from strop.tools.errors import UsageError
    from strop.tools.screening import Yardsticks
    from strop.training.copies import yardsticks_here

    yardsticks = Yardsticks.of(corpora_of(against), {}) if against else yardsticks_here()
    if out is not None:
        elsewhere(out, train)
    if not yardsticks.compared:
        raise UsageError(f"nothing to compare with: name one by --against ({_reasons(yardsticks.absent)})")
    tasks, unread = read_most_aloud(train)
    return yardsticks.screen(tasks), unread


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A .jsonl, .json or .parquet file, or a data set of the hub."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl|.json", help="Where to write it.")],
    layout: Annotated[
        str | None, typer.Option("--from", metavar="LAYOUT", help="SOURCE's layout; else it is detected.")
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="strop|openai|sharegpt", help="FILE's layout.")
    ] = "strop",
) -> None:
    """Write tasks out of training data in other people's layouts; a row that is none is named and skipped."""
    from strop.agent.cli.parsing import elsewhere
    from strop.tools.errors import DataError, UsageError
    from strop.tools.files import write_json, write_jsonl
    from strop.training.layouts import WRITERS, read_layout

    if to not in WRITERS:
        raise UsageError(f"--to wants {', '.join(WRITERS)}, got {to!r}")
    if out.suffix not in (".jsonl", ".json"):
        raise UsageError(f"--out wants a .jsonl or .json file, got {out}")
    elsewhere(out, source)
    loaded = read_layout(source, layout, watch=_watched)
    for bad in loaded.bad:
        typer.echo(f"{source}:{bad.line}: skipped: {bad.reason}", err=True)
    rows = _written(source, loaded.tasks, to)
    if not rows:
        raise DataError(f"none of its {len(loaded.tasks)} tasks can be written as {to}", path=source)
    if out.suffix == ".json":
        write_json(out, rows)
    else:
        write_jsonl(out, rows)
    how = "" if layout else " (detected)"
    typer.echo(
        f"{source}: {loaded.layout}{how}, tasks: {len(loaded.tasks):,}, skipped rows: {len(loaded.bad):,}; "
        f"{out}: {to}, rows: {len(rows):,}"
    )


@app.command()
def regroup(
    source: Annotated[Path, typer.Argument(metavar="TASKS", help="Tasks with gold calls, in any layout.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write the families.")],
    count: Annotated[int, typer.Option("--n", "-n", "--count", min=1, help="Families, at most.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same families.")] = 0,
) -> None:
    """Put tasks together, a few to the same tools, and beside them some that those tools cannot serve.

    Prompts share their beginning, which training computes once, and what decides is what is asked.
    """
    from strop.agent.cli.parsing import elsewhere, read_tasks_aloud
    from strop.tools.files import write_jsonl
    from strop.tools.task import tasks_to_rows
    from strop.training.regrouping import regroup as regrouped
    from strop.training.regrouping import usable

    elsewhere(out, source)
    given = read_tasks_aloud(source)
    fitting = [task for task in given if usable(task)]
    tasks = regrouped(fitting, count, seed)
    write_jsonl(out, tasks_to_rows(tasks))
    prose = sum(task.category == "irrelevance" for task in tasks)
    typer.echo(
        f"{len(fitting):,} of {len(given):,} tasks can be put to other tools; "
        f"{len(tasks):,} tasks ({prose:,} of them without a call) written to {out}"
    )


@app.command()
def synthesise(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write the tasks.")],
    count: Annotated[int, typer.Option("--n", "-n", "--count", min=1, help="How many tasks.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same tasks.")] = 0,
    categories: Annotated[
        str,
        typer.Option(
            "--categories", metavar="A,B", help="Which; missing_parameters and follow_up have to be named."
        ),
    ] = "",
    levels: Annotated[
        str,
        typer.Option("--levels", metavar="easy,medium,hard", help="Only tasks of these levels; default all."),
    ] = "",
) -> None:
    """Make tasks up whose gold is right by construction; FILE is written whole or not at all."""
    from strop.agent.cli.parsing import names
    from strop.tools.files import write_jsonl
    from strop.tools.task import tasks_to_rows
    from strop.training.difficulty import difficulty
    from strop.training.synth import synthesise as made

    tasks = made(count, seed, names(categories) or None, names(levels))
    write_jsonl(out, tasks_to_rows(tasks))
    found = [str(difficulty(task).level) for task in tasks]
    shares = ", ".join(f"{level} {found.count(level):,}" for level in ("easy", "medium", "hard"))
    typer.echo(f"{len(tasks)} tasks written to {out} ({shares})")


@app.command()
def paraphrase(
    tasks: Annotated[Path, typer.Argument(metavar="TASKS.jsonl", help="Tasks with gold calls.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write what is kept; goes on there.")
    ],
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    rewritings: Annotated[int, typer.Option("--rewritings", min=1, help="Written of every task.")] = 4,
    samples: Annotated[
        int, typer.Option("--samples", "-k", min=1, help="Answers to each, of which one must be right.")
    ] = 3,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many tasks.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Of all samples.")] = 0.8,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")] = 256,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Tasks in flight.")] = 8,
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 4096,
    engine_arg: EngineFlags = None,
) -> None:
    """Have MODEL put questions into other words; what no longer asks for the same is dropped and counted."""
    import asyncio

    from strop.agent.cli.parsing import engine_args, read_tasks_aloud
    from strop.agent.loading import PolicySource, load_policy
    from strop.tools.errors import UsageError
    from strop.training.paraphrase import KEPT, Fate, ParaphraseConfig
    from strop.training.rewritings import require_place, write_paraphrases

    config = ParaphraseConfig(rewritings, samples, temperature, max_tokens, seed)
    require_place(out, tasks)
    read = [task for task in read_tasks_aloud(tasks)[:limit] if _has_question(tasks, task)]
    if not read:
        raise UsageError(f"{tasks} has no task whose last turn is the user's")
    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))

    async def run() -> Counter[Fate]:
        async with load_policy(source) as loaded:
            return await write_paraphrases(read, loaded.policy, config, out, concurrency)

    fates = asyncio.run(run())
    for fate, number in fates.most_common():
        typer.echo(f"{'kept' if fate in KEPT else 'dropped'}, {fate}: {number:,}")
    kept = sum(fates[fate] for fate in KEPT)
    typer.echo(f"{kept:,} of {fates.total():,} rewritings of {len(read):,} tasks kept, in {out}")


def _has_question(source: Path, task: Task) -> bool:
    """Whether there is something to reword; a task without is named."""
    from strop.training.paraphrase import has_question

    if has_question(task):
        return True
    typer.echo(
        f"{source}: task {task.id!r} left out: its last turn is not the user's, or says nothing", err=True
    )
    return False


def _watched(rows: list[Numbered]) -> Iterable[Numbered]:
    """`rows`, with a bar for whoever waits at a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(rows, "reading", console=console, transient=True, disable=not console.is_terminal)


def _written(source: str, tasks: list[tuple[int, Task]], to: str) -> list[Mapping[str, Any]]:
    """Rows of what the layout can hold; what it cannot is named."""
    from strop.training.layouts import written

    done = written(tasks, to)
    for line, name, reason in done.refused:
        typer.echo(f"{source}:{line}: task {name!r} not written: {reason}", err=True)
    return done.rows


def _show(screening: Screening, shown: int) -> None:
    from rich.console import Console
    from rich.table import Table

    if screening.hits:
        table = Table("benchmark", "what", "copy", "texts", "tasks")
        for kind, texts, tasks in screening.counts():
            table.add_row(*kind, f"{texts:,}", f"{tasks:,}")
        Console().print(table)
    for hit in screening.hits[:shown]:
        alike = "" if hit.similarity is None else f" ({hit.similarity:.2f})"
        typer.echo(f"{hit.task}: {hit.what}, {hit.copy}{alike} of {hit.suite} {hit.case}: {hit.text}")
    for suite, one in screening.compared.items():
        typer.echo(f"compared with {suite}: {one.questions:,} questions, data {one.version}")
    for line in screening.unread():
        typer.echo(f"not compared with {line}")
    typer.echo(
        f"{screening.repeating:,} of {screening.tasks:,} tasks repeat something of a benchmark"
        if screening.hits
        else f"no copies found in {screening.tasks:,} tasks"
    )


def _reasons(absent: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in absent.items())
