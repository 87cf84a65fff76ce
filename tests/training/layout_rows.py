"""Rows of each layout, of our own making, and how the tests read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.tools.task import Gold, Task
from strop.training.layouts import LAYOUTS, Origin

ORIGIN = Origin("here-1", "here")


def turns(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": speaker, "value": text} for speaker, text in said]


WEATHER = {
    "name": "Get Weather.now",
    "description": "Wetter für eine Stadt – 天気",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "opts": {"type": "dict", "properties": {"days": {"type": "int", "default": 1}}},
        },
        "required": ["city"],
    },
}
TOOL = {
    "name": "find_flat",
    "description": "Flats for rent.",
    "parameters": {
        "type": "object",
        "properties": {"where": {"type": "string"}, "rooms": {"type": "array", "items": {"type": "number"}}},
        "required": ["where"],
    },
}
CALL = {"name": "find_flat", "arguments": {"where": "Zürich 🏠", "rooms": [2.5, 3]}}
OTHER = {"name": "find_flat", "arguments": {"where": "Bern", "rooms": None}}

TOOLACE = {
    "system": "You are an expert in composing functions. Here is a list of functions in JSON format that you "
    f"can invoke:\n{json.dumps([WEATHER], ensure_ascii=False)}\n\n"
    "Should you decide to return the function call(s). \n"
    "Put it in the format of [func1(a=b, c=d...), func2(e)]\n\nNO other text MUST be included.\n"
    "Today is a Monday.",
    "conversations": turns(
        ("user", "Weather in São Paulo and Oslo?"),
        ("assistant", "[Get Weather.now(city='São Paulo', opts={'days': 2, 'x': [None, True]}), "
         'Get Weather.now(city="Oslo (Norway)", from-day=-1.5)]'),
        ("tool", '[{"name": "Get Weather.now", "results": {"t": 30.50}}, {"results":"Schnee – 雪"}]'),
        ("assistant", "Warm, and cold."),
        ("user", "Thanks"),
        ("assistant", "[1] You are welcome (really)."),
    ),
}  # fmt: skip
XLAM = {
    "id": 7,
    "query": "Two flats in Zürich",
    "tools": json.dumps([{
        "name": "find_flat", "description": "Flats.",
        "parameters": {
            "where": {"description": "the town", "type": "str", "default": "Bern"},
            "rooms": {"description": "how many", "type": "List[float], optional", "default": ""},
        },
    }]),
    "answers": json.dumps([CALL, OTHER]),
}  # fmt: skip
SHAREGPT = {
    "conversations": turns(
        ("human", "A flat?"),
        ("function_call", json.dumps([CALL, OTHER], ensure_ascii=False)),
        ("observation", "none"),
        ("observation", '{"flats": 2}'),
        ("gpt", "Two in Bern."),
    ),
    "tools": json.dumps([TOOL]),
}
APIGEN = {
    "system": "You help people to move.",
    "tools": json.dumps([TOOL]),
    "conversations": turns(
        ("human", "Hi"),
        ("gpt", "Where to?"),
        ("human", "Bern"),
        ("function_call", json.dumps(OTHER)),
        ("observation", "one flat"),
        ("gpt", "There is one."),
    ),
}
HERMES: dict[str, Any] = {
    "id": "a-b",
    "conversations": turns(
        ("system", "You are a function calling AI model. You are provided with function signatures within "
         "<tools> </tools> XML tags. Be brief.\n<tools>\n"
         f"{[{'type': 'function', 'function': TOOL | {'strict': True}}]!r}\n</tools>\n"
         "For each function call return a json object with function name and arguments within <tool_call> "
         "</tool_call> tags with the following schema:\n<tool_call>\n"
         "{'arguments': <args-dict>, 'name': <name>}\n</tool_call>\n"),
        ("human", "A flat?"),
        ("gpt", f"I look.\n<tool_call>\n{CALL!r}\n</tool_call>\n"
         f"<tool_call>\n{json.dumps(OTHER)}\n</tool_call>"),
        ("tool", "<tool_response>\nnone\n</tool_response>\n<tool_response>\n2\n</tool_response>"),
        ("gpt", "Two in Bern."),
    ),
}  # fmt: skip
_DOCUMENT = {
    "api_name": "getFilm", "api_description": "A film.", "required": ["title"],
    "parameters": {"title": {"type": "str", "description": "It's the title"}, "year": {"type": "int"}},
}  # fmt: skip
SEALTOOLS = {
    "id": "easy-0",
    "conversations": turns(
        ("human", f'Choose.\n\nInput:\napi_list = {[_DOCUMENT]!r}\ntask_instruction = "A film?"\nOutput:\n'),
        ("gpt", repr([{"api": "getFilm", "parameters": {"title": "M", "year": "1931"}, "responses": []}])),
    ),
}
OPENAI: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": [{"type": "text", "text": "A flat?"}]},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "x", "type": "function",
                 "function": {"name": "find_flat", "arguments": json.dumps(CALL["arguments"])}},
            ],
        },
        {"role": "tool", "tool_call_id": "x", "content": "2"},
        {"role": "assistant", "content": "Two.", "weight": 1},
        {"role": "user", "content": "Ok"},
        {"role": "assistant", "content": "Bye.", "weight": 0},
    ],
    "tools": [{"type": "function", "function": TOOL}],
    "parallel_tool_calls": False,
}  # fmt: skip
STROP: dict[str, Any] = {
    "id": "own", "messages": [{"role": "user", "content": "A flat?"}], "tools": [TOOL], "calls": [CALL],
}  # fmt: skip
ROWS: Mapping[str, dict[str, Any]] = {
    "strop": STROP,
    "openai": OPENAI,
    "toolace": TOOLACE,
    "xlam": XLAM,
    "apigen_mt": APIGEN,
    "hermes": HERMES,
    "sealtools": SEALTOOLS,
    "sharegpt": SHAREGPT,
}


def write(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(row: Mapping[str, Any], layout: str) -> list[Task]:
    return LAYOUTS[layout].read(row, ORIGIN)


def gold(task: Task) -> Gold:
    assert task.gold is not None
    return task.gold
