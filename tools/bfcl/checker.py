"""Right or wrong, as the Berkeley Function Calling Leaderboard has it for single turns.

Every verdict equals that of the official ``ast_checker`` (bfcl-eval 2026.3.23), its odd corners included;
`benchmarks/bfcl_agreement.py` shows it. Its rules, in short:

- A call needs the gold's name, every required argument, no argument the gold does not name, and every
  argument the gold does not mark as optional (by ``""`` among its allowed values).
- Types are exact (a boolean is no integer), but an integer passes for a float, and whatever has the type of
  the first allowed value passes too, whatever the document says.
- Strings are compared without case, spaces and ``,./-_*^``, with one kind of quote; so are the strings
  directly inside a list or a dictionary, and no deeper.
- Several calls match in any order, each gold call taking the first answer that fits.

Where the official checker would raise (a list item that is no dictionary, an integer too long for a float)
the verdict here is wrong type or value. In Java and JavaScript every argument is source text, read by
`strop.tools.bfcl.literals` before it is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.literals import JAVA_TYPES, JAVASCRIPT_TYPES, java_value, javascript_value
from strop.tools.spec import ToolCall
from strop.tools.verdict import ErrorKind

PYTHON_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
"""The exact type a value of each documented type must have."""

NOISE = re.compile(r"[ ,./\-_*^]")
"""Characters that do not count when strings are compared."""


LISTS: Mapping[str, frozenset[str]] = {
    "python": frozenset({"array", "tuple"}),
    "java": frozenset({"Array", "ArrayList"}),
    "javascript": frozenset({"array"}),
}
"""Documented types whose items have a documented type, too."""

_TYPES = {"python": PYTHON_TYPES, "java": JAVA_TYPES, "javascript": JAVASCRIPT_TYPES}


def language_of(category: str) -> str:
    """``python``, ``java`` or ``javascript``."""
    return next((name for name in ("javascript", "java") if name in category), "python")


def check(
    category: str,
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[ToolCall],
    possible: Sequence[Mapping[str, Any]],
) -> Fault | None:
    """What is wrong with `calls`; None where they are right.

    `functions` are BFCL's documents, `possible` its allowed answers: ``[{name: {argument: [value, …]}}]``.
    """
    if "parallel" in category:
        return _check_any_order(functions, calls, possible)
    rule = "multiple_function_checker" if "multiple" in category else "simple_function_checker"
    if len(calls) != 1:
        return _wrong_count(rule, calls, possible)
    document = _document(functions, possible[0])
    return _check_call(document, calls[0], _allowed(possible[0]), language_of(category))


def check_relevance(category: str, calls: Sequence[ToolCall]) -> Fault | None:
    """Irrelevance wants no call; relevance wants any."""
    if "irrelevance" in category:
        return Fault("irrelevance_error:decoder_success", "", "called where no tool fits") if calls else None
    return None if calls else Fault("relevance_error:decoder_failed", "", "no call where a tool fits")


def _document(functions: Sequence[Mapping[str, Any]], gold: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(function for function in functions if function["name"] in gold)


def _allowed(gold: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    allowed: Mapping[str, Sequence[Any]] = next(iter(gold.values()))
    return allowed


def _wrong_count(rule: str, calls: Sequence[ToolCall], possible: Sequence[Mapping[str, Any]]) -> Fault:
    return Fault(f"{rule}:wrong_count", "", f"{len(calls)} calls where {len(possible)} are wanted")


def _check_any_order(
    functions: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall], possible: Sequence[Mapping[str, Any]]
) -> Fault | None:
    rule = "parallel_function_checker_no_order"
    if len(calls) != len(possible):
        return _wrong_count(rule, calls, possible)
    left = list(calls)
    for index, gold in enumerate(possible):
        faults = []
        for position, call in enumerate(left):
            fault = _check_call(_document(functions, gold), call, _allowed(gold))
            if fault is None:
                del left[position]
                break
            faults.append(fault)
        else:
            nearest = max(faults, key=lambda fault: list(ErrorKind).index(fault.kind()))
            detail = f"no call fits gold call {index + 1} ({next(iter(gold))}); nearest: {nearest.detail}"
            return Fault(f"{rule}:cannot_find_match", str(index), detail, tuple(faults))
    return None


def _check_call(
    document: Mapping[str, Any],
    call: ToolCall,
    allowed: Mapping[str, Sequence[Any]],
    language: str = "python",
) -> Fault | None:
    rule = "simple_function_checker"
    name, schemas = document["name"], document["parameters"]["properties"]
    if call.name != name:
        return Fault(f"{rule}:wrong_func_name", name, f"called {call.name!r} where {name!r} is wanted")
    for argument in document["parameters"]["required"]:
        if argument not in call.arguments:
            return Fault(f"{rule}:missing_required", argument, f"required argument {argument!r} is missing")
    for argument, value in call.arguments.items():
        if argument not in schemas or argument not in allowed:
            return Fault(f"{rule}:unexpected_param", argument, f"argument {argument!r} is not expected")
        fault = _check_argument(argument, value, schemas[argument], allowed[argument], language)
        if fault is not None:
            return fault
    for argument, values in allowed.items():
        if argument not in call.arguments and "" not in values:
            return Fault(f"{rule}:missing_optional", argument, f"argument {argument!r} is missing")
    return None


def _check_argument(
    name: str, value: Any, schema: Mapping[str, Any], allowed: Sequence[Any], language: str
) -> Fault | None:
    documented, types = schema["type"], _TYPES[language]
    expected, inner = types[documented], None
    items = schema["items"]["type"] if documented in LISTS[language] else None
    if items is not None:
        inner = types[items]
    if language != "python":
        if type(value) is not str:
            rule = "type_error:java" if language == "java" else "type_error:js"
            return Fault(rule, name, f"argument {name!r} is {value!r}, not {documented} source text")
        value = (java_value if language == "java" else javascript_value)(value, documented, items)
    elif documented == "tuple" and type(value) is tuple:
        value = list(value)
    elif documented == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return _not_among(name, value, allowed, "value_error:others")
    fault = _check_type(name, value, documented, expected, inner, allowed)
    if fault is not None:
        return fault
    stand_in = _stand_in(allowed)
    if type(value) is expected and stand_in in (None, expected):
        return _check_value(name, value, expected, inner, allowed)
    return None if value in allowed else _not_among(name, value, allowed, "value_error:others")


def _stand_in(allowed: Sequence[Any]) -> type | None:
    """Type of the first allowed value that is not the mark of an optional argument.

    The gold may name a variable, a string, where the document wants another type; such a type is let through.
    """
    return next((type(value) for value in allowed if value != ""), None)


def _check_type(
    name: str, value: Any, documented: str, expected: type, inner: type | None, allowed: Sequence[Any]
) -> Fault | None:
    right = type(value) is expected
    if right and (inner is None or _items_fit(value, inner, allowed)):
        return None
    got = f"argument {name!r} is {type(value).__name__} {value!r}"
    if type(value) is _stand_in(allowed):
        # Only a list whose items have the wrong type is both: of the first allowed value's type, and wrong.
        return Fault("type_error:nested", name, f"{got}, with items not {inner}") if right else None
    return Fault("type_error:simple", name, f"{got}, not {documented}")


def _items_fit(value: Sequence[Any], inner: type, allowed: Sequence[Any]) -> bool:
    """Whether the items have the types of one allowed list; an allowed value that is no list will do, too."""
    return any(
        type(option) is not list or all(type(item) in (inner, _stand_in(option)) for item in value)
        for option in allowed
    )


def _check_value(
    name: str, value: Any, expected: type, inner: type | None, allowed: Sequence[Any]
) -> Fault | None:
    if expected is dict:
        return _check_dict(name, value, allowed)
    if inner is dict:
        return _check_dicts(name, value, allowed)
    if expected is str:
        strings = [standardise(option) for option in allowed if type(option) is str]
        right, rule = standardise(value) in strings, "value_error:string"
    elif expected is list:
        options = [[standardise(item) for item in option] for option in allowed]
        right, rule = [standardise(item) for item in value] in options, "value_error:list/tuple"
    else:
        right, rule = value in allowed, "value_error:others"
    return None if right else _not_among(name, value, allowed, rule)


def standardise(value: Any) -> Any:
    """A string without case, spaces and punctuation, with double quotes; anything else as it is."""
    return NOISE.sub("", value).lower().replace("'", '"') if type(value) is str else value


def _not_among(name: str, value: Any, allowed: Sequence[Any], error_type: str) -> Fault:
    return Fault(error_type, name, f"{name!r} is {value!r}, not one of {list(allowed)!r}")


def _check_dict(name: str, value: Any, allowed: Sequence[Any]) -> Fault | None:
    """Against each allowed dictionary; the fault is the last one's."""
    fault: Fault | None = Fault(
        "dict_checker:unclear", name, f"{name!r} is {value!r}, and nothing is allowed"
    )
    for option in allowed:
        if option == "":
            continue
        fault = next(_dict_faults(name, value, option), None)
        if fault is None:
            return None
    return fault


def _dict_faults(name: str, value: Any, option: Any) -> Iterator[Fault]:
    """What is wrong with a dictionary, the fault that is reported first."""
    rule = "value_error:dict_key"
    if not isinstance(value, Mapping) or not isinstance(option, Mapping):
        yield _not_among(name, value, [option], "value_error:dict_value")
        return
    for key, values in option.items():
        if key not in value and "" not in values:
            yield Fault(rule, key, f"key {key!r} of {name!r} is missing")
    for key, item in value.items():
        if key not in option:
            yield Fault(rule, key, f"key {key!r} of {name!r} is not expected")
        elif standardise(item) not in [standardise(choice) for choice in option[key]]:
            yield _not_among(key, item, option[key], "value_error:dict_value")


def _check_dicts(name: str, value: Sequence[Any], allowed: Sequence[Any]) -> Fault | None:
    """A list of dictionaries, in order, against each allowed list; the fault is the last one's."""
    fault: Fault | None = Fault("list_dict_checker:unclear", name, f"{name!r}: nothing is allowed")
    for option in allowed:
        if len(value) != len(option):
            detail = f"{name!r} has {len(value)} items, not {len(option)}"
            fault = Fault("value_error:list_dict_count", name, detail)
            continue
        faults = (_check_dict(name, item, [want]) for item, want in zip(value, option, strict=True))
        fault = next((found for found in faults if found is not None), None)
        if fault is None:
            return None
    return fault
