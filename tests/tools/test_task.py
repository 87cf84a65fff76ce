"""Tasks from JSON lines: the good ones read, each bad row with its line and reason."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import DataError
from strop.tools.files import write_jsonl
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task, digest, read_tasks, tasks_to_rows
from tests.tools.strategies import calls, json_values, texts

ROW: dict[str, Any] = {
    "id": "a",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "calls": [{"name": "f", "arguments": {}}],
}
messages = st.fixed_dictionaries({"role": st.just("user"), "content": texts()})
tasks = st.builds(
    Task,
    texts(),
    st.lists(messages, min_size=1, max_size=2).map(tuple),
    st.just((ToolSpec("f", "does f", {"type": "object", "properties": {}}),)),
    st.builds(Gold, st.lists(calls(), max_size=2).map(tuple), st.none() | texts()),
    texts(),
    texts(),
)


@given(tasks)
def test_a_task_survives_its_row(task: Task) -> None:
    [row] = tasks_to_rows([task])
    assert Task.from_json(json.loads(json.dumps(row))) == task


def test_the_smallest_row() -> None:
    task = Task.from_json(ROW)
    assert (task.id, task.category, task.source) == ("a", "", "")
    assert task.gold == Gold((ToolCall("f", {}),), None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": ...}, "no id"),
        ({"calls": ..., "tools": ...}, "no tools, calls"),
        ({"id": 3}, "'id' must be text, got int"),
        ({"messages": "hi", "tools": None}, "'messages' must be a list, got str; 'tools' .* got NoneType"),
        ({"calls": {}}, "'calls' must be a list, got dict"),
        ({"calls": [{"name": "f", "arguments": {"x": math.nan}}]}, "'calls' is not JSON"),
        ({"calls": [{"name": "f", "arguments": '{"x": 1e400}'}]}, "'f': arguments are not JSON .1e400"),
        ({"calls": [{"name": "f", "arguments": '{"x": 1, "x": 2}'}]}, "'x' is given twice"),
        ({"tools": [{"name": "f", "parameters": {"default": math.inf}}]}, "'tools' is not JSON"),
        ({"messages": [{"role": "user", "content": "hi", "n": b""}]}, "'messages' is not JSON"),
        ({"messages": []}, "'messages' is empty"),
        ({"messages": ["hi"]}, "message 0 is not an object"),
        ({"messages": [{"content": "hi"}]}, "role None"),
        ({"messages": [{"role": [], "content": "hi"}]}, r"role \[\]"),
        ({"messages": [{"role": "function", "content": "hi"}]}, "role 'function'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text"),
        ({"messages": [{"role": "assistant", "tool_calls": "f"}]}, "'tool_calls' must be"),
        ({"response": 5}, "'response' must be text"),
        ({"tools": [{"name": "f", "parameters": {"required": [{}]}}]}, "'required' must be a list of names"),
        ({"tools": ["f"]}, "a tool needs"),
        ({"calls": ["f()"]}, "a call needs"),
        ({"calls": [{"name": "f", "arguments": "{"}]}, "arguments are not JSON"),
    ],
)
def test_rows_that_are_no_tasks(changes: dict[str, Any], says: str) -> None:
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not ...}
    with pytest.raises(DataError, match=says):
        Task.from_json(row)


@given(st.dictionaries(st.sampled_from(sorted(ROW)), json_values()))
def test_odd_rows_are_refused_as_data(changes: dict[str, Any]) -> None:
    with suppress(DataError):
        Task.from_json({**ROW, **changes})


def test_a_file_with_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    changes: list[dict[str, Any]] = [{}, {"id": "b"}, {"id": "a"}, {"id": "c", "messages": []}, {"id": "d"}]
    lines = [json.dumps(ROW | change) for change in changes]
    twice = '{"name": "f", "arguments": {"x": 1, "x": 2}}'
    lines = [*lines[:2], '{"id": "x", "mess', *lines[2:], '{"id": "cut']
    lines.append(json.dumps(ROW | {"id": "e", "calls": []})[:-1] + f', "calls": [{twice}]}}')
    lines.append(json.dumps(ROW | {"id": "f", "calls": [{"name": "f", "arguments": {"x": math.nan}}]}))
    path.write_text("\n".join(lines), encoding="utf-8")
    found, bad = read_tasks(path)
    assert [task.id for task in found] == ["a", "b", "d"]
    assert [(row.line, row.reason.split(":")[0]) for row in bad] == [
        (3, "not JSON"),
        (4, "id 'a' was seen before"),
        (5, "task 'c'"),
        (7, "not JSON"),
        (8, "not JSON"),
        (9, "not JSON"),
    ]


def test_a_file_without_tasks_is_refused_with_its_first_problem(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    write_jsonl(path, [{"id": "a"}])
    with pytest.raises(DataError, match=r"tasks\.jsonl: no task could be read; .*line 1: .*no messages"):
        read_tasks(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no task could be read$"):
        read_tasks(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_tasks(tmp_path / "none.jsonl")


def test_a_digest_follows_everything_a_task_says_and_can_hold_any_text() -> None:
    task = Task.from_json(ROW)
    others = [Task.from_json({**ROW, "calls": []}), Task.from_json({**ROW, "id": "half \ud83d"})]
    assert len({digest([task]), *(digest([other]) for other in others), digest([task, *others])}) == 4
    assert digest([Task.from_json(task.to_json())]) == digest([task])
