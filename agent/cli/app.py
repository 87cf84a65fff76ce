"""The application object, and what becomes of errors.

Exit codes: 0 done; 1 failed, with one line that says why and what to do; 2 wrong usage; 130 interrupted, by
Ctrl-C or SIGTERM.
A traceback means a bug of Strop's.
"""

from __future__ import annotations

import errno
import io
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from strop.tools.errors import StropError, UsageError

COMMANDS = {
    "serve": "serve:serve",
    "bench": "bench:app",
    "calibrate": "calibrate:calibrate",
    "data": "data:app",
    "deficiencies": "deficiencies:deficiencies",
    "collect": "collect:collect",
    "pairs": "pairs:app",
    "train": "train:app",
    "adapter": "adapter:app",
    "round": "rounds:round_",
    "report": "rounds:report",
    "models": "models:app",
    "doctor": "doctor:doctor",
}
"""Where each command is: a module beside this one, and its function or its group."""


class Commands(TyperGroup):
    """Commands that are imported when they are asked for; all of them would cost every start 0.05 s."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All of them, in the order of help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name. Where there is none all are loaded, for one like it to be suggested."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    found: Any = getattr(import_module(f"strop.agent.cli.{module}"), attribute)
    holder = typer.Typer()
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return get_group(holder).commands[name]


app = typer.Typer(
    name="strop",
    cls=Commands,
    help="Make a language model better at calling tools: serve it, measure it, train it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
_RESUMES = ("bench", "collect", "deficiencies", "train", "round", "models", "calibrate")
"""Commands that go on where they were."""


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


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line: `words`, or those the process was started with. Exits; never returns."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows a mark
    # What ends a job politely (a scheduler, a container) is heeded like Ctrl-C; the server has its own way.
    signal.signal(signal.SIGTERM, _leave)
    try:
        app(args=words)
    except StropError as error:
        _fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except SystemExit as done:
        # Typer has turned Ctrl-C into this.
        if done.code == INTERRUPTED:
            _fail(_interrupted(sys.argv[1:] if words is None else words), code=INTERRUPTED)
        raise
    except OSError as error:
        # A full disk can strike in any library's write; for a person it is one line, not a traceback.
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"no space left on the disk: {error.filename or 'a file being written'}", code=1)


def _interrupted(words: Sequence[str]) -> str:
    """What is said after Ctrl-C."""
    if words and words[0] in _RESUMES:
        return "interrupted; what was finished is kept, the same command goes on from there"
    return "interrupted"


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
