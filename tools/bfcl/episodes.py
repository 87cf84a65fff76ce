"""BFCL's multi-turn tasks: a conversation in which tools are really called, in a simulated world.

The user's turns are fixed. In each the model calls tools, sees their results and calls again, until it
answers without a call; then the next turn begins. In some tasks a tool is missing until a later turn, which
then brings it, or an argument is not said until later; the gold of the turn before is to do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import INSTALL, answers_of, question_file, rows_of, tool_folder
from strop.tools.bfcl.schema import tool_of
from strop.tools.bfcl.worlds import Invocation, Setup, comes_to_the_same
from strop.tools.episode import Played, Turn
from strop.tools.errors import MissingDataError, StepLimitError
from strop.tools.files import is_json
from strop.tools.simulators import STEP_SECONDS, Simulators
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict

MULTI_TURN: tuple[str, ...] = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)
"""The categories whose tasks are episodes."""

WORLDS = "strop.tools.bfcl.worlds"

MOST_STEPS = 21
"""In one turn; a model that still calls then is broken off, and with it the episode."""


@dataclass(frozen=True, slots=True)
class BfclEpisode:
    """A multi-turn task, the world it begins in and its gold."""

    task: Task
    """The first turn, as a task without gold."""
    turns: tuple[Turn, ...]
    setup: Setup
    gold: tuple[tuple[str, ...], ...]
    """Of each turn, the calls as the benchmark writes them: ``cd(folder='document')``."""
    simulators: Simulators = field(repr=False, compare=False)

    @property
    def most_steps(self) -> int:
        return MOST_STEPS

    def step(self, run: str, calls: Sequence[ToolCall]) -> list[str]:
        """Results of `calls` in the world of the run of that name. Raises StepLimitError."""
        return self.simulators.step(f"{self.task.id} {run}", self.setup, calls)

    def close(self, run: str) -> None:
        """Forget the run's world."""
        self.simulators.close_world(f"{self.task.id} {run}")

    def fault(self, turns: Played) -> Fault | None:
        """What the official checker finds wrong with the calls of each step of each turn.

        The gold's own calls are right without a world.
        """
        calls = [[[Invocation.of(call) for call in step] for step in steps] for steps in turns]
        if comes_to_the_same(calls, self.gold):
            return None
        rows = [[[_row(call) for call in step] for step in steps] for steps in turns]
        fault = self.simulators.judge({"setup": self.setup.to_json(), "gold": self.gold, "turns": rows})
        return None if fault is None else Fault(*fault)

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """The official verdict, which does not ask what was said.

        A trajectory that cannot be judged within the simulators' limits is wrong.
        """
        del said
        try:
            fault = self.fault(turns)
        except StepLimitError as error:
            return Verdict.wrong(ErrorKind.UNFINISHED, str(error))
        return Verdict.right() if fault is None else fault.verdict()

    def gold_lines(self) -> Sequence[str]:
        """Turn by turn."""
        return [f"{turn}: {', '.join(calls) or 'no call'}" for turn, calls in enumerate(self.gold, 1)]


def _row(call: ToolCall) -> list[Any]:
    """A call for `strop.tools.bfcl.worlds.judge`: its arguments as Python has them where JSON would not."""
    return [call.name, dict(call.arguments) if is_json(call.arguments) else repr(dict(call.arguments))]


def new_simulators(step_seconds: float = STEP_SECONDS) -> Simulators:
    """A child process for the benchmark's worlds. The slowest import comes before the clock runs."""
    return Simulators(WORLDS, step_seconds, preload=("mpmath",))


def load_episodes(directory: Path, category: str, simulators: Simulators) -> list[BfclEpisode]:
    """Episodes of a category in their file's order. Raises DataError where a file is missing or malformed."""
    wanted = ("id", "question", "initial_config", "involved_classes")
    questions = rows_of(question_file(directory, category), *wanted)
    gold = answers_of(directory, category, questions)
    documents = documents_of(directory)
    return [
        _episode(row, category, tuple(tuple(turn) for turn in right), documents, simulators)
        for row, right in zip(questions, gold, strict=True)
    ]


def _episode(
    row: Mapping[str, Any],
    category: str,
    gold: tuple[tuple[str, ...], ...],
    documents: Mapping[str, tuple[ToolSpec, ...]],
    simulators: Simulators,
) -> BfclEpisode:
    classes = tuple(row["involved_classes"])
    tools = [tool for name in classes for tool in documents[name]]
    withheld = {int(turn): set(names) for turn, names in row.get("missed_function", {}).items()}
    later = set().union(*withheld.values())
    offered = [tool for tool in tools if tool.name not in later]
    turns = []
    for number, messages in enumerate(row["question"]):
        if number in withheld:
            offered += [tool for tool in tools if tool.name in withheld[number]]
            messages = [{"role": "user", "content": _more_tools()}]
        turns.append(Turn(tuple(messages), tuple(offered)))
    task = Task(row["id"], turns[0].messages, turns[0].tools, None, category, "BFCL v4 (Apache-2.0)")
    setup = Setup(classes, row["initial_config"], "long_context" in category)
    return BfclEpisode(task, tuple(turns), setup, gold, simulators)


def documents_of(directory: Path) -> dict[str, tuple[ToolSpec, ...]]:
    """Tools of each simulator. Raises DataError."""
    files = constants("executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
    folder = tool_folder(directory)
    return {
        name: tuple(tool_of(row) for row in rows_of(folder / file, "name", "parameters"))
        for name, file in files.items()
        if (folder / file).is_file()
    }


def _more_tools() -> str:
    """What the user says in a turn that only brings a tool."""
    text: str = constants("default_prompts").DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
    return text


@cache
def constants(name: str) -> Any:
    """A module of constants of the benchmark. Raises MissingDataError where it is not installed."""
    try:
        return import_module(f"bfcl_eval.constants.{name}")
    except ModuleNotFoundError as error:
        raise MissingDataError(
            f"this category needs the simulators of bfcl-eval: {INSTALL} ({error})"
        ) from None
