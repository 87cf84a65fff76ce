from __future__ import annotations

import io

from rich.console import Console

from strop.agent.waiting import waiting


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    with waiting(console, "starting the engine") as say:
        say("still starting")
    return out.getvalue()


def test_a_terminal_shows_what_is_waited_for_and_for_how_long() -> None:
    text = shown(terminal=True)
    assert "still starting" in text
    assert "0:00:00" in text


def test_a_log_file_is_spared_the_bar() -> None:
    assert shown(terminal=False) == ""
