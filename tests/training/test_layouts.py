"""Training data in other people's layouts: what is read of a row, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError
from strop.tools.schema import normalised
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold
from strop.training.layouts import LAYOUTS, read_layout
from tests.tools.strategies import json_values, texts
from tests.training.layout_rows import (
    APIGEN,
    CALL,
    HERMES,
    OPENAI,
    OTHER,
    ROWS,
    SEALTOOLS,
    SHAREGPT,
    TOOL,
    TOOLACE,
    WEATHER,
    XLAM,
    gold,
    read,
    turns,
    write,
)

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


@pytest.mark.parametrize(
    "prose",
    ["find_flat is what I would call.", '{"name": "Bern"}', "[1] See find_flat(where).", "{find_flat}"],
)
def test_prose_that_is_no_call_stays_prose(prose: str) -> None:
    (task,) = read({**SHAREGPT, **said("gpt", prose)}, "sharegpt")
    assert gold(task) == Gold((), prose)


def test_an_empty_list_of_calls_is_no_call_and_no_prose() -> None:
    conversations = turns(("user", "?"), ("assistant", "[ ]"), ("user", "So?"), ("assistant", "I cannot."))
    declined, said_so = read({**TOOLACE, "conversations": conversations}, "toolace")
    assert gold(declined) == Gold(())
    assert gold(said_so) == Gold((), "I cannot.")
    assert said_so.messages[-2] == {"role": "assistant", "content": ""}


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


def test_what_was_not_said_may_be_written_down_as_null() -> None:
    dumped = {"function_call": None, "refusal": None, "tool_calls": None, "audio": None, "weight": None}
    said = [{**dumped, "content": None, **message} for message in OPENAI["messages"]]
    row = {**OPENAI, "messages": said, "functions": None}
    assert [gold(task) for task in read(row, "openai")] == [gold(task) for task in read(OPENAI, "openai")]
    context = read(row, "openai")[1].messages
    assert [set(message) for message in context[:2]] == [{"role", "content"}] * 2
    assert set(context[2]) == {"role", "content", "tool_calls"}


CUT = {"tool_calls": [{"type": "function", "function": {"name": "find_flat", "arguments": "where=Bern"}}]}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("strop", {"calls": [{"name": "rent", "arguments": {}}]}, "'rent', which is not offered"),
    ("strop", {"calls": [{"name": "find_flat", "arguments": '{"a": 1, "a": 2}'}]}, "given twice"),
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
    ("strop", {"calls": "none"}, "'calls' must be a list, got str"),
    ("strop", {"calls": [], "response": "find_flat(where='Bern')"}, "a call of 'find_flat' where prose"),
    ("openai", answered({"content": "find_flat(where='Bern')"}), "turn 1 has a call of 'find_flat' where"),
    ("openai", {"messages": [{"role": "user", "content": None}]}, "message 0, of the user, has no text"),
    ("openai", {"messages": None}, "'messages' must be a list, got NoneType"),
    ("toolace", said("assistant", " Get Weather.now(city='x')", "user"), "call of 'Get Weather.now' where"),
    ("sharegpt", said("gpt", json.dumps(CALL)), "turn 1 has a call of 'find_flat' where prose should be"),
    ("sharegpt", said("gpt", json.dumps([CALL, 1])), "call of 'find_flat' where prose should be"),
    ("sharegpt", said("gpt", repr(CALL)), "call of 'find_flat' where prose should be"),
    ("sharegpt", said("gpt", "[find_flat(where='Bern')]"), "call of 'find_flat' where prose should be"),
    (
        "hermes",
        {"tools": json.dumps([TOOL]), **said("gpt", json.dumps(CALL))},
        "call of 'find_flat' where prose should be",
    ),
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
