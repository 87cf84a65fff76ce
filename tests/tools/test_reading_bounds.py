"""Nothing a model can write takes the reader down, or long. The tests' own timeout is the bound."""

from __future__ import annotations

import pytest

from strop.tools.formats import READING_ORDER, Content, StreamReader, read_calls
from strop.tools.formats.loose_json import MAX_DEPTH, MAX_DIGITS

CALL = '{"name": "f", "arguments": {}}'
N = 3_000
LONG = {
    "braces": "{" * 2 * N,
    "brackets": "[" * 5 * N,
    "fences": "```" * N,
    "fence lines": "```\n" * N,
    "objects": '{"a":' * N,
    "objects in lists": '{"a":[{' * N,
    "open strings": '{"' * N,
    "open comments": '{"name"/*' * N,
    "line comments": '{"name"//' * N,
    "tags": "<tool_call>" * N,
    "description tags": "<tools>" * N,
    "fences in tags": "<tool_call>```" * N,
    "tags in fences": "```<tool_call>" * N,
    "Python calls": "[f(" * N,
    "Python calls that cannot be read": "[f(1)," * N,
    "lists of Python calls": "[f(a=1)]" * N,
    "calls": CALL * N,
    "fenced calls": f"```json\n{CALL}\n" * N,
    "fences of two lengths": f"````json\n{CALL}\n```" * N,
    "a list of calls": "[" + f"{CALL}," * N,
    "space": "{" + " " * 5 * N,
    "backslashes": '{"a":"' + "\\" * 5 * N,
    "a deep object before a long list": '{"a":' * (MAX_DEPTH - 2) + "[" + "1," * N,
    "dots": "[f" + ".a" * N + "(a=1)]",
    "attributes": "[f(a=b" + ".c" * N + ")]",
    "nots": "[f(a=" + "not " * N + "1)]",
    "subscripts": "[f(a=b" + "[0]" * N + ")]",
    "strings side by side": "[f(a=" + '"x" ' * N + ")]",
    "quotes": "[f(a=" + '"""' * N,
    "marks": "[TOOL_CALLS]" * N,
    "tags of Granite": "<|tool_call|>" * N,
    "calls of DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>" * N,
    "calls of Gemma": "<start_function_call>call:f{a:" * N,
    "objects of Gemma": "<start_function_call>call:f{a:" + "{a:" * N,
    "thoughts": "<think>" * N,
    "a long argument": '```json\n{"name": "f", "arguments": {"a": "' + "x, " * 5 * N,
    "a long list of Python": "[f(a=[" + "12, " * N + "])]",
    "a long list of Gemma": "<start_function_call>call:f{a:[" + "12," * N + "1]}<end_function_call>",
    "a long text of Gemma": "<start_function_call>call:f{a:<escape>"
    + "x, " * N
    + "<escape>}<end_function_call>",
    "a long Python argument": '[f(a="' + "x, " * N,
    "backticks": "`" * 5 * N,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_texts_take_linear_time(text: str) -> None:
    for preferred in READING_ORDER:
        read_calls(text, preferred=preferred)
    for preferred in ("pythonic", "functiongemma"):
        growing = StreamReader(preferred)
        for at in range(0, len(text), 8):
            growing.feed(text[at : at + 8])
    reader = StreamReader("hermes")
    sent = [reader.feed(text[at : at + 8]) for at in range(0, len(text), 8)]
    rest, reading = reader.finish()
    pieces = [piece for some in (*sent, rest) for piece in some]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Content)) == (reading.content or "")


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH, 10_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(depth: int, opening: str, closing: str) -> None:
    value = opening * (depth - 1) + "{}" + closing * (depth - 1)
    readable = depth < MAX_DEPTH
    assert bool(read_calls(f'{{"name": "f", "arguments": {{"a": {value}}}}}').calls) is readable
    text = f"[f(a={value})]"
    assert bool(read_calls(text).problem) is not readable


@pytest.mark.parametrize("digits", [MAX_DIGITS, MAX_DIGITS + 1, 5000])
def test_digits_are_bounded(digits: int) -> None:
    number = "9" * digits
    for text in (f'{{"name": "f", "arguments": {{"a": {number}}}}}', f"[f(a={number})]"):
        reading = read_calls(text)
        assert bool(reading.calls) is (digits <= MAX_DIGITS)
        assert bool(reading.problem) is (digits > MAX_DIGITS)
