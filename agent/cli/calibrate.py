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
    UntrainedOption,
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
    untrained: UntrainedOption = False,
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
    from strop.agent.shipped import default_adapter
    from strop.refine.assurance import write_gate
    from strop.refine.calibrate import best_gate
    from strop.refine.gate_plot import draw, require_drawing
    from strop.refine.trials import run_trials

    require_drawing()
    adapter = adapter or default_adapter(model, untrained=untrained, elsewhere="://" in engine)
    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))
    cases, version = _cases(tasks, limit)

    async def run() -> tuple[list[Trial], str, str]:
        async with load_policy(source) as loaded:
            policy, sampling = loaded.policy, Sampling(max_tokens=max_tokens)
            trials = await run_trials(
                cases, policy, loaded.profile, out, sampling, concurrency, version=version
            )
            return trials, policy.name, policy.weights

    trials, name, weights = asyncio.run(run())
    gate, point = best_gate(trials, tolerance=tolerance, model=name, weights=weights)
    write_gate(out / "gate.json", gate)
    draw(trials, gate, point, out / "gate.png")
    _show(trials, gate, point, out)


def _cases(tasks: str, limit: int | None) -> tuple[list[Case], str]:
    """The cases asked for, and the version of all there are, whatever the limit."""
    if tasks == "bfcl":
        from strop.tools.bfcl.files import find_data, version_of
        from strop.tools.bfcl.single import load_cases
        from strop.tools.bfcl.suite import SINGLE_TURN

        data = find_data()
        cases = [case for category in SINGLE_TURN for case in load_cases(category, data)[:limit]]
        return list(cases), version_of(data, SINGLE_TURN)
    from strop.agent.cli.parsing import read_tasks_aloud
    from strop.tools.case import JudgedCase
    from strop.tools.task import digest

    read = read_tasks_aloud(Path(tasks))
    return [JudgedCase(task) for task in read[:limit]], digest(read)


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
