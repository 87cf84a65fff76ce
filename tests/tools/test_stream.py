"""A streamed answer is the whole answer, however it is cut."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strop.tools.formats import (
    FORMATS,
    ArgumentText,
    BrokenCall,
    CallBegun,
    Content,
    Piece,
    Reading,
    Reasoning,
    StreamReader,
    read_calls,
)
from strop.tools.spec import ToolCall, ToolSpec
from tests.tools.strategies import answers, written

CALL = '```json\n{"name": "f", "arguments": {"a": 1}}\n```'


@dataclass
class Told:
    """What a stream told, joined."""

    content: str = ""
    reasoning: str = ""
    calls: list[list[str]] = field(default_factory=list)
    """[name, text of the arguments] of each call."""

    def add(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            match piece:
                case Content(text):
                    self.content += text
                case Reasoning(text):
                    self.reasoning += text
                case CallBegun(index, name):
                    assert index == len(self.calls)
                    self.calls.append([name, ""])
                case ArgumentText(index, text):
                    assert text
                    self.calls[index][1] += text


def _streamed(pieces: list[str], preferred: str, **options: Any) -> tuple[Told, Reading]:
    reader, told = StreamReader(preferred, **options), Told()
    for piece in pieces:
        told.add(reader.feed(piece))
    rest, reading = reader.finish()
    told.add(rest)
    return told, reading


def _check(text: str, pieces: list[str], preferred: str, **options: Any) -> None:
    told, reading = _streamed(pieces, preferred, **options)
    expected = read_calls(text, preferred=preferred, **options)
    assert reading == expected
    assert told.content == (expected.content or "")
    assert told.reasoning == (expected.reasoning or "")
    calls = [[call.name, json.dumps(call.arguments, ensure_ascii=False)] for call in expected.calls]
    broken = [[expected.broken.name, expected.broken.arguments]] if expected.broken else []
    assert told.calls == calls + broken
    if expected.broken:
        assert expected.problem
        with pytest.raises(ValueError):
            json.loads(expected.broken.arguments)


# An example is as many streams as the text has characters.
@settings(max_examples=settings().max_examples // 3)
@given(answers(), st.sampled_from(sorted(FORMATS)))
@example("<tools>{'name': 'f', 'arguments': {}}", "hermes")
@example(
    '"name": "0", "arguments": {"": [{"": 100000000000000.0, "```": null}]}}{"name": "0", "arguments": {}}',
    "bare_json",
)
@example("ba[X(X=1.0000000000000002e+16)]", "bare_json")
@example("```\n[f(a='```'" + "x" * 40 + "'", "fenced_json")
def test_every_split_point(text: str, preferred: str) -> None:
    for cut in range(len(text) + 1):
        _check(text, [text[:cut], text[cut:]], preferred)


@given(answers(), st.sampled_from(sorted(FORMATS)), st.data())
def test_many_splits(text: str, preferred: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    _check(text, pieces, preferred)


@given(answers(), st.sampled_from(sorted(FORMATS)))
def test_character_by_character(text: str, preferred: str) -> None:
    _check(text, list(text), preferred)


@given(written(), st.sampled_from(("", "Let me see.\n\n", "  Two lines\nof prose  ")))
def test_nothing_of_a_call_is_content(given_: tuple[str, object, str], before: str) -> None:
    name, _, text = given_
    told, _ = _streamed(list(before + text), name)
    assert told.content == before.strip()


@given(written(), st.data())
def test_a_call_that_is_cut_off_is_told_as_far_as_it_is_certain(
    given_: tuple[str, list[ToolCall], str], data: st.DataObject
) -> None:
    name, calls, text = given_
    text = text[: data.draw(st.integers(0, len(text)))]
    told, reading = _streamed(list(text), name)
    _check(text, list(text), name)
    known = [[call.name, json.dumps(call.arguments, ensure_ascii=False)] for call in calls]
    for (told_name, arguments), (known_name, whole) in zip(told.calls, known, strict=False):
        assert told_name == known_name
        assert whole.startswith(arguments)
    assert len(told.calls) <= len(known)
    assert [[call.name, dict(call.arguments)] for call in reading.calls] == [
        [call.name, call.arguments] for call in calls[: len(reading.calls)]
    ]


def test_prose_is_sent_as_it_comes() -> None:
    reader = StreamReader("fenced_json")
    assert [_content(reader.feed(piece)) for piece in ("  Hello", " wor", "ld ", "and", " {")] == [
        "Hello", " wor", "ld", " and", "",
    ]  # fmt: skip
    assert _content(reader.feed("x}.")) == " {x}."


def test_code_is_sent_as_it_comes() -> None:
    reader = StreamReader("fenced_json")
    assert _content(reader.feed("So:\n```py")) == "So:"
    assert _content(reader.feed("thon\n")) == "\n```python"
    assert _content(reader.feed("x = {")) == "\nx = {"
    assert _content(reader.feed('"name": 1}')) == '"name": 1}'
    assert _content(reader.feed("\n```\nDone")) == "\n```"
    assert _content(reader.feed(" and more words.")) == "\nDone and more words."


def _content(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Content))


def test_what_follows_a_call_is_held_back() -> None:
    reader = StreamReader("fenced_json")
    assert _content(reader.feed("Sure. " + CALL[:20])) == "Sure."
    assert _content(reader.feed(CALL[20:] + "\nThat is all there is to say.")) == ""
    rest, reading = reader.finish()
    assert _content(rest) == "\nThat is all there is to say."
    assert [call.name for call in reading.calls] == ["f"]


LONG = ToolCall("write_file", {"path": "a.txt", "lines": 3, "text": "Once upon a time. " * 20})


@pytest.mark.parametrize("call_format", sorted(FORMATS))
def test_arguments_leave_before_the_call_is_complete(call_format: str) -> None:
    text = FORMATS[call_format].render([LONG, LONG])
    reader, told, first = StreamReader(call_format), Told(), None
    for index, char in enumerate(text):
        told.add(reader.feed(char))
        if first is None and told.calls and told.calls[0][1]:
            first = index
    assert first is not None
    assert text[:first].count("Once") == 0  # before the long argument was begun
    told.add(reader.finish()[0])
    assert [name for name, _ in told.calls] == ["write_file"] * 2
    assert all(json.loads(arguments) == LONG.arguments for _, arguments in told.calls)


def test_texts_leave_character_by_character() -> None:
    text = FORMATS["fenced_json"].render([ToolCall("say", {"text": 'a\n☀\U0001f98a"b'})])
    reader = StreamReader("fenced_json")
    told = [piece.text for char in text for piece in reader.feed(char) if isinstance(piece, ArgumentText)]
    assert told == ['{"text": "a', "\\n", "☀", "\U0001f98a", '\\"', "b", '"', "}"]


def test_a_call_that_goes_wrong_after_it_was_told_ends_where_it_was_certain() -> None:
    text = CALL + '\nAnd:\n```json\n{"name": "g", "arguments": {"a": "x", "b": oops'
    told, reading = _streamed([text], "fenced_json")
    assert [call.name for call in reading.calls] == ["f"]
    assert reading.problem
    assert told.calls == [["f", '{"a": 1}']]
    first = (
        '```json\n[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"a": "x", "b": oops, "c'
    )
    _, reading = _streamed([first], "fenced_json")
    assert ([call.name for call in reading.calls], reading.content) == (["f"], ', "c')
    assert reading.broken == BrokenCall("g", '{"a": "x"')


@pytest.mark.parametrize("opened", [False, True])
def test_thoughts_are_set_apart(opened: bool) -> None:
    text = ("" if opened else "<think>") + "\nI could call\n" + CALL + "\n </think>\n\nSure.\n" + CALL
    for pieces in ([text], list(text), [text[i : i + 3] for i in range(0, len(text), 3)]):
        told, reading = _streamed(pieces, "fenced_json", thinking=opened)
        assert reading.reasoning == told.reasoning == f"I could call\n{CALL}"
        assert (reading.content, len(reading.calls)) == ("Sure.", 1)


@given(
    st.sampled_from(("<think>a</think>", "<think>", "<thin", "<think>a</thi", " <think> </think>b")),
    answers(),
)
def test_thoughts_are_set_apart_however_they_are_cut(before: str, text: str) -> None:
    for thinking in (False, True):
        _check(before + text, list(before + text), "fenced_json", thinking=thinking)


def test_a_name_is_told_as_it_was_offered() -> None:
    tools = [ToolSpec("math.add", "", {})]
    text = '```json\n{"name": "math_add", "arguments": {"a": 1}}\n```'
    told, reading = _streamed(list(text), "fenced_json", tools=tools)
    assert told.calls == [["math.add", '{"a": 1}']]
    assert reading.repairs == ("name 'math_add' read as 'math.add'",)
