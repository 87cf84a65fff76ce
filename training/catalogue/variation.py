"""The same tool as another author would have declared it.

Models meet tools whose options nobody mentions, and fill them in all the same: with a unit, a league, a
store that was never named. So a varied tool has options that no template knows of, and no gold call gives.
Names come in several styles, defaults stand in the schema or in the description. What the tool does and what
its arguments mean stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from strop.tools.spec import ToolSpec
from strop.training.catalogue import CatalogueTool

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "language": {"type": "string", "description": "Language of the result", "default": "en"},
    "locale": {"type": "string", "description": "Locale the output is formatted for", "default": "en_US"},
    "output_format": {
        "type": "string",
        "enum": ["json", "csv", "text"],
        "description": "Format of the result",
        "default": "json",
    },
    "verbose": {"type": "boolean", "description": "Whether to return all details", "default": False},
    "include_history": {
        "type": "boolean",
        "description": "Whether earlier results are returned, too",
        "default": False,
    },
    "timezone": {"type": "string", "description": "Time zone of all times in the answer", "default": "UTC"},
    "max_results": {"type": "integer", "description": "Most results to return", "default": 10},
    "page": {"type": "integer", "description": "Page of the results, from 1", "default": 1},
    "sort_order": {
        "type": "string",
        "enum": ["ascending", "descending"],
        "description": "Order of the results",
        "default": "ascending",
    },
    "decimals": {"type": "integer", "description": "Digits after the decimal point", "default": 2},
    "source": {"type": "string", "description": "Data source to ask"},
    "notify": {"type": "boolean", "description": "Send a notification when done", "default": False},
    "tags": {"type": "array", "items": {"type": "string"}, "description": "Labels to attach"},
    "notes": {"type": "string", "description": "Remarks to store with the request"},
    "priority": {
        "type": "string",
        "enum": ["low", "normal", "high"],
        "description": "How urgent the request is",
        "default": "normal",
    },
    "timeout": {"type": "number", "description": "Seconds to wait before giving up", "default": 30.0},
    "dry_run": {"type": "boolean", "description": "Only simulate the operation", "default": False},
    "user_id": {"type": "string", "description": "Identifier of the user this runs for, if known"},
    "fields": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Fields to return; all of them if omitted",
    },
    "region": {"type": "string", "description": "Server region that handles the request"},
    "use_cache": {"type": "boolean", "description": "Whether a cached answer will do", "default": True},
    "detail_level": {
        "type": "string",
        "enum": ["brief", "standard", "full"],
        "description": "How detailed the answer is",
        "default": "standard",
    },
    "reference": {"type": "string", "description": "Reference of an earlier request"},
    "theme": {"type": "string", "description": "Colour theme of charts in the result", "default": "light"},
}
"""Options that fit nearly any tool and that requests are silent about."""

_HOW_MANY = (0, 0, 1, 1, 2, 3)
"""Options a tool gets: some tools have none."""


def varied(tool: CatalogueTool, rng: Random) -> CatalogueTool:
    """`tool` under another style of name, with options nobody will mention, its defaults told elsewhere."""
    schema = copy.deepcopy(dict(tool.spec.parameters))
    arguments: dict[str, Any] = schema["properties"]
    for declared in arguments.values():
        _move_default(declared, rng)
    for name in rng.sample(_fitting(arguments), rng.choice(_HOW_MANY)):
        arguments[name] = option = dict(OPTIONS[name])
        _move_default(option, rng)
    return replace(tool, spec=ToolSpec(_renamed(tool, rng), tool.spec.description, schema))


def _fitting(arguments: Mapping[str, Any]) -> list[str]:
    """Options that share no word with an argument's name, so that no request can seem to mean them."""
    words = {word for name in arguments for word in name.lower().split("_")}
    return [name for name in OPTIONS if not set(name.split("_")) & words]


def _move_default(declared: dict[str, Any], rng: Random) -> None:
    """Tell the default in the description, in the schema, or in both."""
    if "default" not in declared or rng.random() < 0.4:
        return
    default = declared["default"] if rng.random() < 0.4 else declared.pop("default")
    saying = rng.choice(("Default is {}.", "Defaults to {}.", "Optional, default {}."))
    text = str(declared.get("description", "")).rstrip(".")
    declared["description"] = f"{text}. {saying.format(repr(default))}"


def _renamed(tool: CatalogueTool, rng: Random) -> str:
    """snake_case, camelCase, or in a namespace."""
    name, style = tool.name, rng.random()
    if "." in name:
        return name.rpartition(".")[2] if style < 0.1 else name
    if style < 0.12:
        head, *rest = name.split("_")
        return head + "".join(word.capitalize() for word in rest)
    return f"{tool.domain}.{name}" if style < 0.3 else name
