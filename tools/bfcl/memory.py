"""BFCL's memory categories: conversations in which a model takes notes, then questions about them.

There are five scenarios of five to ten conversations, and 155 questions. The model has tools to write to a
memory and to search it, of one of three kinds: keys and values, vectors, or one text. Part of the memory is
shown to it at the beginning of every conversation. A question is right if its final answer contains one of
the allowed answers, however it is punctuated.

The simulators are those inside ``bfcl-eval``, and some of what they need is no part of Strop: `require` says
what is missing. A memory is what the calls of the conversations made of it, so that nothing else is kept.
"""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from strop.tools.bfcl.episodes import MOST_STEPS, WORLDS, constants, documents_of
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import answer_file, answers_of, question_file, rows_of
from strop.tools.bfcl.worlds import Setup
from strop.tools.episode import Episode, Played, Turn
from strop.tools.errors import DataError, UsageError
from strop.tools.simulators import MOST_BYTES, Simulators
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message, Task
from strop.tools.verdict import Verdict

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "memory_kv": ("rank_bm25", "overrides", "filelock"),
    "memory_vector": ("faiss", "sentence_transformers", "overrides", "filelock"),
    "memory_rec_sum": ("overrides", "filelock"),
}
_EMBEDDING_BYTES = 8 * MOST_BYTES
"""Address space of a child that embeds texts: torch alone takes more than the others may."""
_NOISE = re.compile(r"[,./\-_*^()]")


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """A question about earlier conversations, or one of these conversations."""

    task: Task
    """Its first turn, without what the memory shows."""
    turns: tuple[Turn, ...]
    scenario: str
    allowed: tuple[str, ...]
    """Right answers to a question; a conversation has none."""
    before: tuple[MemoryCase, ...]
    setup: Setup
    simulators: Simulators = field(repr=False, compare=False)

    def begin(self, earlier: Sequence[ToolCall], run: str) -> Episode:
        """An episode that begins with what the memory shows after the `earlier` calls."""
        shown = self.simulators.begin(self.world(run), self.setup, earlier)
        first, *others = self.turns
        begun = replace(first, messages=_told(self.task.category, self.scenario, shown, first.messages))
        task = replace(self.task, messages=begun.messages)
        return MemoryEpisode(task, (begun, *others), self)

    def world(self, run: str) -> str:
        """The name of its world in that run."""
        return f"{self.task.id} {run}"

    def fault(self, turns: Played, said: str | None) -> Fault | None:
        """What the official checker finds wrong."""
        if len(turns) != 1:
            return Fault("agentic:inference_error", "", f"{len(turns)} turns where one is asked for")
        if not said:
            return Fault("agentic:no_last_message", "", "no answer after the last call")
        if any(_contains(said, answer) for answer in self.allowed):
            return None
        return Fault("agentic:answer_not_found", "", f"none of {list(self.allowed)!r} is in {said[:200]!r}")

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """The official verdict."""
        fault = self.fault(turns, said)
        return Verdict.right() if fault is None else fault.verdict()

    def gold_lines(self) -> Sequence[str]:
        """Any of these."""
        return self.allowed


@dataclass(frozen=True, slots=True)
class MemoryEpisode:
    """A `MemoryCase` whose world has begun."""

    task: Task
    turns: tuple[Turn, ...]
    case: MemoryCase

    @property
    def most_steps(self) -> int:
        return MOST_STEPS

    def step(self, run: str, calls: Sequence[ToolCall]) -> list[str]:
        """Results of `calls`. Raises StepLimitError."""
        return self.case.simulators.step(self.case.world(run), self.case.setup, calls)

    def close(self, run: str) -> None:
        """Forget the run's world."""
        self.case.simulators.close_world(self.case.world(run))

    def score(self, turns: Played, said: str | None = None) -> Verdict:
        """The official verdict."""
        return self.case.score(turns, said)

    def gold_lines(self) -> Sequence[str]:
        """Any of these."""
        return self.case.gold_lines()


def require(category: str) -> None:
    """Raises UsageError naming the packages that the simulator of a memory category lacks here."""
    missing = [name for name in _NEEDS[category] if find_spec(name) is None]
    if missing:
        extra = "memory-vector" if category == "memory_vector" else "memory"
        needs = ", ".join(missing)
        raise UsageError(f"BFCL category {category!r} needs {needs}: pip install 'strop[{extra}]'")


def load_memory(directory: Path, category: str) -> list[MemoryCase]:
    """The questions of a category in their file's order. Raises DataError."""
    path = question_file(directory, "memory")
    questions = _checked(rows_of(path, "id", "question", "scenario"), path)
    answers = answers_of(directory, "memory", questions)
    for row, allowed in zip(questions, answers, strict=True):
        if not (isinstance(allowed, list) and allowed and all(isinstance(one, str) for one in allowed)):
            raise DataError(f"{row['id']!r} has no list of answers", path=answer_file(directory, "memory"))
    simulator = f"MemoryAPI_{category.removeprefix('memory_')}"
    embeds = category == "memory_vector"
    # Embedding loads a model when it is imported.
    preload = (constants("executable_backend_config").CLASS_FILE_PATH_MAPPING[simulator],) if embeds else ()
    most_bytes = _EMBEDDING_BYTES if embeds else MOST_BYTES
    # Some of the benchmark's modules make folders when imported; not beside the installed package.
    folder = Path(tempfile.gettempdir(), f"strop-bfcl-{_user()}")
    environment = {"BFCL_PROJECT_ROOT": str(folder)}
    simulators = Simulators(WORLDS, preload=preload, most_bytes=most_bytes, environment=environment)
    loader = _Loader(category, documents_of(directory)[simulator], Setup((simulator,), {}), simulators)
    scenarios = dict.fromkeys(row["scenario"] for row in questions)
    before = {name: loader.conversations(conversation_file(directory, name)) for name in scenarios}
    return [
        loader.question(row, tuple(allowed), before[row["scenario"]])
        for row, allowed in zip(questions, answers, strict=True)
    ]


def conversation_file(directory: Path, scenario: str) -> Path:
    """The conversations of a scenario."""
    return directory / "memory_prereq_conversation" / f"memory_{scenario}.json"


@dataclass(frozen=True, slots=True)
class _Loader:
    category: str
    tools: tuple[ToolSpec, ...]
    setup: Setup
    simulators: Simulators

    def conversations(self, path: Path) -> tuple[MemoryCase, ...]:
        """All of one scenario, each after those before it."""
        found: list[MemoryCase] = []
        for row in _checked(rows_of(path, "id", "question", "scenario"), path):
            found.append(self._case(row, f"{self.category}_conversation", row["question"], (), tuple(found)))
        return tuple(found)

    def question(
        self, row: Mapping[str, Any], allowed: tuple[str, ...], before: tuple[MemoryCase, ...]
    ) -> MemoryCase:
        form = constants("default_prompts").ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT
        first, *others = row["question"]
        turns = [[{"role": "system", "content": form}, *first], *others]
        return self._case(row, self.category, turns, allowed, before)

    def _case(
        self,
        row: Mapping[str, Any],
        category: str,
        turns: Sequence[Sequence[Message]],
        allowed: tuple[str, ...],
        before: tuple[MemoryCase, ...],
    ) -> MemoryCase:
        name = row["id"].replace("memory", self.category)
        task = Task(name, tuple(turns[0]), self.tools, None, category, "BFCL v4 (Apache-2.0)")
        played = tuple(Turn(tuple(messages), self.tools) for messages in turns)
        return MemoryCase(task, played, row["scenario"], allowed, before, self.setup, self.simulators)


def _user() -> str:
    """Who runs this, by name or, where the system knows none, by number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _checked(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The rows, each with a question of one turn or more. Raises DataError naming one without."""
    settings = constants("default_prompts").MEMORY_AGENT_SETTINGS
    for row in rows:
        match row:
            case {"id": str(), "question": [[{"role": str()}, *_], *_], "scenario": str(scenario)}:
                if scenario not in settings:
                    raise DataError(f"{row['id']!r}: nobody knows the scenario {scenario!r}", path=path)
            case _:
                raise DataError(f"{row['id']!r}: no question of BFCL's memory", path=path)
    return rows


def _told(category: str, scenario: str, shown: str, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages of a first turn after the system prompt that tells of the memory."""
    prompts = constants("default_prompts")
    unified = category.startswith("memory_rec_sum")
    kind = "UNIFIED" if unified else "CORE_ARCHIVAL"
    prompt: str = getattr(prompts, f"MEMORY_BACKEND_INSTRUCTION_{kind}").format(
        scenario_setting=prompts.MEMORY_AGENT_SETTINGS[scenario], memory_content=shown
    )
    first, *others = messages
    if first["role"] == "system":
        return ({"role": "system", "content": f"{prompt}\n\n{first['content']}"}, *others)
    return ({"role": "system", "content": prompt}, *messages)


def _contains(said: str, answer: str) -> bool:
    """Whether an answer stands in what was said, between word boundaries."""
    return re.search(rf"\b{re.escape(_standard(answer))}\b", _standard(said)) is not None


def _standard(text: str) -> str:
    return _NOISE.sub("", text).lower().replace("'", '"')
