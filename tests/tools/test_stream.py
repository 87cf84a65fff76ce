"""A streamed answer is the whole answer, however it is cut."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from strop.tools.formats import READING_ORDER, StreamReader, read_calls
from tests.tools.strategies import answers, written

CALL = '```json\n{"name": "f", "arguments": {"a": 1}}\n```'


def _streamed(pieces: list[str], preferred: str) -> tuple[list[str], object]:
    reader = StreamReader(preferred)
    sent = [reader.feed(piece) for piece in pieces]
    rest, reading = reader.finish()
    return [*sent, rest], reading


def _check(text: str, pieces: list[str], preferred: str) -> None:
    sent, reading = _streamed(pieces, preferred)
    expected = read_calls(text, preferred=preferred)
    assert reading == expected
    assert "".join(sent) == (expected.content or "")


@given(answers(), st.sampled_from(READING_ORDER))
@example("<tools>{'name': 'f', 'arguments': {}}", "hermes")
@example("```\n[f(a='```'" + "x" * 40 + "'", "fenced_json")
def test_every_split_point(text: str, preferred: str) -> None:
    for cut in range(len(text) + 1):
        _check(text, [text[:cut], text[cut:]], preferred)


@given(answers(), st.sampled_from(READING_ORDER), st.data())
def test_many_splits(text: str, preferred: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    _check(text, pieces, preferred)


@given(answers(), st.sampled_from(READING_ORDER))
def test_character_by_character(text: str, preferred: str) -> None:
    _check(text, list(text), preferred)


@given(written(), st.sampled_from(("", "Let me see.\n\n", "  Two lines\nof prose  ")))
def test_nothing_of_a_call_is_sent(given_: tuple[str, object, str], before: str) -> None:
    name, _, text = given_
    sent, _ = _streamed(list(before + text), name)
    assert "".join(sent) == before.strip()


def test_prose_is_sent_as_it_comes() -> None:
    reader = StreamReader("fenced_json")
    assert [reader.feed(piece) for piece in ("  Hello", " wor", "ld ", "and", " {")] == [
        "Hello", " wor", "ld", " and", "",
    ]  # fmt: skip
    assert reader.feed("x}.") == " {x}."


def test_code_is_sent_as_it_comes() -> None:
    reader = StreamReader("fenced_json")
    assert reader.feed("So:\n```py") == "So:"
    assert reader.feed("thon\n") == "\n```python"
    assert reader.feed("x = {") == "\nx = {"
    assert reader.feed('"name": 1}') == '"name": 1}'
    assert reader.feed("\n```\nDone") == "\n```"
    assert reader.feed(" and more words.") == "\nDone and more words."


def test_a_call_is_held_back_and_what_follows_it_too() -> None:
    reader = StreamReader("fenced_json")
    assert reader.feed("Sure. " + CALL[:20]) == "Sure."
    assert reader.feed(CALL[20:] + "\nThat is all there is to say.") == ""
    rest, reading = reader.finish()
    assert rest == "\nThat is all there is to say."
    assert [call.name for call in reading.calls] == ["f"]
