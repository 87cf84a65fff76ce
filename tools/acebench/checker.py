"""Right or wrong, as ACEBench's published checker has it (arXiv 2501.12851, its ``normal_checker``).

Verdict and error type equal that checker's, its odd corners included:

- Answers are compared after all white space was taken out of them, in names and values; the gold keeps its
  own.
- Calls need the gold's names, each as often; then each gold call wants one call of its name that fits.
- A string fits if the gold's is in it, both without case, spaces and ``,./-_*^``.
- Numbers, booleans and enumerations are not compared at all beyond their type; a value of the gold's own type
  passes whatever the document says.
- Objects are compared key by key as text, lists item by item, lists of objects in order.

Where the published checker would raise, the verdict here is a wrong value. The end states of agent tasks are
compared by `state_faults`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.tools.bfcl.checker import standardise
from strop.tools.spec import ToolCall

TYPES: Mapping[str, type] = {
    "string": str, "any": str,
    "integer": int, "int": int, "number": int, "float": float, "boolean": bool,
    "array": list, "tuple": list, "list": list, "list(string)": list, "list(enum)": list,
    "objectArray": list,
    "dict": dict, "object": dict,
    "enum": enumerate,
}  # fmt: skip
"""The exact type of each documented one; no value is an enumeration: those pass by the gold's type."""

_WITH_ITEMS = frozenset({"array", "tuple", "list(string)", "list(enum)", "object", "objectArray"})
COPY = re.compile(r"_\d+$")
"""Ends the gold's name where a tool is called more than once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing the checker finds wrong."""

    error_type: str
    """The published name of what is wrong, such as ``lack_args``."""
    detail: str
    """One sentence for a person."""


Document = Mapping[str, Any]


def check(
    functions: Sequence[Document], calls: Sequence[ToolCall], gold: Mapping[str, Mapping[str, Any]]
) -> Fault | None:
    """What is wrong with `calls`; None where they are right. `gold` is ``{name: arguments}``."""
    made = [(_squeezed(call.name), _squeezed(dict(call.arguments))) for call in calls]
    if len(made) != len(gold):
        return Fault("wrong functions number", f"{len(made)} calls where {len(gold)} are right")
    wanted = [(key, COPY.sub("", key), arguments) for key, arguments in gold.items()]
    fault = _names_fault(Counter(name for name, _ in made), Counter(name for _, name, _ in wanted))
    if fault is not None:
        return fault
    for key, name, arguments in wanted:
        document = next((one for one in functions if one["name"] in key), None)
        fault = _best_fault(document, name, arguments, made)
        if fault is not None:
            return fault
    return None


def check_any(
    functions: Sequence[Document], calls: Sequence[ToolCall], golds: Sequence[Mapping[str, Any]]
) -> Fault | None:
    """As `check`, where any of `golds` is right; the fault is that against the first."""
    faults = [check(functions, calls, gold) for gold in golds]
    return None if None in faults else faults[0]


def _names_fault(made: Counter[str], wanted: Counter[str]) -> Fault | None:
    for name in (*made, *wanted):
        if made[name] != wanted[name]:
            detail = f"{made[name]} calls of {name} where {wanted[name]} are right"
            return Fault("function_mismatch", detail)
    return None


def _best_fault(
    document: Document | None, name: str, gold: Mapping[str, Any], made: Sequence[tuple[str, Any]]
) -> Fault | None:
    """None where a call fits; else what is said of the last call, which may be one of another tool."""
    fault: Fault | None = None
    for called, arguments in made:
        if called != name:
            fault = Fault("simple_function_checker:unclear", f"no call of {name} fits")
            continue
        try:
            fault = _call_fault(document, called, arguments, gold)
        except (AttributeError, KeyError, TypeError, IndexError, OverflowError):
            # The documents of a few entries are not what the published checker expects, which then raises.
            fault = Fault("value_error", f"{name}: cannot be compared with the gold")
        if fault is None:
            return None
    return fault


def _call_fault(
    document: Document | None, name: str, arguments: Mapping[str, Any], gold: Mapping[str, Any]
) -> Fault | None:
    if document is None:
        raise KeyError(name)
    parameters = document["parameters"]
    if not arguments or not parameters:
        both = not arguments and not parameters
        return (
            None if both else Fault("wrong_param", f"{name}: with arguments where there are none, or without")
        )
    if gold == parameters["properties"]:
        return None
    if not gold:
        return Fault("wrong_param", f"{name}: arguments where none are right")
    if document["name"] != name:
        return Fault("wrong_function_name", f"called {name} where {document['name']} is right")
    for argument in parameters["required"]:
        if argument not in arguments:
            return Fault("lack_args", f"{name}: required argument {argument!r} is missing")
    for argument, value in arguments.items():
        if argument not in parameters["properties"] or argument not in gold:
            return Fault("addition_args", f"{name}: argument {argument!r} is not expected")
        error_type = _value_error(value, gold[argument], parameters["properties"][argument])
        if error_type is not None:
            detail = f"{name}: {argument!r} is {value!r}, {gold[argument]!r} is right"
            return Fault(error_type, detail)
    return None


def _value_error(value: Any, gold: Any, schema: Document) -> str | None:
    """The error type of one argument's value; None where it fits."""
    documented = schema["type"]
    expected, inner = TYPES[documented], _item_type(documented, schema)
    if documented == "tuple" and type(value) is tuple:
        value = list(value)
    if documented == "float" and type(value) is int:
        value = float(value)
    passes, is_variable = _type_fits(value, gold, expected, inner)
    if not passes:
        return "type_error"
    if is_variable:
        return None
    if expected is dict:
        return _object_error(value, gold)
    if expected is list and inner is dict:
        return _objects_error(value, gold)
    if expected is str:
        return None if standardise(gold) in standardise(value) else "value_error:string"
    if expected is list:
        same = [standardise(item) for item in value] == [standardise(item) for item in gold]
        return None if same else "value_error:list/tuple"
    return None


def _item_type(documented: str, schema: Document) -> type | None:
    if documented not in _WITH_ITEMS:
        return None
    items = schema.get("items")
    named = items.get("type") if isinstance(items, Mapping) else None
    if named is None:
        named = next((kind for kind in ("string", "enum") if kind in documented), "dict")
    return TYPES[named]


def _type_fits(value: Any, gold: Any, expected: type, inner: type | None) -> tuple[bool, bool]:
    """Whether the type will do, and whether it is the gold's rather than the documented one: then the value
    is not looked at."""
    own = None if gold == "" else type(gold)
    value = _as_boolean(value)
    passes = True
    if type(value) is expected:
        is_variable = own is not None and own is not expected
        if inner is None or any(_item_fits(item, value, inner) for item in gold):
            return True, is_variable
        passes = False
    if own is not None and (type(value) is own or gold == value):
        return passes, True
    return False, False


def _item_fits(option: Any, values: Any, inner: type) -> bool:
    if type(option) is not list:
        return True
    return all(_type_fits(value, option, inner, None)[0] for value in values)


def _object_error(value: Any, gold: Mapping[str, Any]) -> str | None:
    if not isinstance(value, dict) or len(value) != len(gold.keys()):
        return "value_error"
    for key, item in value.items():
        if key not in gold:
            return "value_error"
        item, right = _as_boolean(item), gold[key]
        if isinstance(right, dict):
            error = _object_error(item, right)
            if error is not None:
                return error
        elif str(standardise(right)) not in str(standardise(item)):
            return "value_error"
    return None


def _objects_error(values: Sequence[Any], gold: Sequence[Any]) -> str | None:
    if len(values) != len(gold):
        return "value_error:list_dict_count"
    for value, right in zip(values, gold, strict=True):
        error = _object_error(value, right)
        if error is not None:
            return error
    return None


def _as_boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if type(value) is str else value


def _squeezed(value: Any) -> Any:
    """Without any white space, in keys and values."""
    if isinstance(value, str):
        return "".join(value.split())
    if isinstance(value, Mapping):
        return {_squeezed(key): _squeezed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_squeezed(item) for item in value]
    return value


def state_faults(state: Sequence[Mapping[str, Any]], gold: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the published ``agent_eval`` finds wrong with an end state; empty where it is right.

    Both are ``{simulator: attributes}`` each. A simulator that only one of them names is not compared (the
    gold misspells some), and of a dictionary only the keys that the gold has.
    """
    if len(state) != len(gold):
        return [f"{len(state)} simulators have a state where {len(gold)} should"]
    ours = {name: attributes for one in state for name, attributes in one.items()}
    return [
        fault
        for one in gold
        for name, right in one.items()
        for fault in _attribute_faults(name, ours.get(name, {}), right)
    ]


def _attribute_faults(name: str, ours: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[str]:
    for key, value in ours.items():
        if key not in right:
            yield f"{name}.{key} is not in the gold"
        elif not isinstance(right[key], dict):
            if right[key] != value:
                yield f"{name}.{key} is {_short(value)}, not {_short(right[key])}"
        elif not isinstance(value, Mapping):
            yield f"{name}.{key} is {_short(value)}, not an object"
        else:
            for inner, wanted in right[key].items():
                if inner not in value:
                    yield f"{name}.{key} has no {inner!r}"
                elif value[inner] != wanted:
                    yield f"{name}.{key}.{inner} is {_short(value[inner])}, not {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
