"""The application object, and what becomes of errors.

Exit codes: 0 done; 1 failed, with one line that says why and what to do; 2 wrong usage; 130 interrupted, by
Ctrl-C or SIGTERM.
A traceback means a bug of Strop's.
"""

from __future__ import annotations

import errno
import signal
import sys

import typer

from strop.agent.cli import (
    adapter,
    bench,
    calibrate,
    collect,
    data,
    deficiencies,
    doctor,
    models,
    pairs,
    rounds,
    serve,
    train,
)
from strop.tools.errors import StropError, UsageError

app = typer.Typer(
    name="strop",
    help="Make a language model better at calling tools: serve it, measure it, train it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(serve.serve)
app.add_typer(bench.app, name="bench")
app.command()(calibrate.calibrate)
app.add_typer(data.app, name="data")
app.command()(deficiencies.deficiencies)
app.command()(collect.collect)
app.add_typer(pairs.app, name="pairs")
app.add_typer(train.app, name="train")
app.add_typer(adapter.app, name="adapter")
app.command("round")(rounds.round_)
app.command()(rounds.report)
app.add_typer(models.app, name="models")
app.command()(doctor.doctor)

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"strop {version('strop')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line. Exits; never returns."""
    # What ends a job politely (a scheduler, a container) is heeded like Ctrl-C; the server has its own way.
    signal.signal(signal.SIGTERM, _leave)
    try:
        app()
    except StropError as error:
        _fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except SystemExit as done:
        # Typer has turned Ctrl-C into this.
        if done.code == INTERRUPTED:
            _fail(
                "interrupted; what was finished is kept, the same command goes on from there",
                code=INTERRUPTED,
            )
        raise
    except OSError as error:
        # A full disk can strike in any library's write; for a person it is one line, not a traceback.
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"no space left on the disk: {error.filename or 'a file being written'}", code=1)


def _leave(*_: object) -> None:
    """End as by Ctrl-C, also where that is ignored: shells start background jobs so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _fail(message: str, *, code: int) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"[red]error:[/red] {_escaped(message)}", soft_wrap=True, highlight=False)
    sys.exit(code)


def _escaped(message: str) -> str:
    from rich.markup import escape

    return escape(message)
