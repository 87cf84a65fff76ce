"""What a run keeps of measuring a policy: a folder of benchmark answers, and one of held-out tasks beside."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from strop.agent.rows import read_answers


def copy_measures(known: Path, folders: Sequence[Path]) -> None:
    """Take over what another round measured of the very same policy: its benchmark and held-out folders."""
    when = known.name
    for source, folder in zip((known, known.with_name(f"held_out_{when}")), folders, strict=True):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)


def verdicts(folder: Path) -> dict[str, bool]:
    """Whether each task was answered right, by its id."""
    return {row["id"]: row["correct"] for row in read_answers(folder)}
