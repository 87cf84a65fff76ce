"""ACEBench's agent tasks: calls that change a simulated phone or travel agency, judged by its end state.

In ``agent_multi_step`` everything is said at once and nobody answers questions. In ``agent_multi_turn`` a
user, played by a model, knows what is wanted and says it bit by bit. Both end when somebody says so, or after
forty messages. The simulators are part of the benchmark's repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.tools.acebench.checker import state_faults
from strop.tools.acebench.worlds import Setup, simulator_file
from strop.tools.episode import END, Played, Turn
from strop.tools.errors import DataError, MissingDataError, StepLimitError
from strop.tools.files import json_text
from strop.tools.simulators import Simulators
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict

AGENT: tuple[str, ...] = ("agent_multi_step", "agent_multi_turn")

_TOLD = f"""
You act on a phone and on services for the user, by calling functions. Call one function at a time and look \
at its result before the next. Take values as the user said them. When all that was asked for is done, \
answer "{END}"."""
_TOLD_MULTI_STEP = " Nobody answers questions: make do with what was said."
_NOBODY = f'Nobody can answer questions. Go on with what you know, or answer "{END}" if all is done.'


@dataclass(frozen=True, slots=True)
class AgentCase:
    """An agent task: a dialogue, its world and its gold."""

    task: Task
    turns: tuple[Turn, ...]
    """What is said whatever the model answers: all of it, or where a user is played nothing."""
    tools: tuple[ToolSpec, ...]
    instruction: str | None
    """What the user wants, where one is played."""
    setup: Setup
    gold: tuple[Mapping[str, Any], ...]
    """The end state: ``{simulator: attributes}`` each."""
    milestones: tuple[tuple[str, ...], ...]
    """Of each way to it, the calls on the way."""
    simulators: Simulators = field(repr=False, compare=False)

    reply: str = _NOBODY
    most_messages: int = 40

    @property
    def most_steps(self) -> int:
        return self.most_messages

    def step(self, run: str, calls: Sequence[ToolCall]) -> list[str]:
        """Results of `calls` in the world of the run of that name. Raises StepLimitError."""
        return self.simulators.step(self._world(run), self.setup, calls)

    def close(self, run: str) -> None:
        """Forget the run's world."""
        self.simulators.close_world(self._world(run))

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """The published verdict on the end state; the detail says how many milestones were reached."""
        del said
        steps = [step for steps in turns for step in steps if step]
        calls = [call for step in steps for call in step]
        try:
            state = self.simulators.begin(self._world("judged"), self.setup, calls)
        except StepLimitError as error:
            return Verdict.wrong(ErrorKind.UNFINISHED, str(error))
        finally:
            self.close("judged")
        faults = state_faults(state, self.gold)
        if not faults:
            return Verdict.right()
        kind = ErrorKind.MISSING_CALL if not state else ErrorKind.WRONG_STATE
        return Verdict.wrong(kind, "; ".join((*faults[:3], *self._progress(steps))))

    def _progress(self, steps: Sequence[Sequence[ToolCall]]) -> Iterator[str]:
        """How far it went on the way that it went furthest on, where there are milestones."""
        if any(self.milestones):
            reached = max(_reached(way, list(map(_written, steps))) for way in self.milestones)
            yield f"{reached:.0%} of the milestones were reached"

    def gold_lines(self) -> Sequence[str]:
        """The end state, and the ways to it."""
        return [*map(json_text, self.gold), *(" ".join(way) for way in self.milestones)]

    def _world(self, run: str) -> str:
        return f"{self.task.id} {run}"


def agent_case(
    category: str,
    row: Mapping[str, Any],
    truth: Mapping[str, Any],
    tool_of: Callable[[Mapping[str, Any]], ToolSpec],
    root: Path,
    simulators: Simulators,
) -> AgentCase:
    """One task and its gold. `root` is the repository's directory, `tool_of` reads its functions.

    Raises DataError where a row is none, or a simulator is not there.
    """
    if not _is_agent_row(row, truth):
        raise DataError(f"task {row['id']!r}: no agent task, or no gold of one", path=root)
    kind = category.removeprefix("agent_")
    for name in row["involved_classes"]:
        path = simulator_file(root, kind, name)
        if path is None or not path.is_file():
            raise MissingDataError(f"no simulator {name!r}; agent tasks need the whole repository", path=path)
    tools = tuple(map(tool_of, row["function"]))
    played, gold = kind == "multi_turn", truth["ground_truth"]
    told = {"role": "system", "content": (_TOLD if played else _TOLD + _TOLD_MULTI_STEP).strip()}
    asked = () if played else ({"role": "user", "content": row["question"]},)
    messages = (told, *asked)
    return AgentCase(
        task=Task(row["id"], messages, tools, None, category, "ACEBench (MIT)"),
        turns=() if played else (Turn(messages, tools),),
        tools=tools,
        instruction=row["question"] if played else None,
        setup=Setup(str(root), kind, tuple(row["involved_classes"]), row["initial_config"]),
        gold=tuple(gold if isinstance(gold, list) else [gold]),
        milestones=tuple(_ways(truth["mile_stone"])),
        simulators=simulators,
    )


def _is_agent_row(row: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    match {**row, **truth}:
        case {
            "question": str(), "function": [*_], "initial_config": dict(), "involved_classes": [*_],
            "ground_truth": [*_] | dict(), "mile_stone": [*_],
        }:  # fmt: skip
            return True
    return False


def _ways(milestones: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    """There may be several ways, each a list."""
    ways = milestones if milestones and isinstance(milestones[0], list) else [milestones]
    yield from (tuple(str(stone).strip() for stone in way) for way in ways)


def _written(calls: Sequence[ToolCall]) -> str:
    """Calls as the milestones have them."""
    made = (f"{call.name}({', '.join(f'{k}={v!r}' for k, v in call.arguments.items())})" for call in calls)
    return f"[{', '.join(made)}]"


def _reached(way: Sequence[str], steps: Sequence[str]) -> float:
    """The share of the milestones that were reached in their order, as the published scoring counts them."""
    left = iter(steps)
    reached = sum(any(step == stone for step in left) for stone in way)
    return reached / len(way) if way else 1.0
