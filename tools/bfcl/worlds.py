"""The simulated worlds of BFCL's multi-turn tasks, and what a trajectory through one is worth.

A world is some of the simulators inside ``bfcl-eval`` (a file system, a car, a broker …), each loaded with
the task's scenario. The simulators are used, their dispatch is not: it evaluates text. Here a call is a
name and arguments, the name is looked up among the public methods of the task's own instances, and nothing
else can be reached. Whoever calls the code of this module calls code that may run long;
`strop.tools.simulators` runs it in a process of its own, with limits.

`check` gives the verdict of the official ``multi_turn_checker`` (bfcl-eval 2026.3.23). After every turn in
which the gold acts, all public attributes of the simulators must equal those of a world in which the gold's
calls were made, and every result of the gold's calls in this turn must be among the results so far.
"""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from strop.tools.bfcl.fault import Fault
from strop.tools.spec import ToolCall

MOST_RESULT_CHARACTERS = 1 << 20
"""Of one call; the longest that the gold's calls get is 31,706."""

MEMORIES = "MemoryAPI_"
"""What the names of simulated memories begin with."""

_CALL = re.compile(r"\b([a-zA-Z_]\w*)\s*(?=\()")


@dataclass(frozen=True, slots=True)
class Setup:
    """How a world begins."""

    classes: tuple[str, ...]
    """Names of the simulators."""
    scenario: Mapping[str, Any]
    """By simulator; what is not named begins with its own defaults."""
    long_context: bool = False
    """Whether results are padded to fill a context window."""

    def beginning(self) -> dict[str, bytes]:
        """Each simulator as it begins, pickled: worlds made of it share nothing.

        Some scenarios take the benchmark's own constants in as they are. `copy.deepcopy` walks the 625
        integers of every random state, which took longer than all the calls.
        """
        pickled = {}
        for name in self.classes:
            instance = simulator_of(name)()
            # A memory begins empty; what it would load are snapshots of earlier runs.
            if name not in _backends().STATELESS_CLASSES and not name.startswith(MEMORIES):
                scenario = pickle.loads(pickle.dumps(self.scenario.get(name, {})))
                instance._load_scenario(scenario, long_context=self.long_context)
            pickled[name] = pickle.dumps(instance, pickle.HIGHEST_PROTOCOL)
        return pickled

    def to_json(self) -> dict[str, Any]:
        return {"classes": self.classes, "scenario": self.scenario, "long_context": self.long_context}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Setup:
        return cls(tuple(row["classes"]), row["scenario"], row["long_context"])


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call as Python makes it."""

    name: str
    arguments: Mapping[str, Any]
    positional: tuple[Any, ...] = ()
    """Only the gold has such."""

    @classmethod
    def parse(cls, text: str) -> Invocation:
        """Read the gold's ``name(1, x='a')``; arguments are literals. Raises ValueError for anything else."""
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError(f"no call of a function: {text[:80]!r}")
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        return cls(call.func.id, named, tuple(ast.literal_eval(value) for value in call.args))

    @classmethod
    def of(cls, call: ToolCall) -> Invocation:
        return cls(call.name, call.arguments)


class World:
    """Instances of one task's simulators; they belong to nobody else."""

    def __init__(self, beginning: Mapping[str, bytes], side: str = "model"):
        """Begin as `Setup.beginning` says.

        `side` tells the model's world from the gold's where texts name their instances (see `call`).
        """
        self.instances: dict[str, Any] = {}
        self._methods: dict[str, Callable[..., Any]] = {}
        self._owners: dict[str, str] = {}
        for name, pickled in beginning.items():
            self.instances[name] = instance = pickle.loads(pickled)
            for method in _public_methods(simulator_of(name)):
                self._methods[method] = getattr(instance, method)
                self._owners[method] = f"{side}_{name}_instance"

    def call(self, invocation: Invocation) -> str:
        """The result of one call as text, as the benchmark shows it to models; errors are results, too."""
        method = self._methods.get(invocation.name)
        if method is None:
            name = invocation.name.split(".")[0]
            return f"Error during execution: name {name!r} is not defined"
        try:
            positional, named = self._as_dispatched((invocation.positional, dict(invocation.arguments)))
            result = _text(method(*positional, **named))
        except Exception as error:  # noqa: BLE001 - whatever a simulator raises is what the call came to
            return f"Error during execution: {error}"
        if len(result) > MOST_RESULT_CHARACTERS:
            return f"Error during execution: the result has {len(result)} characters"
        return result

    def make(self, name: str, arguments: Mapping[str, Any]) -> str:
        """As `call`."""
        return self.call(Invocation(name, arguments))

    def told(self) -> str:
        """What a simulated memory shows of itself at the beginning of a conversation."""
        (memory,) = self.instances.values()
        return str(memory._dump_core_memory_to_context())

    def _as_dispatched(self, arguments: Any) -> Any:
        """The arguments as they reach the simulator when the official dispatch evaluates the call's text.

        It writes the instance before every method name that is followed by a bracket, in the middle of
        string arguments, too; with another name for the gold's instance, so that such answers are seldom
        right there.
        """
        text = repr(arguments)
        if not _may_be_rewritten(text):
            return arguments
        dispatched = _CALL.sub(self._with_owner, text)
        return arguments if dispatched == text else ast.literal_eval(dispatched)

    def _with_owner(self, match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{self._owners[name]}.{name}" if name in self._owners else name


def open_world(setup: Mapping[str, Any]) -> World:
    """A world of its own, for `strop.tools.simulators`."""
    return World(Setup.from_json(setup).beginning())


def judge(trajectory: Mapping[str, Any]) -> list[str] | None:
    """`check` for `strop.tools.simulators`: what `trajectory` makes of a fault."""
    gold = [[Invocation.parse(text) for text in texts] for texts in trajectory["gold"]]
    turns = [
        [[Invocation(name, _arguments(given)) for name, given in step] for step in steps]
        for steps in trajectory["turns"]
    ]
    fault = check(Setup.from_json(trajectory["setup"]), gold, turns)
    return None if fault is None else [fault.error_type, fault.subject, fault.detail]


def _arguments(given: Any) -> Mapping[str, Any]:
    """Arguments as they are, or as Python's text of literals."""
    arguments: Mapping[str, Any] = ast.literal_eval(given) if isinstance(given, str) else given
    return arguments


def check(
    setup: Setup, gold: Sequence[Sequence[Invocation]], turns: Sequence[Sequence[Sequence[Invocation]]]
) -> Fault | None:
    """What is wrong with a trajectory; None where it is right.

    `gold` has the calls of each turn, `turns` the calls of each step of each turn. Steps without a call do
    not count.
    """
    if len(turns) != len(gold):
        detail = f"ended in turn {len(turns)} of {len(gold)}"
        return Fault("multi_turn:force_terminated", "", detail)
    answered = [[call for step in steps for call in step] for steps in turns]
    beginning = setup.beginning()
    world, wanted = World(beginning), World(beginning, "gold")
    results: list[str] = []
    for number, (calls, right) in enumerate(zip(answered, gold, strict=True)):
        results += [world.call(call) for call in calls]
        expected = [wanted.call(call) for call in right]
        if not right:
            continue
        if not calls:
            return Fault("multi_turn:empty_turn_model_response", str(number), f"no call in turn {number + 1}")
        fault = _state_fault(world, wanted, number) or _result_fault(results, expected, number)
        if fault is not None:
            return fault
    return None


def comes_to_the_same(turns: Sequence[Sequence[Sequence[Invocation]]], gold: Sequence[Sequence[str]]) -> bool:
    """Whether each turn makes the gold's very calls; a world both do the same to is the same for both."""
    return len(turns) == len(gold) and all(
        _are_the_same([call for step in steps for call in step], [_read(text) for text in texts])
        for steps, texts in zip(turns, gold, strict=True)
    )


@cache
def _read(text: str) -> Invocation:
    """`Invocation.parse`, once for the gold that four categories have in common.

    Only to be looked at: simulators keep the lists they are given and change them.
    """
    return Invocation.parse(text)


def _are_the_same(calls: Sequence[Invocation], gold: Sequence[Invocation]) -> bool:
    """Whether these are the same calls, to the type of every number, and are dispatched as they stand."""
    return len(calls) == len(gold) and all(
        one.name == other.name
        and (text := repr((one.positional, one.arguments))) == repr((other.positional, other.arguments))
        and not _may_be_rewritten(text)
        for one, other in zip(calls, gold, strict=True)
    )


def _may_be_rewritten(arguments: str) -> bool:
    """Whether there is a name before a bracket in the text of (positional, named) arguments.

    Looking for brackets besides those two tuples' comes first: names are looked for much more slowly.
    """
    return arguments.count("(") > 2 and _CALL.search(arguments) is not None


def _state_fault(world: World, wanted: World, turn: int) -> Fault | None:
    for name, gold in wanted.instances.items():
        ours = world.instances[name]
        differing = [
            attribute
            for attribute, value in vars(gold).items()
            if not attribute.startswith("_") and getattr(ours, attribute) != value
        ]
        if differing:
            first = differing[0]
            detail = (
                f"after turn {turn + 1}, {name}.{first} is {_short(getattr(ours, first))}, "
                f"not {_short(getattr(gold, first))}"
            )
            return Fault("multi_turn:instance_state_mismatch", name, detail)
    return None


def _result_fault(results: Sequence[str], expected: Sequence[str], turn: int) -> Fault | None:
    left, missing = list(results), []
    for result in expected:
        if result in left:
            left.remove(result)
        else:
            missing.append(result)
    if not missing:
        return None
    detail = f"in turn {turn + 1} no call gave {_short(missing[0])}"
    return Fault("multi_turn:execution_response_mismatch", str(turn), detail)


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if type(result) is dict:
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


@cache
def _public_methods(simulator: type) -> tuple[str, ...]:
    """Names of what may be called."""
    methods = inspect.getmembers(simulator, predicate=inspect.isfunction)
    return tuple(name for name, _ in methods if not name.startswith("_"))


@cache
def simulator_of(name: str) -> Any:
    """The class of that name."""
    return getattr(import_module(_backends().CLASS_FILE_PATH_MAPPING[name]), name)


@cache
def _backends() -> Any:
    """Where the benchmark keeps its simulators: a module of constants."""
    return import_module("bfcl_eval.constants.executable_backend_config")
