"""``strop calibrate``: when is a draft sure enough to go unchecked?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
)

if TYPE_CHECKING:
    from strop.refine.assurance import Gate
    from strop.refine.calibrate import Point, Trial
    from strop.tools.suite import Case


def calibrate(
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="FILE.jsonl|bfcl", help="Held-out tasks with gold calls.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where gate.json and the picture go; resumes there.")
    ],
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N tasks (of each BFCL category).")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Accuracy that may be given up for fewer checks.")
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 300,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 32,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 8192,
    engine_arg: EngineFlags = None,
) -> None:
    """Calibrate the gate that skips checks, and draw accuracy over cost. Serve with --gate DIR/gate.json."""
    import asyncio

    from strop.agent.cli.parsing import engine_args
    from strop.agent.engines.base import Sampling
    from strop.agent.loading import PolicySource, load_policy
    from strop.refine.assurance import write_gate
    from strop.refine.calibrate import best_gate
    from strop.refine.gate_plot import draw
    from strop.refine.trials import run_trials

    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))
    cases = _cases(tasks, limit)

    async def run() -> tuple[list[Trial], str, str]:
        async with load_policy(source) as loaded:
            sampling = Sampling(max_tokens=max_tokens)
            trials = await run_trials(cases, loaded.policy, loaded.profile, out, sampling, concurrency)
            return trials, loaded.policy.name, loaded.policy.weights

    trials, name, weights = asyncio.run(run())
    gate, point = best_gate(trials, tolerance=tolerance, model=name, weights=weights)
    write_gate(out / "gate.json", gate)
    draw(trials, gate, point, out / "gate.png")
    _show(trials, gate, point, out)


def _cases(tasks: str, limit: int | None) -> list[Case]:
    if tasks == "bfcl":
        from strop.tools.bfcl.single import load_cases
        from strop.tools.bfcl.suite import SINGLE_TURN

        return [case for category in SINGLE_TURN for case in load_cases(category)[:limit]]
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.tools.case import JudgedCase

    return [JudgedCase(task) for task in read_tasks_aloud(Path(tasks))[:limit]]


def _show(trials: list[Trial], gate: Gate, point: Point, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from strop.refine.calibrate import curve

    every = curve(trials, gate.statistic)
    title = f"{gate.model}, {len(trials)} tasks"
    table = Table("checks", "right", "checked", "tokens an answer", title=title)
    for label, row in (("none that is sure", every[0]), ("all", every[-1]), ("behind the gate", point)):
        table.add_row(label, f"{row.accuracy:.1%}", f"{row.checked:.0%}", f"{row.cost:.1f}")
    Console().print(table)
    typer.echo(f"gate.json ({gate.statistic.value} ≥ {gate.threshold:.4g}), gate.png and trials are in {out}")
