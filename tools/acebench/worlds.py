"""The simulated phone and travel agency of ACEBench's agent tasks, as its repository has them.

A clone's simulators are used, their dispatch is not: it evaluates text. Here a call is a name and arguments,
and the name is looked up among the public methods of the task's own instances. A method that several of them
have (turning on the Wi-Fi) is called on each, and the last one's result is what the call gave. Whoever calls
the code of this module calls code that may run long; `strop.tools.simulators` runs it in a process of its
own, with limits.
"""

from __future__ import annotations

import copy
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

_PHONE = "phone_platform"
_MODULES: Mapping[str, str] = {
    "BaseApi": f"{_PHONE}.base_api",
    "MessageApi": f"{_PHONE}.message",
    "ReminderApi": f"{_PHONE}.reminder",
    "FoodPlatform": f"{_PHONE}.food_services",
    "Travel": "travel",
}
_JUDGED: Mapping[str, tuple[str, ...]] = {
    "BaseApi": ("wifi", "logged_in"),
    "MessageApi": ("inbox",),
    "ReminderApi": ("reminder_list",),
    "FoodPlatform": ("users", "logged_in_users", "orders"),
    "Travel": ("users", "reservations"),
}
"""The attributes that make up an end state."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a world begins."""

    clone: str
    """The repository's directory."""
    kind: str
    """``multi_turn`` or ``multi_step``: each has simulators of its own."""
    classes: tuple[str, ...]
    scenario: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class World:
    """Instances of one task's simulators; they belong to nobody else."""

    def __init__(self, setup: Setup):
        self._instances = {name: _instance(setup, name) for name in setup.classes}
        self._kind = setup.kind
        self._used = False

    def make(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The result of a call as text, as the benchmark shows it to models; errors are results, too."""
        # The benchmark keeps a state after any call in tasks of many steps, after one that works in others.
        self._used = self._used or self._kind == "multi_step"
        methods = [
            method
            for instance in self._instances.values()
            for method in [getattr(instance, name, None)]
            if inspect.ismethod(method) and not name.startswith("_")
        ]
        if not methods:
            return f"Error during execution: there is no function {name!r}"
        try:
            result = [method(**copy.deepcopy(dict(arguments))) for method in methods][-1]
        except Exception as error:  # noqa: BLE001 - whatever a simulator raises is what the call came to
            return f"Error during execution: {error}"
        self._used = True
        return _text(result)

    def told(self) -> list[dict[str, Any]]:
        """The end state, ``[{simulator: attributes}]``; empty where the benchmark keeps none (see `make`)."""
        if not self._used:
            return []
        return [
            {name: {key: value for key, value in vars(instance).items() if key in _JUDGED[name]}}
            for name, instance in self._instances.items()
        ]


def open_world(setup: Mapping[str, Any]) -> World:
    """A world of its own, for `strop.tools.simulators`."""
    return World(Setup(setup["clone"], setup["kind"], tuple(setup["classes"]), setup["scenario"]))


def simulator_file(clone: Path, kind: str, name: str) -> Path | None:
    """Where a clone has a simulator's source; None for a simulator that nobody knows."""
    if name not in _MODULES:
        return None
    module = _MODULES[name].replace(".", "/")
    return clone / "model_inference" / kind / "scenariosen" / f"{module}.py"


def _instance(setup: Setup, name: str) -> Any:
    if setup.clone not in sys.path:
        sys.path.insert(0, setup.clone)
    module = import_module(f"model_inference.{setup.kind}.scenariosen.{_MODULES[name]}")
    instance = getattr(module, name)()
    # Those of the phone are a phone each, whose Wi-Fi and login the scenario sets.
    for part in (name, "BaseApi"):
        instance._load_scenario(copy.deepcopy(setup.scenario.get(part, {})), long_context=False)
    # Defaults that instances share do not leave their world.
    return copy.deepcopy(instance)


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(result)
