"""What the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """As it should be."""
    WARN = "warn"
    """Works, but slower, or not for everything."""
    FAIL = "fail"
    """Something the user is about to do cannot work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    name: str
    """What was checked, in two or three words."""
    level: Level
    sentence: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
