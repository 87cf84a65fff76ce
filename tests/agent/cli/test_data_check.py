"""``strop data check`` as a gate: what it did not read, it does not call clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from strop.agent.cli.data import app
from strop.tools.errors import UsageError

ASKED = "Please find me the cheapest hotel in the old town for two nights."
ENTRY = {
    "system": "1. Name: f\nDescription: d\nParameters: {}",
    "user": ASKED,
    "answer": {"name": "f", "parameters": {}},
}


def task(question: str, called: str) -> str:
    return json.dumps(
        {
            "id": question[:5],
            "messages": [{"role": "user", "content": question}],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "calls": [{"name": called, "arguments": {}}],
        }
    )


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([task("Sing me a song about the sea.", "f")], 0),
        ([task(ASKED, "not_offered"), task("Sing me a song about the sea.", "f")], 2),
        ([task(ASKED, "f"), task(ASKED, "not_offered")], 1),
    ],
)
def test_the_exit_code_says_what_was_compared(rows: list[str], code: int, tmp_path: Path) -> None:
    for level in (1, 2, 3):
        (tmp_path / f"x_level{level}.json").write_text(json.dumps([ENTRY]))
    train = tmp_path / "train.jsonl"
    train.write_text("".join(f"{row}\n" for row in rows))
    result = CliRunner().invoke(app, ["check", str(train), "--against", f"apibank={tmp_path}"])
    if code == 2:
        assert isinstance(result.exception, UsageError)
        assert "1 rows could not be read" in str(result.exception)
    else:
        assert result.exit_code == code, result.output
