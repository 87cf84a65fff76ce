"""``strop pairs``: what is in a file of preference pairs, and may it be trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strop.agent.cli.options import SeedOption, WorldsOption

if TYPE_CHECKING:
    from rich.console import Console

    from strop.refine.audit import Audit

app = typer.Typer(help="Look into preference pairs and the trees they come from.", no_args_is_help=True)


@app.command()
def check(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS.jsonl|DIR", help="Pairs, or what `strop collect` wrote.")
    ],
    tasks: Annotated[
        Path | None,
        typer.Option("--tasks", metavar="FILE.jsonl", help="Their tasks: whole answers are judged anew."),
    ] = None,
    worlds: WorldsOption = "",
    deficiencies: Annotated[
        Path | None,
        typer.Option("--deficiencies", metavar="FILE.jsonl", help="What samples get wrong; default DIR's."),
    ] = None,
    max_length: Annotated[
        int, typer.Option("--max-length", min=2, help="Most ids of context and continuation together.")
    ] = 2048,
    min_margin: Annotated[
        float, typer.Option("--min-margin", min=0, max=1, help="Least difference of the two values.")
    ] = 0.1,
    allow: Annotated[
        float, typer.Option("--allow", min=0, max=1, help="Most rows with any one defect, as a share.")
    ] = 0.0,
    max_bias: Annotated[
        float, typer.Option("--max-bias", min=0, max=1, help="Most pairs that prefer the longer side.")
    ] = 0.9,
    max_near: Annotated[
        float, typer.Option("--max-near", min=0, max=1, help="Most pairs that are nearly identical.")
    ] = 0.9,
    max_far: Annotated[
        float, typer.Option("--max-far", min=0, max=1, help="Most pairs that have nothing in common.")
    ] = 0.9,
    max_drift: Annotated[
        float, typer.Option("--max-drift", min=0, max=1, help="Most distance from the deficiencies' errors.")
    ] = 0.5,
    end_id: Annotated[
        list[int] | None,
        typer.Option("--end-id", help="Ends a turn; may be repeated. Default: what samples end by."),
    ] = None,
    write_clean: Annotated[
        Path | None,
        typer.Option("--write-clean", metavar="FILE.jsonl", help="Where to write the rows without a defect."),
    ] = None,
    shown: Annotated[int, typer.Option("--show", min=0, help="How many rows to print of a defect.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """What would these pairs teach? Exit code 1 where a threshold is broken."""
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.refine.audit import Thresholds, audit_file
    from strop.refine.record import pairs_file
    from strop.tools.files import json_text

    thresholds = Thresholds(
        allow=allow,
        min_margin=min_margin,
        max_length=max_length,
        max_bias=max_bias,
        max_near=max_near,
        max_far=max_far,
        max_drift=max_drift,
    )
    known = {task.id: task for task in read_tasks_aloud(tasks)} if tasks else None
    found = audit_file(
        pairs, thresholds, tasks=known, deficiencies=deficiencies, end_ids=end_id or (), worlds=worlds
    )
    kept = None if write_clean is None else _write_clean(pairs_file(pairs), write_clean, found)
    if as_json:
        typer.echo(json_text(found.to_json(), indent=2))
    else:
        _show(found, shown)
    if kept is not None:
        typer.echo(f"{kept} of {found.rows} rows written to {write_clean}", err=as_json)
    raise typer.Exit(0 if found.accepted else 1)


def _write_clean(source: Path, target: Path, found: Audit) -> int:
    """The lines without a defect, as they stand; returns how many."""
    from strop.refine.record import lines_of
    from strop.tools.errors import UsageError
    from strop.tools.files import write_text

    if target.resolve() == source.resolve():
        raise UsageError(f"--write-clean {target} is the file that is checked: name another")
    lines = [line for number, line in lines_of(source) if number not in found.bad_lines]
    write_text(target, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _show(found: Audit, shown: int) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    _show_measures(found, console)
    if found.drift is not None:
        _show_drift(found, console)
    for objection in found.objections:
        console.print(f"[red]refused[/red] {objection.reason}", soft_wrap=True)
        for finding in objection.findings[:shown]:
            text = f"  line {finding.line} {finding.id}: {finding.detail}"
            console.print(text, markup=False, soft_wrap=True)
        if len(objection.findings) > shown:
            console.print(f"  … {len(objection.findings) - shown} more", style="dim")
    if found.accepted:
        noted = ", ".join(f"{count} {name}" for name, count in found.defects.items())
        console.print(f"[green]accepted[/green] {found.rows} pairs{f' ({noted})' if noted else ''}")


def _show_measures(found: Audit, console: Console) -> None:
    from rich.table import Table

    spreads = Table("over pairs", "of", "least", "10 %", "median", "90 %", "most")
    for name, spread in (("margin", found.margins), ("edits / ids", found.distances["all"].spread)):
        places = (spread.quantiles.get(f"p{place}") for place in (0, 10, 50, 90, 100))
        spreads.add_row(name, str(spread.count), *("–" if one is None else f"{one:.2f}" for one in places))
    console.print(spreads)
    lengths = Table("pairs", "of", "chosen longer", "shorter", "mean ids", "median ids", "value ~ length")
    for name, one in found.lengths.items():
        correlation = "–" if one.correlation is None else f"{one.correlation:+.2f}"
        differences = (f"{one.mean_difference:+.1f}", f"{one.median_difference:+.1f}")
        counts = (one.pairs, one.longer, one.shorter)
        lengths.add_row(name, *map(str, counts), *differences, correlation)
    console.print(lengths)
    apart, cut = found.distances["all"], found.cut
    ends = ", ".join(map(str, found.end_ids)) or "not known, so not looked for"
    console.print(
        f"{apart.near} pairs nearly the same, {apart.far} with nothing in common; "
        f"{cut.rows} rows longer than {cut.max_length} ids (a cut takes {cut.ids}, {cut.loss_ids} of them "
        "trained on); "
        f"{found.rejudged} of {found.rows} judged anew; end-of-turn ids: {ends}",
        soft_wrap=True,
    )


def _show_drift(found: Audit, console: Console) -> None:
    from rich.table import Table

    drift = found.drift
    assert drift is not None
    table = Table("error", "pairs", "of pairs", "of wrong samples", "over-represented")
    for name, one in drift.errors.items():
        ratio = "only in pairs" if one.ratio is None else f"{one.ratio:.2f} ×"
        table.add_row(name, str(one.pairs), f"{one.pair_share:.0%}", f"{one.sample_share:.0%}", ratio)
    console.print(table)
    console.print(f"total variation {drift.variation:.2f}, by chance {drift.chance:.2f}")


@app.command()
def show(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="What `strop collect` wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page; default DIR/trees.html.")
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", metavar="FILE.jsonl", help="The tasks: shows question and gold.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Spells the trees' token ids; default: the collection's own."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Most trees on the page, those with pairs first.")
    ] = 500,
) -> None:
    """Write a page of the collection's trees, with the paths of its pairs."""
    from strop.agent.chat import ChatTemplate
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.agent.models import ModelStore
    from strop.refine.store import CollectionDir
    from strop.refine.tree_page import gallery, write_gallery
    from strop.tools.errors import ModelError

    name = model or CollectionDir(collection).model()
    try:
        template = ChatTemplate.load(ModelStore().resolve(name).path)
    except ModelError as error:
        raise ModelError(f"{error}; --model says whose tokenizer spells the trees") from error
    known = {task.id: task for task in read_tasks_aloud(tasks)} if tasks else {}
    page = out or collection / "trees.html"
    shown = gallery(collection, template, known, model=name, limit=limit)
    write_gallery(page, shown)
    typer.echo(f"{len(shown.trees)} trees, {shown.totals['nodes']:,} nodes in all: {page}")


@app.command()
def mix(
    now: Annotated[Path, typer.Argument(metavar="PAIRS.jsonl|DIR", help="All of these are written.")],
    earlier: Annotated[
        list[Path], typer.Argument(metavar="EARLIER …", help="Of earlier rounds, the oldest first: sampled.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write the rows.")],
    share: Annotated[
        float, typer.Option("--share", min=0, max=0.99, help="Of all rows, how many are to be earlier ones.")
    ] = 0.3,
    seed: SeedOption = 0,
) -> None:
    """Pairs with a sample of earlier ones among them, as a round with a table "replay" trains on."""
    from strop.training import replay

    mixed = replay.mix(now, earlier, share, seed, out)
    for reason, count in mixed.left_out.items():
        typer.echo(f"{count} earlier pairs left out: {reason}", err=True)
    typer.echo(f"{len(mixed.pairs)} earlier pairs among them ({mixed.wanted} wanted): {out}")
