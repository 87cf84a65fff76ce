"""ACEBench's tasks, read from its own files (``data_all/data_en`` of its repository, or a copy).

Covered are the normal and the special categories and, asked for by name, the agent ones: those need the whole
repository, whose simulators they are played in, and one of them a second model that plays the user.

What a model is told is Strop's own wording. In the special categories the answer is judged by phrases that
the benchmark fixes, so the model is told them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from strop.tools.acebench.agent import AGENT, AgentCase, agent_case
from strop.tools.acebench.checker import COPY, Fault, check_any
from strop.tools.errors import MissingDataError
from strop.tools.files import json_text
from strop.tools.local_suite import Categories, Clone, matched, rows_of
from strop.tools.simulators import Simulators
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.suite import AnyCase, Overall, Scores, Suite
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict

NORMAL: tuple[str, ...] = (
    "normal_single_turn_single_function",
    "normal_single_turn_parallel_function",
    "normal_multi_turn_user_switch",
    "normal_multi_turn_user_adjust",
    "normal_similar_api",
    "normal_preference",
    "normal_atom_bool",
    "normal_atom_enum",
    "normal_atom_number",
    "normal_atom_list",
    "normal_atom_object_deep",
    "normal_atom_object_short",
)
SPECIAL: tuple[str, ...] = ("special_incomplete", "special_error_param", "special_irrelevant")
CATEGORIES = NORMAL + SPECIAL
"""The categories that need nothing but the data, in the order they are run and reported."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": CATEGORIES,
    "normal": NORMAL,
    "special": SPECIAL,
    "agent": AGENT,
}

TITLE = "ACEBench"
GET = (
    "clone the benchmark's repository (github.com/ACEBench/ACEBench) and give its directory of English data, "
    "the one with data_normal_*.json and possible_answer/, as --data"
)

INCOMPLETE, INCORRECT, BEYOND = (
    "Missing necessary parameters",
    "There is incorrect value",
    "the limitations of the function",
)
"""What an answer must say in the special categories."""

_TOLD = (
    "Call the functions that the conversation asks for. Leave out optional arguments that nobody mentioned, "
    "and take values as the user wrote them where no format is given."
)
_TOLD_SPECIAL = f"""
If something keeps you from calling, do not call, but answer with exactly one of these sentences, filled in:
- a required argument was not said: "{INCOMPLETE} (argument, argument) for the api (function)"
- a value has not the form that its argument wants: "{INCORRECT} (value) for the parameters (argument) in \
the conversation history."
- no function can do it: "Due to {BEYOND}, I cannot solve this problem.\""""


@dataclass(frozen=True, slots=True)
class AceCase:
    """A task of the benchmark and what its checker needs."""

    task: Task
    functions: tuple[Mapping[str, Any], ...]
    """The function documents, as they stand in the file."""
    gold: Any
    """Of a normal task the allowed answers, ``[{name: arguments}]``; of a special one what must be said."""

    @property
    def spoken(self) -> bool:
        """Whether the verdict is of what is said, whatever is called."""
        return self.task.category in SPECIAL

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        """The verdict of the published checker."""
        if self.task.category in SPECIAL:
            return self._said(calls, content or "")
        if not calls:
            kind = ErrorKind.UNPARSABLE if problem else ErrorKind.MISSING_CALL
            return Verdict.wrong(kind, f"{problem or 'answered with prose'} [wrong_output_format]")
        fault = check_any(self.functions, calls, self.gold)
        if fault is None:
            return Verdict.right()
        return Verdict.wrong(
            _kind(fault, len(calls) < len(self.gold[0])), f"{fault.detail} [{fault.error_type}]"
        )

    def gold_lines(self) -> Sequence[str]:
        """The allowed answers, or what must be said."""
        return [one if isinstance(one, str) else json_text(one) for one in _listed(self.gold)]

    def _said(self, calls: Sequence[ToolCall], text: str) -> Verdict:
        error = said_error(self.task.category, text, self.gold)
        if error is None:
            return Verdict.right()
        kind = ErrorKind.SHOULD_NOT_CALL if calls else ErrorKind.UNNOTICED
        return Verdict.wrong(kind, f"did not say what is wrong with the request [{error}]")


def said_error(category: str, text: str, gold: Any) -> str | None:
    """What the published checker says of a special task's answer: None where it is right."""
    if category == "special_irrelevant":
        return None if BEYOND in text else "error_detection"
    error = None
    for name, values in gold.items():
        if (INCOMPLETE if category == "special_incomplete" else INCORRECT) not in text:
            error = "error_detection"
        elif (category == "special_incomplete" and name not in text) or any(
            value not in text for value in values
        ):
            error = "error_correction"
    return error


def overalls(scores: Scores, sizes: Mapping[str, int]) -> Sequence[Overall]:
    """The groups' scores and the overall, as the benchmark's ``generate_result_csv`` has them.

    A conversation of several turns counts as one, right where all its turns are. Each turn is asked by
    itself, after the right answers to those before: of several samples the product of the turns' shares is
    what one would score in the mean. What was not run counts as zero, the agent categories included.
    """
    accuracy = {name: _accuracy(name, verdicts) for name, verdicts in scores.items()}

    def over(name: str, categories: Sequence[str]) -> Overall:
        missing = [one for one in categories if len(scores.get(one, ())) < sizes.get(one, math.inf)]
        return Overall(name, mean(accuracy.get(one, 0.0) for one in categories), tuple(missing))

    normal, special, agent = over("normal", NORMAL), over("special", SPECIAL), over("agent", AGENT)
    total = 0.2676 * special.accuracy + 0.578 * normal.accuracy + 0.1545 * agent.accuracy
    missing = (*normal.missing, *special.missing, *agent.missing)
    groups = (normal, special, *((agent,) if any(name in scores for name in AGENT) else ()))
    return *groups, Overall("ACEBench overall", total, missing)


def _accuracy(category: str, verdicts: Mapping[str, float]) -> float:
    if not category.startswith("normal_multi_turn"):
        return mean(verdicts.values())
    conversations: dict[str, float] = {}
    for task_id, right in verdicts.items():
        conversation = task_id.rsplit("_", 1)[0]
        conversations[conversation] = conversations.get(conversation, 1.0) * right
    return mean(conversations.values())


def _file(directory: Path, category: str) -> Path:
    return directory / f"data_{category}.json"


def _files(data: Path, category: str) -> tuple[Path, Path]:
    """Questions and answers."""
    return _file(data, category), _file(data / "possible_answer", category)


def _cases(data: Path, category: str) -> Sequence[AnyCase]:
    if category in AGENT:
        return _agent_cases(data, category)
    asked, answered = _files(data, category)
    questions = rows_of(asked, "id", "question", "function", title=TITLE, get=GET)
    truths = matched(questions, rows_of(answered, "id", "ground_truth", title=TITLE, get=GET), answered)
    return [_case(category, row, truth) for row, truth in zip(questions, truths, strict=True)]


def _agent_cases(data: Path, category: str) -> list[AgentCase]:
    asked, answered = _files(data, category)
    wanted = ("id", "question", "function", "initial_config", "involved_classes")
    questions = rows_of(asked, *wanted, title=TITLE, get=GET)
    answers = rows_of(answered, "id", "ground_truth", "mile_stone", title=TITLE, get=GET)
    truths = matched(questions, [{"id": row["id"], "ground_truth": row} for row in answers], answered)
    root, simulators = _root(data), Simulators("strop.tools.acebench.worlds")
    return [
        agent_case(category, row, truth, _tool, root, simulators)
        for row, truth in zip(questions, truths, strict=True)
    ]


def _root(data: Path) -> Path:
    """The repository that a directory of data belongs to. Raises MissingDataError."""
    above = (data.absolute(), *data.absolute().parents)
    root = next((one for one in above if (one / "model_inference").is_dir()), None)
    if root is None:
        raise MissingDataError(f"not within a clone, whose simulators the agent tasks need: {GET}", path=data)
    return root


def _case(category: str, row: Mapping[str, Any], gold: Any) -> AceCase:
    special = category in SPECIAL
    told = [_TOLD + (_TOLD_SPECIAL if special else ""), row.get("time") or "", _profile(row)]
    messages = (
        {"role": "system", "content": "\n\n".join(filter(None, told))},
        {"role": "user", "content": row["question"].strip()},
    )
    golds = gold if special else _listed(gold)
    task = Task(
        id=row["id"],
        messages=messages,
        tools=tuple(_tool(document) for document in row["function"]),
        gold=Gold(() if special else _calls(golds[0]), _sentence(category, gold) if special else None),
        category=category,
        source="ACEBench (MIT)",
    )
    return AceCase(task, tuple(row["function"]), golds)


def _asked(category: str, row: Mapping[str, Any]) -> AceCase:
    """A task without what makes it one to judge."""
    messages = ({"role": "user", "content": row["question"]},)
    tools = tuple(_tool(document) for document in row["function"])
    return AceCase(Task(row["id"], messages, tools, None, category, "ACEBench (MIT)"), (), ())


def _profile(row: Mapping[str, Any]) -> str:
    return f"About the user:\n{row['profile']}" if row.get("profile") else ""


def _listed(gold: Any) -> list[Any]:
    return gold if isinstance(gold, list) else [gold]


def _calls(gold: Mapping[str, Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """One right answer. The gold numbers the calls of one tool: ``name_1``, ``name_2``."""
    return tuple(ToolCall(COPY.sub("", name), arguments) for name, arguments in gold.items())


def _sentence(category: str, gold: Any) -> str:
    """One right answer of a special task."""
    if category == "special_irrelevant":
        return f"Due to {BEYOND}, I cannot solve this problem."
    if category == "special_incomplete":
        return "; ".join(
            f"{INCOMPLETE} ({', '.join(values)}) for the api ({name})" for name, values in gold.items()
        )
    return "; ".join(
        f"{INCORRECT} ({', '.join(map(str, values))}) for the parameters ({name}) in the conversation "
        "history."
        for name, values in gold.items()
    )


_JSON_TYPES: Mapping[str, str] = {
    "dict": "object", "object": "object", "float": "number", "number": "number", "int": "integer",
    "integer": "integer", "boolean": "boolean", "array": "array", "list": "array", "tuple": "array",
    "list(string)": "array", "list(enum)": "array", "objectArray": "array",
}  # fmt: skip


def _tool(document: Mapping[str, Any]) -> ToolSpec:
    parameters = _schema(document.get("parameters") or {"type": "object", "properties": {}})
    return ToolSpec(document["name"], document.get("description", ""), parameters)


def _schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter document as JSON Schema, at every depth; an unknown type is a string."""
    schema = dict(document)
    schema["type"] = _JSON_TYPES.get(str(document.get("type")), "string")
    if isinstance(document.get("properties"), Mapping):
        schema["properties"] = {name: _schema(inner) for name, inner in document["properties"].items()}
    if isinstance(document.get("items"), Mapping):
        schema["items"] = _schema(document["items"])
    return schema


_KINDS: Mapping[str, ErrorKind] = {
    "function_mismatch": ErrorKind.WRONG_NAME,
    "wrong_function_name": ErrorKind.WRONG_NAME,
    "wrong_param": ErrorKind.MISSING_ARGUMENT,
    "lack_args": ErrorKind.MISSING_ARGUMENT,
    "addition_args": ErrorKind.UNEXPECTED_ARGUMENT,
    "type_error": ErrorKind.WRONG_TYPE,
}


def _kind(fault: Fault, too_few: bool) -> ErrorKind:
    if fault.error_type == "wrong functions number":
        return ErrorKind.MISSING_CALL if too_few else ErrorKind.EXTRA_CALL
    return _KINDS.get(fault.error_type, ErrorKind.WRONG_VALUE)


_CLONE = Clone(
    name="acebench",
    categories=Categories(TITLE, (*CATEGORIES, *AGENT), GROUPS),
    get=GET,
    files=_files,
    read=_cases,
    overalls=overalls,
)


COMPARED = (*CATEGORIES, *AGENT)
"""What training data are compared with."""


def load_category(category: str, data: Path | None = None) -> Sequence[AnyCase]:
    """All cases of one category, in their file's order.

    Of the agent ones only what is asked, which can be read without a clone and judged by nobody. Raises
    UsageError where there is no `data`, MissingDataError for a missing file, DataError for a malformed one.
    """
    if category not in AGENT:
        return _CLONE.load_category(category, data)
    asked, _ = _files(_CLONE.directory(data), category)
    rows = rows_of(asked, "id", "question", "function", title=TITLE, get=GET)
    return [_asked(category, row) for row in rows]


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each category, by default of `CATEGORIES`; `GROUPS` may be named, too.

    Raises UsageError for an unknown category or no `data`, DataError where a file is missing or malformed.
    """
    return _CLONE.load(categories or CATEGORIES, limit=limit, data=data)
