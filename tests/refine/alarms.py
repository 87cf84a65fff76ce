"""A simulated world to search in: an alarm clock, for `strop.refine.simulated.executed`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


class AlarmClock:
    """Alarms by time; ``6 pm`` and ``18:00`` are one."""

    def __init__(self) -> None:
        self._alarms: list[str] = []

    def make(self, name: str, arguments: Mapping[str, Any]) -> str:
        if name == "sleep":
            time.sleep(float(arguments["seconds"]))
        if name != "set_alarm":
            return f"no tool {name}"
        self._alarms.append(_hours(str(arguments["time"])))
        return f"set for {self._alarms[-1]}"

    def told(self) -> list[str]:
        return self._alarms


def _hours(text: str) -> str:
    if not text.endswith("pm"):
        return text
    return f"{int(text.removesuffix('pm')) + 12}:00"


def open_world(setup: Mapping[str, Any]) -> AlarmClock:
    if setup["category"] == "broken":
        raise ValueError("no such clock")
    return AlarmClock()
