"""``strop bench``: how well does a model, an adapter or an endpoint call tools?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    LONGEST,
    AdapterOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    RefineOption,
)
from strop.tools.suites import SUITES

if TYPE_CHECKING:
    from strop.agent.bench import Recall
    from strop.agent.cli.asking import Asked, Player
    from strop.agent.comparison import Report
    from strop.agent.engines.base import Sampling
    from strop.agent.summary import Summary
    from strop.tools.suite import Suite

app = typer.Typer(
    help="Run a benchmark, or compare two runs of one. Without --adapter a model is measured as it came.",
    no_args_is_help=True,
)

OutOption: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results go; resumes there.")
]
CategoriesOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--categories", metavar="A,B", help="Only these categories; default: all but those the docs name."
    ),
]
DataOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Where the suite's data are, in their native form."),
]
LimitOption: TypeAlias = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N tasks of each category.")
]
EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Ask this OpenAI-compatible server's MODEL instead."),
]
KeyOption: TypeAlias = Annotated[
    str | None, typer.Option("--api-key", envvar="STROP_ENDPOINT_KEY", help="Key the endpoint wants.")
]
UserEndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--user-endpoint", metavar="URL", help="Who plays the user of dialogues: a server."),
]
UserModelOption: TypeAlias = Annotated[
    str | None, typer.Option("--user-model", metavar="NAME", help="Its model.")
]
UserKeyOption: TypeAlias = Annotated[
    str | None, typer.Option("--user-key", envvar="STROP_USER_KEY", help="The key it wants.")
]
PromptOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--prompt-mode", help="Write the tools into the endpoint's prompt, and read its calls from text."
    ),
]
TokensOption: TypeAlias = Annotated[
    int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")
]
SamplesOption: TypeAlias = Annotated[
    int, typer.Option("--samples", min=1, help="Answers a task, for pass@k and majority@k.")
]
TemperatureOption: TypeAlias = Annotated[
    float, typer.Option("--temperature", min=0.0, max=2.0, help="0 is greedy.")
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option("--seed", help="Of sampling; the samples of a task count up from it.")
]
CacheOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--cache", metavar="FILE", help="Keep answers here, and take those that are there already."),
]
ContextOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-model-len",
        min=256,
        help=f"Most tokens of prompt and answer together, of a model of this machine; default: {LONGEST}.",
    ),
]
ConcurrencyOption: TypeAlias = Annotated[
    int, typer.Option("--concurrency", min=1, help="Requests in flight.")
]


def _suite_command(name: str) -> Callable[..., None]:
    def run(
        out: OutOption,
        model: ModelArgument = DEFAULT_MODEL,
        adapter: AdapterOption = None,
        endpoint: EndpointOption = None,
        api_key: KeyOption = None,
        prompt_mode: PromptOption = False,
        user_endpoint: UserEndpointOption = None,
        user_model: UserModelOption = None,
        user_key: UserKeyOption = None,
        data: DataOption = None,
        categories: CategoriesOption = "",
        limit: LimitOption = None,
        refine: RefineOption = "off",
        max_tokens: TokensOption = 300,
        samples: SamplesOption = 1,
        temperature: TemperatureOption = 0.0,
        seed: SeedOption = None,
        cache: CacheOption = None,
        concurrency: ConcurrencyOption = 32,
        engine: EngineOption = "auto",
        max_model_len: ContextOption = None,
        engine_arg: EngineFlags = None,
    ) -> None:
        from strop.agent.cli.asking import Asked, Player
        from strop.agent.cli.parsing import names

        suite = SUITES[name].load(names(categories), limit=limit, data=data)
        whole = partial(SUITES[name].load, limit=None, data=data)
        asked = Asked(
            model, adapter, endpoint, api_key, refine, engine, max_model_len, engine_arg, prompt_mode
        )
        player = Player(user_endpoint, user_model, user_key)
        sampling = _sampling(max_tokens, temperature, seed)
        _run(asked, player, suite, whole, out, sampling, samples, cache, concurrency)

    return run


for _name, _source in SUITES.items():
    app.command(_name, help=_source.title)(_suite_command(_name))


@app.command("run")
def run_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Tasks with gold calls (.jsonl), or a suite of your own (.py, see the docs)."
        ),
    ],
    out: OutOption,
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    endpoint: EndpointOption = None,
    api_key: KeyOption = None,
    prompt_mode: PromptOption = False,
    user_endpoint: UserEndpointOption = None,
    user_model: UserModelOption = None,
    user_key: UserKeyOption = None,
    data: DataOption = None,
    categories: CategoriesOption = "",
    limit: LimitOption = None,
    refine: RefineOption = "off",
    max_tokens: TokensOption = 300,
    samples: SamplesOption = 1,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = None,
    cache: CacheOption = None,
    concurrency: ConcurrencyOption = 32,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = None,
    engine_arg: EngineFlags = None,
) -> None:
    """Tasks or a benchmark of your own."""
    from strop.agent.cli.asking import Asked, Player
    from strop.agent.cli.parsing import names

    suite = _suite_of(file, names(categories), limit, data)
    whole = partial(_suite_of, file, limit=None, data=data)
    asked = Asked(model, adapter, endpoint, api_key, refine, engine, max_model_len, engine_arg, prompt_mode)
    player = Player(user_endpoint, user_model, user_key)
    sampling = _sampling(max_tokens, temperature, seed)
    _run(asked, player, suite, whole, out, sampling, samples, cache, concurrency)


@app.command()
def score(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Directory of a model's BFCL results, official layout.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where verdicts, summary and page go.")],
    call_format: Annotated[
        str,
        typer.Option(
            "--tool-format",
            help="What texts are read as first; official: as BFCL reads those of its prompt mode.",
        ),
    ] = "hermes",
) -> None:
    """Score BFCL answers that are there already, whoever generated them. No model is needed."""
    from strop.agent.scoring import score_results

    _show(score_results(results, out, call_format=call_format, meanwhile=_prepare_to_show), out)
    # Else the interpreter looks through thousands of answers before it ends, a thirtieth of the whole.
    gc.freeze()


def _prepare_to_show() -> None:
    """Import what page and table are made with."""
    import rich.console
    import rich.table  # noqa: F401  # for `_show`

    from strop.agent.page import page_template

    page_template()


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Directory of the run to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Directory of the run that is judged.")],
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=1.0, help="p-values below it are a difference.")
    ] = 0.05,
    flips: Annotated[int, typer.Option("--flips", min=0, help="How many flips of each kind to list.")] = 20,
) -> None:
    """Is B different from A, task by task? Exit code 1 where it is worse, 2 where they cannot be compared."""
    from strop.agent.comparison import compare_runs
    from strop.tools.errors import StropError, UsageError

    try:
        report = compare_runs(before, after, alpha=alpha)
    except StropError as error:
        # A gate must not take a run that broke off for a worse one.
        raise UsageError(str(error)) from error
    _show_comparison(report, flips)
    raise typer.Exit(1 if report.regressed else 0)


def _suite_of(file: Path, categories: Sequence[str], limit: int | None, data: Path | None) -> Suite:
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.tools.case import judged_suite
    from strop.tools.errors import UsageError
    from strop.tools.suites import load_file

    if file.suffix == ".py":
        return load_file(file, categories, limit=limit, data=data)
    if data is not None:
        raise UsageError(f"{file}: --data is for suites of your own (.py); tasks are in the file itself")
    tasks = list(read_tasks_aloud(file))
    there = dict.fromkeys(task.category for task in tasks)
    if absent := [name for name in categories if name not in there]:
        raise UsageError(f"{file}: no category {absent[0]!r}; it has {', '.join(there)}")
    return judged_suite(file.name, tasks, limit, categories or None)


def _sampling(max_tokens: int, temperature: float, seed: int | None) -> Sampling:
    from strop.agent.engines.base import Sampling

    return Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed)


def _run(
    asked: Asked,
    player: Player,
    suite: Suite,
    whole: Recall,
    out: Path,
    sampling: Sampling,
    samples: int,
    cache: Path | None,
    concurrency: int,
) -> None:
    import asyncio

    from strop.agent.bench import run_bench
    from strop.agent.cli.asking import opened_answerer, opened_user
    from strop.agent.cli.parsing import require_free
    from strop.tools.episode import needs_user
    from strop.tools.errors import UsageError

    unplayed = next((case.task.id for case in suite.cases if needs_user(case)), None)
    if unplayed is not None and player.endpoint is None:
        raise UsageError(f"task {unplayed!r} has a user for a model to play: --user-endpoint, --user-model")

    require_free(out)

    async def ask() -> Summary:
        async with opened_user(player) as user, opened_answerer(asked, cache) as opened:
            played = {"user": player.label} if unplayed else {}
            return await run_bench(
                suite,
                opened.answerer,
                out,
                model=asked.label,
                refine=asked.refine,
                asked=opened.known_by | played,
                sampling=sampling,
                samples=samples,
                concurrency=concurrency,
                user=user,
                recall=whole,
            )

    _show(asyncio.run(ask()), out)


def _show(summary: Summary, out: Path) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    several = sorted({k for one in summary.categories.values() for k in one.pass_at})
    heads = [f"{what}@{k}" for k in several[1:] for what in ("pass", "majority")]
    table = Table(
        Column("category", overflow="fold"), "correct", "total", "accuracy", "95 % interval", *heads,
        title=f"{summary.suite}: {summary.model}",
    )  # fmt: skip
    for name, one in summary.categories.items():
        low, high = one.interval
        shares = [values.get(k) for k in several[1:] for values in (one.pass_at, one.majority_at)]
        more = ["" if share is None else f"{share:.1%}" for share in shares]
        score = one.score
        table.add_row(
            name,
            str(score.correct),
            str(score.total),
            f"{one.accuracy:.1%}",
            f"{low:.1%} – {high:.1%}",
            *more,
        )
    for overall in summary.overalls:
        table.add_row(overall.name, "", "", f"{overall.accuracy:.1%}", "partial" if overall.partial else "")
    Console(markup=False).print(table)
    official = ", the official layout" if (out / "result").is_dir() else ""
    typer.echo(f"answers, summary{official} and page.html are in {out}")


def _show_comparison(report: Report, flips: int) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("category", overflow="fold"), "tasks", "before", "after", "difference", "gained", "lost", "p"
    )
    for line in report.lines:
        paired = line.paired
        table.add_row(
            line.name, str(paired.total), str(paired.before), str(paired.after), f"{paired.difference:+.1%}",
            str(len(paired.gained)), str(len(paired.lost)), f"{line.p_value:.3g}",
        )  # fmt: skip
    console = Console(markup=False)
    console.print(table)
    for title, ids in (
        ("right before, wrong now", report.all.lost),
        ("wrong before, right now", report.all.gained),
    ):
        if ids and flips:
            console.print(f"{title}: {', '.join(ids[:flips])}{' …' if len(ids) > flips else ''}")
    for note in report.notes:
        console.print(note)
    console.print(report.verdict)
