"""One right answer to a BFCL task, out of those its checker allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strop.tools.bfcl.literals import source_text
from strop.tools.spec import ToolCall


def gold_calls(
    functions: Sequence[Mapping[str, Any]],
    possible: Sequence[Mapping[str, Any]],
    language: str = "python",
) -> tuple[ToolCall, ...]:
    """One right answer: the first allowed value of every argument, left out where only that is allowed; in
    Java and JavaScript as source text.

    A handful of entries contradict their own function documents, so that nothing would satisfy the checker.
    """
    documents = {function["name"]: function["parameters"] for function in functions}
    return tuple(
        ToolCall(name, _first_values(allowed, documents.get(name, {}), language))
        for gold in possible
        for name, allowed in gold.items()
    )


def _first_values(
    allowed: Mapping[str, Sequence[Any]], document: Mapping[str, Any], language: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, options in allowed.items():
        given = [option for option in options if option != ""]
        if given:
            values[name] = _settle(given[0])
        elif name in document.get("required", ()):
            # The checker takes the mark of an optional list for an empty one.
            values[name] = [] if document["properties"][name]["type"] in ("array", "tuple") else ""
        if language != "python" and name in values:
            schema = document["properties"][name]
            values[name] = source_text(
                values[name], schema["type"], schema.get("items", {}).get("type"), language
            )
    return values


def _settle(option: Any) -> Any:
    """One value out of an allowed one: a dictionary holds choices, one level deep; so does a list of them."""
    if isinstance(option, list):
        return [_settle(item) if isinstance(item, Mapping) else item for item in option]
    if not isinstance(option, Mapping):
        return option
    return {key: choices[0] for key, choices in option.items() if "" not in choices}
