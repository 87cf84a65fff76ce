"""Other people's layouts: read as tasks, nothing bent, bad rows named, each told from the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strop.agent.cli.data import app
from strop.agent.cli.parsing import read_tasks_aloud
from strop.tools.errors import DataError, UsageError
from strop.tools.formats.bracketed import announces_calls, read_list
from strop.tools.schema import normalised
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.datasets import read_sft, tasks_among
from strop.training.layouts import LAYOUTS, WRITERS, Origin, read_layout
from strop.training.layouts.xlam import json_type
from tests.tools.strategies import calls, json_values, names, texts
from tests.training.test_datasets import Letters

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


# Each layout, read.


def test_toolace() -> None:
    asked, told, thanked = read(TOOLACE, "toolace")
    assert [task.id for task in (asked, told, thanked)] == ["here-1#1", "here-1#2", "here-1#3"]
    assert gold(asked).calls == (
        ToolCall("Get Weather.now", {"city": "São Paulo", "opts": {"days": 2, "x": [None, True]}}),
        ToolCall("Get Weather.now", {"city": "Oslo (Norway)", "from-day": -1.5}),
    )
    assert gold(told) == Gold((), "Warm, and cold.")
    assert gold(thanked).response == "[1] You are welcome (really)."
    assert asked.messages[0] == {
        "role": "system",
        "content": "You are an expert in composing functions.\nToday is a Monday.",
    }
    (tool,) = asked.tools
    assert (tool.name, tool.description, tool.parameters) == tuple(WEATHER.values())
    assert normalised(tool.parameters)["properties"]["opts"]["type"] == "object"
    assert [message["role"] for message in told.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert told.messages[3:] == (
        {
            "role": "tool", "tool_call_id": "call_1",
            "content": '{"name": "Get Weather.now", "results": {"t": 30.50}}',
        },
        {"role": "tool", "tool_call_id": "call_2", "content": '{"results":"Schnee – 雪"}'},
    )  # fmt: skip


def test_xlam() -> None:
    (task,) = read(XLAM, "xlam")
    assert task.id == "7"
    assert gold(task).calls == (ToolCall.from_json(CALL), ToolCall.from_json(OTHER))
    assert task.tools[0].parameters == {
        "type": "object",
        "properties": {
            "where": {"type": "string", "description": "the town", "default": "Bern"},
            "rooms": {
                "type": "array", "items": {"type": "number"}, "description": "how many", "default": "",
            },
        },
        "required": ["where"],
    }  # fmt: skip
    (none,) = read({**XLAM, "answers": "[]"}, "xlam")
    assert gold(none) == Gold(())
    (schema,) = read({**XLAM, "tools": json.dumps([TOOL])}, "xlam")
    assert schema.tools[0].parameters == TOOL["parameters"]


@pytest.mark.parametrize(
    ("written", "schema", "optional"),
    [
        ("str", {"type": "string"}, False),
        ("str, optional", {"type": "string"}, True),
        ("Optional[int]", {"type": "integer"}, True),
        ("Dict[str, List[bool]]", {
            "type": "object", "additionalProperties": {"type": "array", "items": {"type": "boolean"}},
        }, False),
        ("typing.Dict[str, Any], optional", {"type": "object"}, True),
        ("List[Union[int, float]]", {
            "type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        }, False),
        ("Tuple[int, str]", {
            "type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2, "maxItems": 2,
        }, False),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}, False),
        ("set", {"type": "array"}, False),
        ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, False),
        ("Literal['a', -1]", {"enum": ["a", -1]}, False),
        ("Callable[[float], float]", {"x-type": "Callable[[float], float]"}, False),
        ("__import__('os').getcwd()", {"x-type": "__import__('os').getcwd()"}, False),
        ("", {}, False),
    ],
)  # fmt: skip
def test_types_as_python_annotates_them(written: str, schema: dict[str, Any], optional: bool) -> None:
    assert json_type(written) == (schema, optional)


def test_apigen_mt() -> None:
    first, second, third = read(APIGEN, "apigen_mt")
    assert gold(first) == Gold((), "Where to?")
    assert gold(second).calls == (ToolCall.from_json(OTHER),)
    assert gold(third).response == "There is one."
    assert second.messages == (
        {"role": "system", "content": "You help people to move."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Where to?"},
        {"role": "user", "content": "Bern"},
    )
    call, result = third.messages[4:]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == OTHER["arguments"]
    assert result == {"role": "tool", "content": "one flat", "tool_call_id": call["tool_calls"][0]["id"]}


def test_hermes() -> None:
    asked, told = read(HERMES, "hermes")
    assert [task.id for task in (asked, told)] == ["a-b#1", "a-b#2"]
    assert gold(asked) == Gold((ToolCall.from_json(CALL), ToolCall.from_json(OTHER)), "I look.")
    assert asked.tools == (ToolSpec.from_openai({**TOOL, "strict": True}),)
    assert asked.messages == (
        {"role": "system", "content": "You are a function calling AI model. Be brief."},
        {"role": "user", "content": "A flat?"},
    )
    called, *results = told.messages[2:]
    assert [(one["tool_call_id"], one["content"]) for one in results] == [
        (call["id"], text) for call, text in zip(called["tool_calls"], ("none", "2"), strict=True)
    ]
    system, *rest = HERMES["conversations"]
    own = {"conversations": [{**system, "value": "Help."}, *rest], "tools": json.dumps([TOOL])}
    assert read(own, "hermes")[0].tools == (ToolSpec.from_openai(TOOL),)


def test_only_what_is_said_about_tags_is_dropped() -> None:
    schema = "{'title': 'FunctionCall', 'properties': {'name': {'type': 'string'}}, 'required': ['name']}"
    each = "For each function call return a json object within <tool_call></tool_call> XML tags as follows:\n"
    example = "<tool_call>\n{}\n</tool_call>\n"
    system = (
        f"Be brief. Here are the available tools: <tools> {[TOOL]!r} </tools> "
        f"Use the following pydantic model json schema for each tool call you will make: {schema} "
        f"{each}{example}It is Monday."
    )
    rest = turns(("human", "?"), ("gpt", "No."))
    (task,) = read({"conversations": [*turns(("system", system)), *rest]}, "hermes")
    assert task.messages[0]["content"] == "Be brief. It is Monday."
    other = system.replace(each, "").replace(example, "")
    (task,) = read({"conversations": [*turns(("system", other)), *rest]}, "hermes")
    assert task.messages[0]["content"].endswith("It is Monday.")


def test_tools_in_tags_may_stand_one_after_the_other() -> None:
    listed = f"{json.dumps(TOOL)}\n{json.dumps({**TOOL, 'name': 'g'})}"
    said = turns(("system", f"<tools>{listed}</tools>"), ("human", "?"), ("gpt", "No."))
    (task,) = read({"conversations": said}, "hermes")
    assert [tool.name for tool in task.tools] == ["find_flat", "g"]
    assert task.messages == ({"role": "user", "content": "?"},)


def test_sealtools() -> None:
    (task,) = read(SEALTOOLS, "sealtools")
    assert gold(task).calls == (ToolCall("getFilm", {"title": "M", "year": 1931}),)
    assert task.messages == ({"role": "user", "content": "A film?"},)


def test_sharegpt() -> None:
    asked, told = read(SHAREGPT, "sharegpt")
    assert gold(asked).calls == (ToolCall.from_json(CALL), ToolCall.from_json(OTHER))
    assert json.dumps(asked.to_json()["calls"]) == json.dumps([CALL, OTHER])
    assert [message.get("tool_call_id") for message in told.messages] == [None, None, "call_1", "call_2"]
    said = turns(("human", "?"), ("gpt", "I look."), ("function_call", json.dumps(CALL)), ("gpt", "Done."))
    with pytest.raises(DataError, match="speaks twice in a row"):
        read({**SHAREGPT, "conversations": said}, "sharegpt")
    (joined,) = read({**SHAREGPT, "conversations": said[:3]}, "sharegpt")
    assert gold(joined) == Gold((ToolCall.from_json(CALL),), "I look.")


def test_openai() -> None:
    asked, told = read(OPENAI, "openai")
    assert asked.messages == tuple(OPENAI["messages"][:2])
    assert gold(asked).calls == (ToolCall.from_json(CALL),)
    assert told.messages == tuple(OPENAI["messages"][:4])
    assert [task.id for task in (asked, told)] == ["here-1#1", "here-1#2"]


@pytest.mark.parametrize(
    "result", ["[1]", "[1, 2, 3]", "[1, 2", "[1 2]", "[1, 2] and more", "1, 2", "[]", ""]
)
def test_results_that_are_not_one_for_each_call_stay_as_they_are(result: str) -> None:
    conversations = turns(
        ("human", "?"), ("function_call", json.dumps([CALL, OTHER])), ("observation", result)
    )
    row = {**SHAREGPT, "conversations": [*conversations, *turns(("gpt", "So."))]}
    assert read(row, "sharegpt")[-1].messages[-1] == {"role": "tool", "content": result}


def test_an_answer_without_a_question_is_context_only() -> None:
    said = turns(("gpt", "Welcome!"), ("human", "?"), ("gpt", ""), ("human", "Hello?"), ("gpt", "Yes."))
    (task,) = read({"conversations": said}, "sharegpt")
    assert (task.id, gold(task).response, len(task.messages)) == ("here-1", "Yes.", 4)


# Nothing bent.

ARGUMENTS = st.dictionaries(st.sampled_from(("a", "near-by", "from", "$x", "ü b")), json_values(), max_size=3)


@given(
    st.lists(st.builds(ToolCall, names().filter(lambda name: name.strip() == name), ARGUMENTS), min_size=1)
)
def test_calls_in_brackets_are_read_as_they_were_written(some: list[ToolCall]) -> None:
    written = [
        f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"
        for call in some
    ]
    offered = {call.name for call in some}
    text = f"[{', '.join(written)}]"
    assert announces_calls(text, offered)
    assert read_list(text, offered) == some
    assert [call.text for call in read_list(text, offered)] == written


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[f(a=1)", "stands between"),
        ("[f(a=1)] and so on", "stands between"),
        ("[f(a=1), ]", "a name"),
        ("[f(1)]", "has no name"),
        ("[f(a=1, a=2)]", "given twice"),
        ("[f(a=g(1))]", "calls cannot be read"),
        ("[f(a=__import__('os'))]", "calls cannot be read"),
        ("[f(a=1+1)]", "calls cannot be read"),
        ("[f(a=)]", "calls cannot be read"),
        ("[f(a={1, 2})]", "calls cannot be read"),
        ("[f(a='x]", "calls cannot be read"),
        ("[f(a=" + "[" * 100, "calls cannot be read"),
        ("[]", "a name"),
    ],
)
def test_lists_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_list(text, {"f"})


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """Tasks with something to learn, in conversations of any kind."""
    made = draw(st.lists(calls(), max_size=3))
    past = st.fixed_dictionaries(
        {"role": st.sampled_from(("system", "user", "assistant", "tool")), "content": texts()}
    )
    called = st.builds(
        lambda call: {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}]},
        calls(),
    )  # fmt: skip
    prose = st.text("abc 🦊\n", min_size=1).filter(str.strip)
    offered = {call.name for call in made} | set(draw(st.lists(names(), max_size=1)))
    schema = st.dictionaries(texts(), json_values(), max_size=2)
    return Task(
        draw(texts()),
        tuple(draw(st.lists(past | called, min_size=1, max_size=4))),
        tuple(
            ToolSpec(name, draw(texts()), {"type": "object", "properties": draw(schema)}, draw(st.booleans()))
            for name in sorted(offered)
        ),
        Gold(tuple(made), draw(st.none() | prose) if made else draw(prose)),
    )


@given(tasks())
def test_a_task_written_as_openai_is_the_same_task_again(task: Task) -> None:
    row = json.loads(json.dumps(WRITERS["openai"].write(task)))
    (again,) = read(row, "openai")
    assert (again.messages, again.tools, again.gold) == (task.messages, task.tools, task.gold)
    assert str(again.to_json()["calls"]) == str(task.to_json()["calls"])  # and their order
    ids = [call["id"] for call in row["messages"][-1].get("tool_calls", [])]
    assert len(set(ids)) == len(gold(task).calls)


@pytest.mark.parametrize("layout", sorted(ROWS))
def test_every_layout_goes_to_openai_and_back(layout: str) -> None:
    for task in read(ROWS[layout], layout):
        (again,) = read(WRITERS["openai"].write(task), "openai")
        assert (again.messages, again.tools, again.gold) == (task.messages, task.tools, task.gold)


def test_to_sharegpt_and_back() -> None:
    for layout in ("apigen_mt", "sharegpt", "sealtools", "strop", "xlam"):
        for task in read(ROWS[layout], layout):
            again = read(WRITERS["sharegpt"].write(task), "sharegpt")[-1]
            assert (again.tools, again.gold) == (task.tools, task.gold)
            assert [(one["role"], one["content"] or "") for one in again.messages] == [
                (one["role"], one["content"] or "") for one in task.messages
            ]


@pytest.mark.parametrize("to", ["openai", "sharegpt"])
def test_what_a_layout_cannot_hold_is_refused(to: str) -> None:
    nothing = Task.from_json({**STROP, "calls": []})
    with pytest.raises(DataError, match="no calls and no response"):
        WRITERS[to].write(nothing)


def test_sharegpt_has_no_place_for_prose_beside_calls() -> None:
    for changes in (
        {"response": "I look."},
        {"messages": [*STROP["messages"], {"role": "system", "content": "x"}]},
    ):
        with pytest.raises(DataError, match="no place in this layout"):
            WRITERS["sharegpt"].write(Task.from_json(STROP | changes))


# Bad rows.


def said(speaker: str, text: str, asker: str = "human") -> dict[str, Any]:
    """Changes a row's conversation to a question and this."""
    return {"conversations": turns((asker, "?"), (speaker, text))}


def answered(message: dict[str, Any], role: str = "user") -> dict[str, Any]:
    """Changes a row's messages to a question and this answer."""
    return {"messages": [{"role": role, "content": "?"}, {"role": "assistant", **message}]}


def answers(text: str) -> dict[str, Any]:
    """Changes a row of xLAM to a call with these arguments, written as they are."""
    return {"answers": f'[{{"name": "find_flat", "arguments": {text}}}]'}


CUT = {"tool_calls": [{"type": "function", "function": {"name": "find_flat", "arguments": "where=Bern"}}]}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("toolace", said("assistant", "[Unknown(a=1)]", "user"), "not offered"),
    ("toolace", said("assistant", "[Get Weather.now(a=b)]", "user"), "cannot be read"),
    ("toolace", said("assistant", "Sure: [Get Weather.now(city='x')]", "user"), "prose before them"),
    ("toolace", {"system": 'functions: [{"name": "f",]'}, "list of functions in the system text"),
    ("toolace", {"conversations": [{"from": "user"}]}, "turn 1 of 'conversations'"),
    ("toolace", {"conversations": turns(("robot", "?"))}, "nobody is called 'robot'"),
    ("toolace", {"conversations": turns(("user", "?"))}, "no answer that could be learned"),
    ("xlam", {"tools": "[{"}, "'tools': not JSON"),
    ("xlam", {"tools": '{"name": "f"}'}, "'tools' must be a list"),
    ("xlam", {"answers": '[{"name": "g", "arguments": {}}]'}, "'g', which is not offered"),
    ("xlam", answers('{"a": 1, "a": 2}'), "given twice"),
    ("xlam", answers('{"a": NaN}'), "NaN is not JSON"),
    ("xlam", answers('"{"'), "arguments: not JSON"),
    ("xlam", {"query": ""}, "'query' must be text"),
    ("xlam", {"tools": '[{"name": "f", "parameters": {"a": "str"}}]'}, "parameter 'a' must be an object"),
    ("apigen_mt", said("function_call", "find_flat()"), "turn 2.*not JSON"),
    ("apigen_mt", {"conversations": turns(("system", "x"), ("human", "?"))}, "which of them counts"),
    ("sharegpt", said("function_call", "[]"), "no call"),
    ("sharegpt", said("gpt", "<tool_call>{}</tool_call>"), "hermes' layout"),
    ("sharegpt", {"tools": "[]"}, "'find_flat', which is not offered"),
    ("hermes", said("gpt", "<tool_call>{'name': </tool_call>"), "turn 2"),
    ("hermes", {"conversations": turns(("system", "<tools>[f</tools>"), ("human", "?"))}, "inside <tools>"),
    ("sealtools", said("gpt", "[]"), "no task of Seal-Tools"),
    ("openai", {"messages": [{"role": "user", "content": "?"}, 1]}, "message 1 is not an object"),
    ("openai", answered({"function_call": {}}), "'function_call' is not"),
    ("openai", {"functions": []}, "'functions' is not"),
    ("openai", {"tools": []}, "not offered"),
    ("openai", answered(CUT), "not JSON"),
    ("openai", answered({"content": "!"}, role="nobody"), "the role 'nobody'"),
    ("strop", {"calls": "none"}, "wrong type"),
]


@pytest.mark.parametrize(("layout", "changes", "says"), BAD)
def test_a_bad_row_is_named_by_its_line_and_skipped(
    layout: str, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS[layout], "", {**ROWS[layout], "id": "bad", **changes}, "{cut")
    loaded = read_layout(path, layout)
    assert [bad.line for bad in loaded.bad] == [3, 4]
    with pytest.raises(DataError, match=says):
        raise DataError(loaded.bad[0].reason)
    assert {line for line, _ in loaded.tasks} == {1}


@given(
    st.sampled_from(sorted(ROWS)),
    st.dictionaries(
        st.sampled_from(("id", "conversations", "system", "tools", "answers", "query", "messages", "calls")),
        json_values() | st.lists(st.fixed_dictionaries({"from": st.sampled_from(
            ("human", "gpt", "user", "assistant", "tool", "function_call")), "value": texts()})),
    ),
)  # fmt: skip
def test_whatever_a_row_is_it_is_read_or_refused_as_data(layout: str, changes: dict[str, Any]) -> None:
    row = {**ROWS[layout], **changes}
    for one in LAYOUTS.values():
        one.fits(row)
        one.marked(row)
    with suppress(DataError):
        assert read(row, layout)


def test_an_id_seen_before_is_a_bad_row(tmp_path: Path) -> None:
    loaded = read_layout(write(tmp_path / "x.jsonl", XLAM, XLAM, {**XLAM, "id": 8}))
    assert [task.id for _, task in loaded.tasks] == ["7", "8"]
    assert [(bad.line, bad.reason) for bad in loaded.bad] == [(2, "id '7' was seen before")]


# Files, and whose layout they have.


@pytest.mark.parametrize("layout", sorted(ROWS))
def test_each_layout_is_told_from_the_others(layout: str, tmp_path: Path) -> None:
    broken = {"conversations": 3, "tools": None}
    loaded = read_layout(write(tmp_path / "rows.jsonl", broken, ROWS[layout]))
    assert loaded.layout == layout
    assert [bad.line for bad in loaded.bad] == [1]


def test_plain_rows_do_not_hide_a_layout(tmp_path: Path) -> None:
    plain = {"conversations": turns(("human", "?"), ("gpt", "!"))}
    for layout in ("hermes", "sharegpt"):
        path = write(tmp_path / "rows.jsonl", plain, ROWS[layout], {**plain, "tools": "[]"})
        assert read_layout(path).layout == layout
    without_system = {key: value for key, value in APIGEN.items() if key != "system"}
    assert read_layout(write(tmp_path / "r.jsonl", APIGEN, without_system)).layout == "sharegpt"


def test_layouts_that_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"mixed\.jsonl: its layout cannot be told: .*xlam \(1 rows\).*--from"
    ):
        read_layout(write(tmp_path / "mixed.jsonl", XLAM, OPENAI))
    with pytest.raises(DataError, match=r"in no layout that is known .*its first row has 'instruction'"):
        read_layout(write(tmp_path / "alpaca.jsonl", {"instruction": "x"}))
    with pytest.raises(DataError, match=r"no row could be read; first problem: not JSON"):
        read_layout(write(tmp_path / "broken.jsonl", "{"))
    with pytest.raises(UsageError, match=r"unknown layout 'alpaca'; there are strop, "):
        read_layout(write(tmp_path / "x.jsonl", XLAM), "alpaca")
    with pytest.raises(DataError, match=r"x\.jsonl: no task could be read; first problem, at 1: 'messages'"):
        read_layout(tmp_path / "x.jsonl", "openai")


def test_lists_and_lines_in_json_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([TOOLACE, "odd", TOOLACE], indent=1))
    loaded = read_layout(path)
    assert [(number, task.id) for number, task in loaded.tasks if "#1" in task.id] == [
        (1, "rows-1#1"), (3, "rows-3#1"),
    ]  # fmt: skip
    assert [(bad.line, bad.reason) for bad in loaded.bad] == [(2, "not a JSON object but str")]
    assert loaded.tasks[0][1].source == "rows.json (toolace)"
    assert read_layout(write(path, XLAM, {**XLAM, "id": 8})).layout == "xlam"
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_layout(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"none: cannot be read"):
        read_layout(tmp_path / "none")


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([APIGEN, {**APIGEN, "tools": "["}]), path)
    loaded = read_layout(path)
    origin = Origin("train-1", "train.parquet (apigen_mt)")
    assert [task for _, task in loaded.tasks] == LAYOUTS["apigen_mt"].read(APIGEN, origin)
    assert [bad.line for bad in loaded.bad] == [2]
    path.write_bytes(b"PAR0")
    with pytest.raises(DataError, match=r"train\.parquet: not Parquet that can be read"):
        read_layout(path)


# The commands.


def convert(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_convert_names_the_layout_and_every_bad_row(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", TOOLACE, {**TOOLACE, "conversations": []}, TOOLACE)
    out = tmp_path / "tasks.jsonl"
    output = convert(source, "--out", out)
    assert f"{source}:2: skipped: 'conversations' must be a list of turns" in output
    assert f"{source}: toolace (detected), tasks: 6, skipped rows: 1; {out}: strop, rows: 6" in output
    read_back = read_layout(out)
    assert read_back.layout == "strop"
    assert [task for _, task in read_back.tasks] == [task for _, task in read_layout(source).tasks]
    convert(source, "--out", tmp_path / "o.jsonl", "--to", "openai", "--from", "toolace")
    assert len(read_layout(tmp_path / "o.jsonl", "openai").tasks) == 6
    convert(source, "--out", tmp_path / "s.json", "--to", "sharegpt")
    assert isinstance(json.loads((tmp_path / "s.json").read_text()), list)


def test_convert_names_tasks_that_cannot_be_written(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", XLAM, {**XLAM, "id": "no", "answers": "[]"})
    output = convert(source, "--out", tmp_path / "o.jsonl", "--to", "openai")
    assert f"{source}:2: task 'no' not written: no calls and no response" in output
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1


def test_convert_writes_nothing_where_it_fails(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", {**XLAM, "answers": "[]"}), tmp_path / "o.jsonl"
    for words, error, says in (
        ((source, "--out", out, "--to", "openai"), DataError, "none of its 1 tasks"),
        ((source, "--out", out, "--to", "hermes"), UsageError, "--to wants strop, openai, sharegpt"),
        ((source, "--out", tmp_path / "o.csv"), UsageError, r"\.jsonl or \.json"),
        ((source, "--out", out, "--from", "openai"), DataError, "no task could be read"),
    ):
        result = CliRunner().invoke(app, ["convert", *map(str, words)])
        assert isinstance(result.exception, error)
        with pytest.raises(error, match=says):
            raise result.exception
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_demonstrations_may_be_of_any_layout(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", OPENAI, {**OPENAI, "tools": []})
    rows, bad = read_sft(path, Letters())
    assert [row.id for row in rows] == ["in-1#1", "in-1#2"]
    assert [one.line for one in bad] == [2]
    assert [task.id for task in tasks_among(path)] == ["in-1#1", "in-1#2"]


def test_commands_read_tasks_in_any_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.jsonl", XLAM, "{broken")
    (task,) = read_tasks_aloud(path)
    assert task.gold == gold(read(XLAM, "xlam")[0])
    assert "rows.jsonl:2: skipped" in capsys.readouterr().err
