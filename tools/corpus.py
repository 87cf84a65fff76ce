"""A benchmark as training data are compared with it: everything it asks, whether or not it can be run here.

Every category is read, those included that a run has to name and those whose worlds need packages that are
not installed. What cannot be read is left out with the reason: a check says what it did not look at.
Answers are those of single turns; what is right in an episode is a state of its world, or many ways to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from strop.tools.episode import Turn, is_dialogue, is_sequel
from strop.tools.errors import MissingDataError, UsageError
from strop.tools.local_suite import data_variable, named_data
from strop.tools.suite import AnyCase
from strop.tools.suites import SUITES
from strop.tools.task import Message, Task, digest


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a benchmark asks, the tools it offers and what it takes for right."""

    suite: str
    tasks: tuple[Task, ...]
    """One a case, and one a later turn of it; its id is the case's."""
    left_out: Mapping[str, str]
    """Categories that could not be read here, each with the reason."""

    @property
    def version(self) -> str:
        """Of everything in it: 16 hexadecimal digits."""
        return digest(self.tasks)


def read_corpus(name: str, data: Path | None = None) -> Corpus:
    """All of a benchmark that is in `data`, or else where its environment variable or its package has it.

    Raises UsageError for an unknown benchmark or one without data, DataError where a file is malformed, and
    MissingDataError where nothing at all is there.
    """
    if name not in SUITES:
        raise UsageError(f"no benchmark {name!r}; there are {', '.join(SUITES)}")
    module = import_module(SUITES[name].module)
    cases: list[AnyCase] = []
    left_out: dict[str, str] = {}
    for category in module.COMPARED:
        try:
            cases += module.load_category(category, data)
        except MissingDataError as error:
            left_out[category] = str(error)
    if not cases:
        raise MissingDataError(f"nothing of {name} to compare with: {next(iter(left_out.values()))}")
    return Corpus(name, tuple(task for case in _with_conversations(cases) for task in asked(case)), left_out)


def data_here() -> Mapping[str, Path | None]:
    """The benchmarks whose data need not be named: where their variable says, or None for a package's own.

    A variable that names a wrong place counts; `read_corpus` refuses it.
    """
    installed = {"bfcl"} if find_spec("bfcl_eval") else set()
    named = {name: named_data(name) for name in SUITES}
    return {name: data for name, data in named.items() if data is not None or name in installed}


def why_absent(name: str) -> str:
    """Why a benchmark is not among `data_here`."""
    package = "bfcl-eval is not installed and " if name == "bfcl" else ""
    return f"{package}{data_variable(name)} names no directory"


def asked(case: AnyCase) -> Iterator[Task]:
    """A case's task, its later turns, and the part that its user plays.

    Tools that only a later turn brings are not repeated: another task of the same world offers them at once.
    """
    yield case.task
    turns: Sequence[Turn] = getattr(case, "turns", ())
    for turn in turns[1:]:
        yield _said(case.task, turn.messages)
    if is_dialogue(case) and case.instruction is not None:
        yield _said(case.task, ({"role": "user", "content": case.instruction},))


def _with_conversations(cases: Iterable[AnyCase]) -> Iterable[AnyCase]:
    """Each case, and once each conversation that cases go on from."""
    found: dict[str, AnyCase] = {}
    for case in cases:
        if is_sequel(case):
            found.update((one.task.id, one) for one in case.before)
        found[case.task.id] = case
    return found.values()


def _said(task: Task, messages: tuple[Message, ...]) -> Task:
    return Task(task.id, messages, (), None, task.category, task.source)
