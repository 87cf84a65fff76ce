"""Judges calls against a task's gold: right or wrong and why, and how near.

Calls are matched to gold calls in any order, so that as much as possible fits. A value is right if it equals
the gold value: numbers by value, strings after removing spaces and ``, . / - _ * ^``, lower-casing and making
single quotes double (as the Berkeley Function Calling Leaderboard compares them), containers item by item.
An argument that is not required may be left out, or given, where the other side has the schema's default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.tools.assignment import assign
from strop.tools.schema import described_type, fits_type, type_name, validate_call
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.tools.verdict import ErrorKind, Verdict

__all__ = ["credit", "judge", "same_value", "validate_call"]

NAME_SHARE = 0.2
"""Of a call's credit, what its right name is worth; the arguments share the rest equally."""
TYPE_SHARE = 0.2
"""Of an argument's credit, what naming it is worth with a value of the wrong type."""
VALUE_SHARE = 0.4
"""Of an argument's credit, what naming it is worth with a wrong value of the right type."""

_IGNORED = re.compile(r"[ ,./\-_*^]")
_READING_ORDER = {kind: place for place, kind in enumerate(ErrorKind)}


def judge(calls: Sequence[ToolCall], problem: str | None, task: Task) -> Verdict:
    """The verdict on an answer's `calls` (and the `problem` of reading them); pure.

    Of several errors the first in `ErrorKind`'s order is given. A task without gold is judged as one
    whose right answer is prose.
    """
    gold = task.gold or Gold(())
    if problem is not None:
        return Verdict.wrong(ErrorKind.UNPARSABLE, f"Looks like a call but cannot be read: {problem}.")
    if not gold.calls:
        return _judge_silence(calls)
    if len(calls) != len(gold.calls):
        kind = ErrorKind.MISSING_CALL if len(calls) < len(gold.calls) else ErrorKind.EXTRA_CALL
        wanted = ", ".join(call.name for call in gold.calls)
        return Verdict.wrong(kind, f"{len(calls)} calls where {len(gold.calls)} are right ({wanted}).")
    faults = [fault for ours, theirs in _matched(calls, gold, task) for fault in _faults(ours, theirs, task)]
    if not faults:
        return Verdict.right()
    first = min(faults, key=lambda fault: _READING_ORDER[fault.kind])
    return Verdict.wrong(first.kind, first.detail)


def credit(calls: Sequence[ToolCall], problem: str | None, task: Task) -> float:
    """How near an answer is, in [0, 1]; 1.0 exactly where `judge` finds it correct. Pure.

    0 for what cannot be read, and for calls where none (or none where some) is right. Else the best
    one-to-one matching's sum of credits over max(calls given, calls wanted), where a pair of calls has
    credit 0 with different names, else 0.2 + 0.8 · the mean over all arguments either side gives of:
    0 missing or unexpected, 0.2 wrong type, 0.4 wrong value, 1 right or rightly left out.
    """
    gold = task.gold or Gold(())
    if problem is not None or bool(calls) != bool(gold.calls):
        return 0.0
    if not calls:
        return 1.0
    total = sum(_pair_credit(ours, theirs, task) for ours, theirs in _matched(calls, gold, task))
    return total / max(len(calls), len(gold.calls))


def same_value(ours: Any, gold: Any) -> bool:
    """Whether a value counts as the gold value."""
    if isinstance(ours, bool) or isinstance(gold, bool) or ours is None or gold is None:
        return ours is gold
    if isinstance(ours, str) and isinstance(gold, str):
        return ours == gold or _standardised(ours) == _standardised(gold)
    if isinstance(ours, int | float) and isinstance(gold, int | float):
        return ours == gold
    if isinstance(ours, Mapping) and isinstance(gold, Mapping):
        return ours.keys() == gold.keys() and all(same_value(ours[key], gold[key]) for key in ours)
    if _is_list(ours) and _is_list(gold):
        return len(ours) == len(gold) and all(map(same_value, ours, gold))
    return False


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: ErrorKind
    detail: str


def _judge_silence(calls: Sequence[ToolCall]) -> Verdict:
    if not calls:
        return Verdict.right()
    names = ", ".join(call.name for call in calls)
    return Verdict.wrong(ErrorKind.SHOULD_NOT_CALL, f"Called {names} where no call is right.")


def _matched(calls: Sequence[ToolCall], gold: Gold, task: Task) -> Iterator[tuple[ToolCall, ToolCall]]:
    """Pairs of a call and its gold call that together have the most credit."""
    if len(calls) == len(gold.calls) == 1:
        yield calls[0], gold.calls[0]
        return
    costs = [[_cost(ours, theirs, task) for theirs in gold.calls] for ours in calls]
    for row, column in assign(costs):
        yield calls[row], gold.calls[column]


def _cost(ours: ToolCall, gold: ToolCall, task: Task) -> int:
    """What a pair lacks of full credit, as a whole number so that the matching is exact; 0 only if right."""
    return round((1 - _pair_credit(ours, gold, task)) * 2**40)


def _pair_credit(ours: ToolCall, gold: ToolCall, task: Task) -> float:
    if ours.name != gold.name:
        return 0.0
    tool = _tool(gold.name, task)
    names = ours.arguments.keys() | gold.arguments.keys()
    if not names:
        return 1.0
    shares = sum(_argument_credit(name, ours, gold, tool) for name in sorted(names))
    return NAME_SHARE + (1 - NAME_SHARE) * (shares / len(names))


def _argument_credit(name: str, ours: ToolCall, gold: ToolCall, tool: ToolSpec | None) -> float:
    fault = _argument_fault(name, ours, gold, tool)
    if fault is None:
        return 1.0
    return {ErrorKind.WRONG_TYPE: TYPE_SHARE, ErrorKind.WRONG_VALUE: VALUE_SHARE}.get(fault.kind, 0.0)


def _faults(ours: ToolCall, gold: ToolCall, task: Task) -> Iterator[_Fault]:
    if ours.name != gold.name:
        yield _Fault(ErrorKind.WRONG_NAME, f"Called {ours.name} where {gold.name} is right.")
        return
    tool = _tool(gold.name, task)
    for name in [*gold.arguments, *(name for name in ours.arguments if name not in gold.arguments)]:
        fault = _argument_fault(name, ours, gold, tool)
        if fault is not None:
            yield fault


def _argument_fault(name: str, ours: ToolCall, gold: ToolCall, tool: ToolSpec | None) -> _Fault | None:
    """What is wrong with one argument that at least one of the two calls gives."""
    schema = tool.properties.get(name) if tool else None
    if name not in ours.arguments:
        if _is_default(gold.arguments[name], name, tool):
            return None
        wanted = f"argument {name!r} is missing, {_short(gold.arguments[name])} is right"
        return _Fault(ErrorKind.MISSING_ARGUMENT, f"{gold.name}: {wanted}.")
    value = ours.arguments[name]
    if name not in gold.arguments:
        if _is_default(value, name, tool):
            return None
        why = "is not one of the tool's" if tool and name not in tool.properties else "is not asked for"
        return _Fault(ErrorKind.UNEXPECTED_ARGUMENT, f"{gold.name}: argument {name!r} {why}.")
    right = gold.arguments[name]
    if same_value(value, right):
        return None
    subject = f"{gold.name}: argument {name!r} is {_short(value)}"
    if not _has_type(value, right, schema):
        wanted = described_type(schema) if schema else type_name(right)
        return _Fault(ErrorKind.WRONG_TYPE, f"{subject}, {type_name(value)} where {wanted} is right.")
    return _Fault(ErrorKind.WRONG_VALUE, f"{subject}, {_short(right)} is right.")


def _has_type(value: Any, gold: Any, schema: Any) -> bool:
    if isinstance(schema, Mapping) and schema:
        return fits_type(value, schema)
    ours, theirs = type_name(value), type_name(gold)
    return ours == theirs or {ours, theirs} == {"integer", "number"}


def _is_default(value: Any, name: str, tool: ToolSpec | None) -> bool:
    """Whether leaving the argument out means `value`."""
    if tool is None or name in tool.required:
        return False
    schema = tool.properties.get(name)
    return isinstance(schema, Mapping) and "default" in schema and same_value(value, schema["default"])


def _tool(name: str, task: Task) -> ToolSpec | None:
    return next((tool for tool in task.tools if tool.name == name), None)


def _standardised(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
