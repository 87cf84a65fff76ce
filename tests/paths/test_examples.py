"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_search_finds_both_answers_and_prefers_the_right_one() -> None:
    words = [sys.executable, str(EXAMPLES / "03_search_a_scripted_policy.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    full = [line for line in done.stdout.splitlines() if line.startswith("full:")]
    assert len(full) == 1
    chosen, _, rejected = full[0].partition(" over ")
    assert '"c"' in chosen
    assert '"f"' in rejected
