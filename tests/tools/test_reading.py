"""Answers as models really write them: what is read, what is repaired, and what is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from strop.tools.formats import FORMATS, Reading, read_calls
from strop.tools.spec import ToolCall

F = ToolCall("f", {"a": 1})
G = ToolCall("g", {})
F_JSON = '{"name": "f", "arguments": {"a": 1}}'
G_JSON = '{"name": "g", "arguments": {}}'


def fenced(body: str, label: str = "json") -> str:
    return f"```{label}\n{body}\n```"


def tagged(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{\n  "name": "f",\n  "arguments": {\n    "a": 1\n  }\n}\n```',
        fenced(F_JSON, ""),
        fenced(F_JSON, "JSON"),
        f"```json {F_JSON} ```",
        f"````json\n{F_JSON}\n````",
        f"```json\r\n{F_JSON}\r\n```",
        f"<tool_call>{F_JSON}</tool_call>",
        F_JSON,
        f"[{F_JSON}]",
        json.dumps({"id": "1", "type": "function", "name": "f", "arguments": {"a": 1}}),
        '{"arguments": {"a": 1}, "name": "f"}',
        "[f(a=1)]",
    ],
)
def test_read_as_it_stands(text: str) -> None:
    assert read_calls(text) == Reading((F,), None)


@pytest.mark.parametrize(
    "text",
    [
        fenced(f"[{F_JSON}, {G_JSON}]"),
        fenced(F_JSON) + "\n" + fenced(G_JSON),
        fenced(F_JSON) + fenced(G_JSON),
        tagged(F_JSON) + "\n" + tagged(G_JSON),
        f"[{F_JSON},\n {G_JSON}]",
        "[f(a=1), g()]",
    ],
)
def test_several_calls(text: str) -> None:
    assert read_calls(text) == Reading((F, G), None)


@pytest.mark.parametrize(
    ("text", "repairs"),
    [
        (fenced('{"name": "f", "arguments": {"a": 1}'), ("missing closing brace(s) added",)),
        (
            '```json\n{"name": "f", "arguments": {"a": 1}',
            ("missing closing brace(s) added", "missing closing fence"),
        ),
        (f"```json\n{F_JSON}", ("missing closing fence",)),
        (f"```json\n{F_JSON}\n", ("missing closing fence",)),
        (f"```json\n[{F_JSON}\n```", ("missing closing bracket added",)),
        (fenced('[{"name": "f", "arguments": {"a": 1}]'), ("missing closing brace(s) added",)),
        (
            fenced('{"type": "function", "function": {"name": "f", "arguments": {"a": 1}'),
            ("missing closing brace(s) added", "name nested under 'function'"),
        ),
        (f"<tool_call>\n{F_JSON}", ("missing closing tag",)),
        (fenced(F_JSON + "}"), ("stray closing bracket(s) removed",)),
        (fenced('{"name": "f", "arguments": {"a": 1,},}'), ("trailing comma removed",)),
        (fenced('{"name": "f", // why\n "arguments": {"a": 1 /* one */}}'), ("comments dropped",)),
        ("{'name': 'f', 'arguments': {'a': 1}}", ("single quotes read as Python literals",)),
        (fenced('{name: "f", arguments: {a: 1}}'), ("unquoted key",)),
        ('{"name": "f", "parameters": {"a": 1}}', ("arguments given under 'parameters'",)),
        (
            '{"function": "f", "args": {"a": 1}}',
            ("name given under 'function'", "arguments given under 'args'"),
        ),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', ("arguments given as JSON text",)),
        ('{"function": {"name": "f", "arguments": {"a": 1}}}', ("name nested under 'function'",)),
        (f'{{"tool_calls": [{F_JSON}]}}', ("calls nested under 'tool_calls'",)),
        ('{"name": "f", "arguments": {"a": 2, "a": 1}}', ("duplicate JSON keys: last kept",)),
        (tagged(fenced(F_JSON)), ("code fence inside the tags removed",)),
        (fenced(tagged(F_JSON), "xml"), ("code fence around the call removed",)),
        (fenced("[f(a=1)]", "tool_code"), ("code fence around the call removed",)),
        (f"<tools>\n{F_JSON}\n</tools>", ("<tools> read as <tool_call>",)),
        ("[f(a=2, a=1)]", ("duplicate arguments: last kept",)),
    ],
)
def test_repairs(text: str, repairs: tuple[str, ...]) -> None:
    reading = read_calls(text)
    assert reading == Reading((F,), None, repairs)


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (fenced(f"{F_JSON}\n{G_JSON}"), "several values read as a list"),
        (f"{F_JSON}; {G_JSON}", "several values read as a list"),
        (f"```json\n{F_JSON}\n```json\n{G_JSON}\n```", "missing closing fence"),
        (f"<tool_call>{F_JSON}\n<tool_call>{G_JSON}</tool_call>", "missing closing tag"),
        (fenced(f'[{{"name": "f", "arguments": {{"a": 1}}, {G_JSON}]'), "missing closing brace(s) added"),
    ],
)
def test_repairs_between_calls(text: str, repair: str) -> None:
    assert read_calls(text) == Reading((F, G), None, (repair,))


@pytest.mark.parametrize(
    ("written", "value", "repair"),
    [
        ("True", True, "True, False or None read as JSON"),
        ("None", None, "True, False or None read as JSON"),
        ("'it\\'s'", "it's", "single quotes read as Python literals"),
        ('"a\nb"', "a\nb", "raw line break or control character in a string"),
        ('"\\d+"', "\\d+", "unknown escape kept as it stands"),
        ('"\\ud800"', "\ufffd", "lone surrogate replaced"),
        ('"\\ud83e\\udd8a"', "🦊", None),
        ('"\\u00e9\\n\\/\\\\"', "é\n/\\", None),
        ("1e3", 1000.0, None),
        ("-0.5", -0.5, None),
        ("[[], {}]", [[], {}], None),
    ],
)
def test_values(written: str, value: Any, repair: str | None) -> None:
    reading = read_calls(f'{{"name": "f", "arguments": {{"a": {written}}}}}')
    assert reading == Reading((ToolCall("f", {"a": value}),), None, () if repair is None else (repair,))
    assert type(reading.calls[0].arguments["a"]) is type(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("-1", -1),
        ("'a' 'b'", "ab"),
        ('r"\\d"', "\\d"),
        ('"""x\ny"""', "x\ny"),
        ("{'k': [1, None]}", {"k": [1, None]}),
        ("(1, 2)", [1, 2]),
        ("true", True),
    ],
)
def test_python_values(written: str, value: Any) -> None:
    assert read_calls(f"[f(a={written})]", preferred="pythonic").calls == (ToolCall("f", {"a": value}),)


@pytest.mark.parametrize(
    "text",
    [
        fenced('{"name": "f", "arguments": {"a', ""),  # cut off before anything was certain
        '```json\n{"name": "f", "arguments": {"a": {"b": 1',
        "[TOOL_CALLS]f[ARGS]",
        "<|tool_call|>nothing",
        "<start_function_call>f(a=1)",
        "<｜tool▁calls▁begin｜>f",
        '{"name": "f", "arguments": {"a": "long te',
        f'[{F_JSON}, {{"name": "g", "argu',
        '<tool_call>\n{"name": "f"',
        "<tool_call>\nf(a=1)\n</tool_call>",
        "<tool_call></tool_call>",
        tagged('{"x": 1}'),
        '{"name": "f", "arguments": [1]}',
        '{"name": "", "arguments": {}}',
        '{"name": 3, "arguments": {}}',
        '{"name": "f", "arguments": {"a": NaN}}',
        '{"name": "f", "arguments": {"a": -Infinity}}',
        '{"name": "f", "arguments": {"a": 1e999}}',
        '{"name": "f", "arguments": {"a": 1 "b": 2}}',
        '{"name": "f", "arguments": "{not json"}',
        f"[{F_JSON}, 1]",
        "[f(1)]",
        "[f(a=b)]",
        "[f(a=1",
        "[f(**{})]",
        "[f(a=1+1)]",
        "[f(a=__import__('os').system('true'))]",
        '[f(a=f"{b}")]',
        "[f(a={1: 2})]",
    ],
)
def test_what_looks_like_a_call_and_cannot_be_read_is_a_problem(text: str) -> None:
    reading = read_calls(text)
    assert reading.problem
    assert (reading.calls, reading.content) == ((), text.strip())


@pytest.mark.parametrize(
    "text",
    [
        "Nothing to call here.",
        "",
        "[]",
        fenced("[]"),
        fenced('{"temperature": 20}'),
        '{"temperature": 20,',
        'The set {"a", "b"} and {} and [1, 2] and {x}.',
        '{"name": "Bob", "age": 3}',
        '{"name": "Bob", "input": "a string"}',
        '{"name": "f", "description": "…", "parameters": {"type": "object", "properties": {}}}',
        '{"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}',
        fenced(f"call({F_JSON})", "python"),
        fenced(F_JSON, "python"),
        f"```python\nx = {F_JSON}",
        fenced("print('[f(a=1)]')", ""),
        "A list such as [f(1), f(2)] is prose, and `<code>` too.",
        "Markdown [link](https://example.org) and [name(x)](url).",
        "<tools> lists the tools.",
    ],
)
def test_prose_is_content_without_a_problem(text: str) -> None:
    assert read_calls(text) == Reading((), text.strip() or None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": "Feature", "properties": {"name": "well"}, "geometry": {"type": "Point"}},
        {"type": "object", "properties": {"camera": {"type": "string"}}, "required": ["camera"]},
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_arguments_may_look_like_a_schema(name: str, arguments: dict[str, Any]) -> None:
    call = ToolCall("map.add_feature", arguments)
    assert read_calls(FORMATS[name].render([call]), preferred=name).calls == (call,)


@pytest.mark.parametrize(
    ("text", "name", "arguments", "repairs"),
    [
        ('[TOOL_CALLS]f[ARGS]{"a": 1}', "mistral", {"a": 1}, ()),
        ('[TOOL_CALLS]f{"a": 1}', "mistral", {"a": 1}, ()),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}]', "mistral", {"a": 1}, ()),
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}', "llama3_json", {"a": 1}, ()),
        ('<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]', "granite", {"a": 1}, ()),
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
            '{"a": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
            "deepseek",
            {"a": 1},
            (),
        ),
        (
            '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}',
            "deepseek",
            {"a": 1},
            ("missing opening mark", "missing closing mark"),
        ),
        (
            "<start_function_call>call:f{a:1,b:<escape>x, {y}<escape>,c:[true,{d:null}]}<end_function_call>",
            "functiongemma",
            {"a": 1, "b": "x, {y}", "c": [True, {"d": None}]},
            (),
        ),
    ],
)
def test_families_with_marks_of_their_own(
    text: str, name: str, arguments: dict[str, Any], repairs: tuple[str, ...]
) -> None:
    for preferred in (name, "fenced_json"):
        reading = read_calls(f"Sure. {text} Done.", preferred=preferred)
        assert (reading.calls, reading.content) == ((ToolCall("f", arguments),), "Sure.\nDone.")
    assert read_calls(text, preferred=name).repairs == repairs


def test_a_program_after_the_python_tag_is_prose() -> None:
    assert read_calls("<|python_tag|>print(1)", preferred="llama3_json").calls == ()
    assert read_calls("<|python_tag|>print(1)").problem is None


@pytest.mark.parametrize("preferred", ["fenced_json", "hermes", "bare_json", "pythonic"])
def test_the_preferred_format_comes_first(preferred: str) -> None:
    texts = {
        "fenced_json": fenced(F_JSON),
        "hermes": tagged(F_JSON),
        "bare_json": F_JSON,
        "pythonic": "[f(a=1)]",
    }
    whole = "\n".join(texts.values())
    reading = read_calls(whole, preferred=preferred)
    assert (reading.calls, reading.format) == ((F,), preferred)
    others = [text for name, text in texts.items() if name != preferred]
    assert all(text in (reading.content or "") for text in others)


def test_a_call_quoted_in_an_argument_is_not_a_call() -> None:
    quoted = ToolCall("say", {"text": f"{fenced(F_JSON)} {tagged(F_JSON)} [f(a=1)]"})
    text = json.dumps(quoted.to_json(), ensure_ascii=False)
    for whole in (text, fenced(text), tagged(text)):
        assert read_calls(whole).calls == (quoted,)


def test_prose_before_between_and_after() -> None:
    text = f"First:\n{fenced(F_JSON)}\nthen\n{fenced(G_JSON)}\n\nDone. \n"
    assert read_calls(text) == Reading((F, G), "First:\nthen\nDone.")


@pytest.mark.parametrize(
    ("text", "calls", "broken", "content"),
    [
        (fenced(F_JSON) + "\n" + fenced('{"name": "g", "arguments": {'), 1, None, "```json\n"),
        (f"Sure. ```json\n[{F_JSON},", 1, None, "Sure.\n,"),
        (fenced(f"{F_JSON}\nand more"), 1, None, "and more\n```"),
        (
            '```json\n{"name": "g", "arguments": {"b": 1',
            0,
            None,
            '```json\n{"name": "g", "arguments": {"b": 1',
        ),
        ('```json\n{"name": "g", "arguments": {"b": 1, "c', 0, '{"b": 1', None),
        ('```json\n{"name": "g", "arguments": {"b": "Os', 0, '{"b": "Os', None),
        ('```json\n{"name": "g", "arguments": {"b": "Os" x}}\n```', 0, '{"b": "Os"', "x}}\n```"),
        ('```json\n{"name": "g", "arguments": {"b": 1, "b": 2}}\n```', 0, '{"b": 1', "2}}\n```"),
    ],
)
def test_what_was_certain_before_it_went_wrong_stays(
    text: str, calls: int, broken: str | None, content: str | None
) -> None:
    reading = read_calls(text)
    assert reading.problem
    assert len(reading.calls) == calls
    assert (reading.broken.arguments if reading.broken else None) == broken
    if calls:
        assert (reading.content or "").startswith(str(content))
    else:
        assert reading.content == content


def test_a_broken_call_in_another_format_is_prose_beside_good_ones() -> None:
    text = fenced(F_JSON) + '\nthat is, {"name": "f", "arguments": {…}}'
    assert read_calls(text).calls == (F,)
