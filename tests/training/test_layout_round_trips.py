"""What is written in a layout and read again is what it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError, UsageError
from strop.tools.formats.bracketed import announces_calls, read_list
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task
from strop.training.layouts import LAYOUTS, WRITERS, Origin, written
from strop.training.layouts.conversation import calling
from tests.tools.strategies import calls, json_values, names, texts
from tests.training.layout_rows import ROWS, STROP, gold, read

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


@given(tasks())
def test_a_task_written_as_sharegpt_can_be_read_again(task: Task) -> None:
    try:
        row = json.loads(json.dumps(WRITERS["sharegpt"].write(task)))
    except DataError:
        return  # see below for which
    again = read(row, "sharegpt")[-1]
    assert (again.tools, again.gold) == (task.tools, task.gold)


def of_the_past(name: str) -> Task:
    """A task before which a tool of this name was called."""
    call = calling(ToolCall(name, {}), "a")
    past = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "sent"},
    ]
    return Task.from_json(STROP | {"messages": past})


def test_sharegpt_is_not_written_where_it_could_not_be_read() -> None:
    WRITERS["sharegpt"].write(of_the_past("find_flat"))
    with pytest.raises(DataError, match="turn 1 calls 'find_flat ', which is not offered"):
        WRITERS["sharegpt"].write(of_the_past("find_flat "))
    prose = [*STROP["messages"], {"role": "assistant", "content": json.dumps(STROP["calls"][0])}]
    again = Task.from_json(STROP | {"messages": [*prose, {"role": "user", "content": "Well?"}]})
    with pytest.raises(DataError, match="every turn is learned in this layout: turn 1 has a call"):
        WRITERS["sharegpt"].write(again)


@pytest.mark.parametrize("layout", sorted(ROWS))
def test_to_sharegpt_and_back_there_are_no_more_tasks_than_there_were(layout: str) -> None:
    rows = [ROWS[layout], {**ROWS[layout], "id": "again"}]
    tasks = [
        task
        for number, row in enumerate(rows)
        for task in LAYOUTS[layout].read(row, Origin(f"r{number}", ""))
    ]
    found = written(enumerate(tasks), "sharegpt")
    back = [task for row in found.rows for task in read(row, "sharegpt")]
    refused = {number for number, _, _ in found.refused}
    kept = [task for number, task in enumerate(tasks) if number not in refused]
    assert [(task.tools, task.gold) for task in back] == [(task.tools, task.gold) for task in kept]


def test_only_beginnings_of_the_very_same_conversation_are_left_out() -> None:
    first, *_, last = read(ROWS["apigen_mt"], "apigen_mt")
    elsewhere = [
        replace(first, tools=()),
        replace(first, messages=first.messages[1:]),
        replace(first, gold=Gold((), "Where?")),
        replace(first, id="again"),
    ]
    many = written(enumerate([last, first, *elsewhere[:3]]), "sharegpt")
    assert (len(many.rows), many.refused) == (4, [])
    assert many.rows[0]["id"] == last.id
    assert (
        len(written(enumerate([first, elsewhere[3]]), "sharegpt").rows) == 2
    )  # neither goes on from the other
    longest = replace(last, gold=Gold((), '{"name": "find_flat", "arguments": {}}'))
    found = written([(7, first), (8, longest)], "sharegpt")
    assert [row["id"] for row in found.rows] == [first.id]  # what holds it could not be written
    assert [(line, name) for line, name, _ in found.refused] == [(8, last.id)]
    assert len(written(enumerate([first, last]), "openai").rows) == 2
    with pytest.raises(UsageError, match="'hermes' is not written; strop, openai, sharegpt are"):
        written([], "hermes")


@pytest.mark.parametrize("to", ["openai", "sharegpt"])
def test_what_a_layout_cannot_hold_is_refused(to: str) -> None:
    nothing = Task.from_json({**STROP, "calls": []})
    with pytest.raises(DataError, match="no calls and no response"):
        WRITERS[to].write(nothing)


def made_at_once(*results: tuple[str, str]) -> Task:
    """Two calls made at once, and their results by the calls' ids."""
    calls = [calling(ToolCall("find_flat", {"n": n}), name) for n, name in enumerate("ab")]
    told = [{"role": "tool", "tool_call_id": name, "content": text} for name, text in results]
    asked = {"role": "user", "content": "Both?"}
    messages = [asked, {"role": "assistant", "content": None, "tool_calls": calls}, *told]
    return Task.from_json(STROP | {"messages": messages, "calls": [], "response": "There."})


@given(st.text(), st.text() | st.sampled_from(['{"a": 1}', " 1", '"x"', "[1, 2]", "NaN"]))
def test_results_of_calls_made_at_once_are_one_observation_in_the_calls_order(one: str, two: str) -> None:
    row = WRITERS["sharegpt"].write(made_at_once(("b", two), ("a", one)))
    assert [turn["from"] for turn in row["conversations"]] == ["human", "function_call", "observation", "gpt"]
    (*_, task) = read(row, "sharegpt")
    assert [message["content"] for message in task.messages if message["role"] == "tool"] == [one, two]


def test_sharegpt_is_written_in_turns() -> None:
    with pytest.raises(DataError, match="3 results of 2 calls have no place"):
        WRITERS["sharegpt"].write(made_at_once(("a", "1"), ("b", "2"), ("c", "3")))
    twice = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Flats?"}]
    with pytest.raises(DataError, match="turn 2 would be of human, where this layout has gpt"):
        WRITERS["sharegpt"].write(Task.from_json(STROP | {"messages": twice}))


def test_sharegpt_has_no_place_for_prose_beside_calls() -> None:
    for changes in (
        {"response": "I look."},
        {"messages": [*STROP["messages"], {"role": "system", "content": "x"}]},
    ):
        with pytest.raises(DataError, match="no place in this layout"):
            WRITERS["sharegpt"].write(Task.from_json(STROP | changes))
