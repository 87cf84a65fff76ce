"""Answers around the gold of BFCL's single-turn tasks, most of them wrong, for checkers to be compared on."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from strop.tools.bfcl.checker import language_of
from strop.tools.bfcl.gold import gold_calls
from strop.tools.bfcl.single import BfclCase
from strop.tools.spec import ToolCall

Calls = tuple[ToolCall, ...]


def values_near(value: Any) -> Iterator[Any]:
    """Values that a model might write instead, most of them wrong."""
    yield from (
        None,
        "",
        "x",
        "null",
        [],
        {},
        True,
        False,
        0,
        1,
        -1,
        0.5,
        [value],
        [[value]],
        {"value": value},
    )
    yield from (str(value), json.dumps(value), (10**400), [value, value], [None], [{}], [""], {"": ""})
    if isinstance(value, str):
        yield from _strings_near(value)
    elif isinstance(value, bool):
        yield from (not value, int(value), str(value).lower())
    elif isinstance(value, int | float):
        yield from (float(value), int(value), value + 1, -value, value / 3, f"{value:,}", f"{value}%")
    elif isinstance(value, list):
        yield from _lists_near(value)
    elif isinstance(value, dict):
        yield from _dicts_near(value)


def _strings_near(value: str) -> Iterator[Any]:
    yield from (value.upper(), value.lower(), value.title(), f" {value} ", value.replace(" ", ""))
    yield from (
        value.replace(" ", "_"),
        value.replace(",", ""),
        value.replace("'", '"'),
        value.replace('"', "'"),
    )
    yield from (
        f"{value}.",
        f"*{value}*",
        value.replace("-", "/"),
        f"{value}!",
        value[:-1],
        value.split(" ")[0],
    )
    yield from (value + "é", value.replace("_", "^"), list(value), value.split(","), value.encode().hex())
    if value.lstrip("-").isdigit():
        yield from (int(value), float(value))


def sources_near(text: str) -> Iterator[str]:
    """Java and JavaScript source that might stand where `text` does: other literals, or none quite."""
    yield from (f"{text}{suffix}" for suffix in ("L", "l", "f", "F", "n", "d", ".0", "e2", "\n", ";"))
    yield from (f'"{text}"', f"'{text}'", f"`{text}`", f"({text})", f"new String({text})", f"{text}.get()")
    inside = re.sub(r"^.*?[\[({]+|[\])}]+;?$", "", text) or "1"
    for opening, closing in (
        ("[", "]"), ("[ [", "] ]"), ("{", "}"), ("(", ")"),
        ("new Array(", ")"), ("new Array([", "], [1, 2])"),
        ("new int[]{", "}"), ("new String[] { ", " }"), ("new Object[]{", ", }"), ("new Point[2]{", "}"),
        ("Arrays.asList(", ")"), ("List.of(", ")"), ("new ArrayList<>(Arrays.asList(", "))"),
        ("new ArrayList<String>(Arrays.asList(", "))"), ("new ArrayList<String>() {{ add(", "); }}"),
        ("new ArrayList<Integer>()", ""), ("new HashMap<>()", ""),
        ("new HashMap<String, Object>() {{ put(", "); }}"),
        ('new HashMap<String, Object>() { { put("a", ', "); } }"), ('{"a": ', "}"),
        ("{a: ", ", b: [1, 2], c: {d: 1}}"),
    ):  # fmt: skip
        yield f"{opening}{inside}{closing}"
        yield f"{opening}{inside.replace(', ', ',')}{closing}"
        yield f"{opening}{inside.replace(chr(34), chr(39))}{closing}"
        yield f" {opening}\n{inside}{closing} "
    yield from (
        "true",
        "false",
        "True",
        "null",
        "-0",
        "1e5",
        "1.5e-3f",
        "007",
        "[]",
        "{}",
        "{ }",
        "new int[]{}",
    )
    yield from (
        text.replace("put", "add"),
        text.replace("add", "put"),
        text.replace(",", ";"),
        text.replace('"', ""),
    )


def _lists_near(value: list[Any]) -> Iterator[Any]:
    yield from (
        value[::-1],
        value[1:],
        value[:-1],
        value + value[:1],
        [*value, None],
        [*value, "x"],
        sorted(value, key=str),
    )
    yield from (
        [str(item) for item in value],
        {str(k): v for k, v in enumerate(value)},
        ", ".join(map(str, value)),
    )
    yield [float(item) if isinstance(item, int) else item for item in value]
    yield [int(item) if isinstance(item, float) else item for item in value]
    yield [item.upper() if isinstance(item, str) else item for item in value]
    for index, item in enumerate(value[:3]):
        for near in (None, "", True, [item], {}, *(_dicts_near(item) if isinstance(item, dict) else ())):
            yield [*value[:index], near, *value[index + 1 :]]


def _dicts_near(value: dict[str, Any]) -> Iterator[Any]:
    yield from (list(value), list(value.values()), {**value, "unexpected": 1}, dict(reversed(value.items())))
    yield {key.upper(): item for key, item in value.items()}
    for key, item in value.items():
        rest = {name: other for name, other in value.items() if name != key}
        yield from (rest, {**rest, "unexpected": item}, {**rest, key.title(): item})
        for near in (None, "", str(item), [item], {"x": item}, True, 1, 1.0, [], {}, item == item):
            yield {**value, key: near}
        if isinstance(item, str):
            yield from ({**value, key: near} for near in (item.upper(), f"{item}, ", item[:-1]))


def calls_near(call: ToolCall, case: BfclCase, possible: Mapping[str, Any]) -> Iterator[ToolCall]:
    """One call, changed in its name, the set of its arguments, or one argument's value."""
    name, arguments = call.name, dict(call.arguments)
    tools = [function["name"] for function in case.functions]
    names = (
        name.upper(),
        name.replace(".", "_"),
        name.replace("_", "."),
        name.split(".")[-1],
        f"{name} ",
        "",
        *tools,
    )
    yield from (ToolCall(other, arguments) for other in names)
    yield from (ToolCall(name, {}), ToolCall(name, dict(reversed(arguments.items()))))
    yield from (
        ToolCall(name, {**arguments, "unexpected": 1}),
        ToolCall(name, {"unexpected": 1, **arguments}),
    )
    allowed: Mapping[str, Sequence[Any]] = possible[name]
    for key in {**allowed, **_properties(case, name)}:
        if key not in arguments:
            for value in ("", None, 1, 1.5, "x", True, [], {}, *allowed.get(key, ())):
                yield ToolCall(name, {**arguments, key: value})
            continue
        rest = {other: value for other, value in arguments.items() if other != key}
        yield from (ToolCall(name, rest), ToolCall(name, {**rest, key.upper(): arguments[key]}))
        near = values_near(arguments[key])
        if language_of(case.category) != "python":
            near = itertools.chain(near, sources_near(str(arguments[key])))
        for value in (*near, *allowed.get(key, ())):
            yield ToolCall(name, {**arguments, key: value})


def _properties(case: BfclCase, name: str) -> Mapping[str, Any]:
    documents = [function["parameters"] for function in case.functions if function["name"] == name]
    found: Mapping[str, Any] = documents[0]["properties"]
    return found


def answers_near(case: BfclCase, rng: random.Random) -> Iterator[Calls]:
    """The gold answer and its mutations: the list of calls changed, then one call, then several at once."""
    gold = gold_calls(case.functions, case.possible, language_of(case.category))
    yield from (
        gold,
        (),
        gold[::-1],
        gold[1:],
        gold[:-1],
        gold + gold[:1],
        gold + gold[-1:],
        (gold[0],) * len(gold),
    )
    yield from (gold[1:] + gold[:1], (*gold, ToolCall("unexpected", {})), (ToolCall(gold[0].name, {}), *gold))
    near = [
        tuple(calls_near(call, case, possible)) for call, possible in zip(gold, case.possible, strict=True)
    ]
    for index, calls in enumerate(near):
        yield from ((*gold[:index], call, *gold[index + 1 :]) for call in calls)
    for _ in range(20):
        mixed = [rng.choice((call, *calls)) for call, calls in zip(gold, near, strict=True)]
        first = mixed[0]
        changed = {key: rng.choice(tuple(values_near(value))) for key, value in gold[0].arguments.items()}
        kept = {key: value for key, value in first.arguments.items() if rng.random() < 0.6}
        mixed[0] = ToolCall(first.name, kept | rng.choice(({}, changed)))
        rng.shuffle(mixed)
        yield tuple(mixed)


def results_near(case: BfclCase, rng: random.Random) -> Iterator[tuple[Calls, str | None]]:
    """Answers to judge: calls, or prose without any."""
    yield from (((), ""), ((), None), ((), "I cannot help."), ((), "[]"), ((), "f(x=1)"))
    if case.possible:
        yield from ((calls, None) for calls in answers_near(case, rng))
        return
    for name in [function["name"] for function in case.functions] or ["anything"]:
        call = ToolCall(name, {"x": 1})
        yield from (((call,), None), ((call, call), "prose beside"), ((ToolCall(name, {}),), ""))
