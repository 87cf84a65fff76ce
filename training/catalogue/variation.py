"""The same tool as another author would have declared it.

Models meet tools whose options nobody mentions, and fill them in all the same: with a unit, a league, a
store that was never named. Or they learn that options are never given, and leave out what was asked for. So
a varied tool has options that no template knows of; most requests are silent about them, and some ask for
one (`wished`). Names come in several styles, defaults stand in the schema or in the description. What the
tool does and what its arguments mean stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
"""Options that fit nearly any tool and that most requests are silent about."""

WISHES: Mapping[str, Sequence[tuple[str, Any]]] = {
    "language": (
        ("Answer in Spanish.", "es"),
        ("I need the result in French.", "fr"),
        ("Please reply in German.", "de"),
        ("The result should be in Italian.", "it"),
    ),
    "output_format": (
        ("Return it as CSV.", "csv"),
        ("I need the result as plain text.", "text"),
        ("Give me the result in CSV format.", "csv"),
        ("Please use the text format.", "text"),
    ),
    "verbose": (
        ("Return all details.", True),
        ("I want every detail.", True),
        ("Please be as detailed as possible.", True),
        ("Detailed results, please.", True),
    ),
    "include_history": (
        ("Include earlier results, too.", True),
        ("I want to see the earlier results as well.", True),
        ("Show the history along with it.", True),
    ),
    "timezone": (
        ("All times in CET, please.", "CET"),
        ("Use the time zone Asia/Tokyo.", "Asia/Tokyo"),
        ("Times should be in EST.", "EST"),
    ),
    "max_results": (
        ("At most 5 results, please.", 5),
        ("Limit it to 3 results.", 3),
        ("I want up to 20 results.", 20),
        ("No more than 8 results.", 8),
    ),
    "page": (
        ("Show me page 2 of the results.", 2),
        ("I need the third page of the results.", 3),
        ("Go to page 4.", 4),
    ),
    "sort_order": (
        ("Sort the results in descending order.", "descending"),
        ("I want them in descending order.", "descending"),
        ("Order them ascending.", "ascending"),
    ),
    "decimals": (
        ("Round to 3 decimals.", 3),
        ("Give me 4 digits after the decimal point.", 4),
        ("One decimal place is enough.", 1),
        ("I need 5 decimal places.", 5),
    ),
    "source": (
        ("Take the data from Openbase.", "Openbase"),
        ("Ask the national registry for it.", "national registry"),
        ("Use Datalink as the source.", "Datalink"),
    ),
    "notify": (
        ("Notify me when it is done.", True),
        ("Send me a notification once that is finished.", True),
        ("I don't need a notification.", False),
    ),
    "tags": (
        ('Tag it "work".', ["work"]),
        ("Attach the labels home and urgent.", ["home", "urgent"]),
        ('Please label it "archive".', ["archive"]),
    ),
    "notes": (
        ('Add the note "call me first".', "call me first"),
        ('Store the remark "checked twice" with it.', "checked twice"),
        ('The note should say "for the annual report".', "for the annual report"),
    ),
    "priority": (
        ("It's urgent.", "high"),
        ("This has high priority.", "high"),
        ("There is no hurry; low priority will do.", "low"),
        ("Treat it with normal priority.", "normal"),
    ),
    "timeout": (
        ("Give up after 10 seconds.", 10),
        ("Wait 60 seconds at most.", 60),
        ("Don't wait longer than 5 seconds.", 5),
    ),
    "dry_run": (
        ("Only simulate it for now.", True),
        ("Make it a dry run.", True),
        ("Do it for real, not as a dry run.", False),
    ),
    "user_id": (
        ("My user id is U-4821.", "U-4821"),
        ("This is for user kim_07.", "kim_07"),
        ("I am user 90211.", "90211"),
    ),
    "fields": (
        ("I only need the fields name and status.", ["name", "status"]),
        ("Return nothing but the field total.", ["total"]),
        ("The fields id, date and result will do.", ["id", "date", "result"]),
    ),
    "region": (
        ("Use the server region eu-west-1.", "eu-west-1"),
        ("Have the region us-east-2 handle it.", "us-east-2"),
    ),
    "use_cache": (
        ("Don't use a cached answer.", False),
        ("I want a fresh answer, not one from the cache.", False),
        ("A cached answer will do.", True),
    ),
    "detail_level": (
        ("Keep it brief.", "brief"),
        ("I want the full detail level.", "full"),
        ("A brief answer is enough.", "brief"),
        ("Tell me everything in full detail.", "full"),
    ),
    "reference": (
        ("It belongs to my earlier request R-2047.", "R-2047"),
        ("The reference of my earlier request is 55-81.", "55-81"),
    ),
    "theme": (
        ("Use the dark theme for charts.", "dark"),
        ("Draw the charts in the dark theme.", "dark"),
    ),
}
"""How people ask for an option, and its value then. `locale` is never asked for."""

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


def wished(tool: CatalogueTool, rng: Random) -> tuple[str, dict[str, Any]] | None:
    """A sentence asking for one of the options that a varied tool got, and the argument; None without any."""
    own = {argument.path.partition(".")[0] for argument in tool.arguments}
    options = [name for name in tool.spec.properties if name not in own and name in WISHES]
    if not options:
        return None
    name = rng.choice(options)
    said, value = rng.choice(WISHES[name])
    return said, {name: value}


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
