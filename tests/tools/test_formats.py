"""What a format writes reads back as it was, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.errors import UsageError
from strop.tools.formats import FORMATS, READING_ORDER, format_of_template, read_calls
from strop.tools.spec import ToolCall
from tests.tools.strategies import answers, calls, written


def test_the_formats_are_these() -> None:
    assert set(FORMATS) == {*READING_ORDER, "xlam", "llama3_json"}
    assert all(FORMATS[name].name == name for name in FORMATS)


def test_the_written_forms() -> None:
    one = [ToolCall("f", {"a": 1, "b": "ü"})]
    assert FORMATS["fenced_json"].render(one) == (
        '```json\n{\n  "name": "f",\n  "arguments": {\n    "a": 1,\n    "b": "ü"\n  }\n}\n```'
    )
    assert FORMATS["hermes"].render(one) == (
        '<tool_call>\n{"name": "f", "arguments": {"a": 1, "b": "ü"}}\n</tool_call>'
    )
    assert FORMATS["bare_json"].render(one) == '{"name": "f", "arguments": {"a": 1, "b": "ü"}}'
    assert FORMATS["pythonic"].render(one) == "[f(a=1, b='ü')]"


def test_several_json_calls_are_one_array() -> None:
    two = [ToolCall("f", {}), ToolCall("g", {})]
    assert (
        FORMATS["bare_json"].render(two) == '[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]'
    )
    assert FORMATS["fenced_json"].render(two).startswith("```json\n[\n  {")


@given(written())
def test_reading_is_the_inverse_of_rendering(given_: tuple[str, list[ToolCall], str]) -> None:
    name, some, text = given_
    reading = read_calls(text, preferred=name)
    assert (list(reading.calls), reading.content, reading.repairs, reading.problem) == (some, None, (), None)
    assert [_types(dict(call.arguments)) for call in reading.calls] == [
        _types(dict(c.arguments)) for c in some
    ]
    assert reading.format == {"xlam": "bare_json", "llama3_json": "bare_json"}.get(name, name)


@given(written(), st.sampled_from(READING_ORDER))
def test_any_format_is_read_whatever_is_preferred(
    given_: tuple[str, list[ToolCall], str], preferred: str
) -> None:
    _, some, text = given_
    assert list(read_calls(text, preferred=preferred).calls) == some


@given(
    written(),
    st.sampled_from(("Sure.", "I look it up:", "Two\n\nparagraphs")),
    st.sampled_from(("", "Done.")),
)
def test_prose_around_calls_is_content(
    given_: tuple[str, list[ToolCall], str], before: str, after: str
) -> None:
    name, some, text = given_
    reading = read_calls(f"{before}\n\n{text}\n{after}", preferred=name)
    assert list(reading.calls) == some
    assert reading.content == (f"{before}\n{after}" if after else before)


@given(written())
def test_each_call_keeps_its_own_text(given_: tuple[str, list[ToolCall], str]) -> None:
    name, some, text = given_
    texts = [call.text for call in read_calls(text, preferred=name).calls]
    assert all(texts)
    position = 0
    for part in texts:
        position = text.index(part, position) + len(part)
    assert len(texts) == len(some)


@given(written(), st.data())
def test_what_was_cut_off_never_becomes_another_call(
    given_: tuple[str, list[ToolCall], str], data: st.DataObject
) -> None:
    name, some, text = given_
    cut = data.draw(st.integers(0, len(text)))
    found = list(read_calls(text[:cut], preferred=name).calls)
    assert found == some[: len(found)]


@given(answers() | st.text(), st.sampled_from(READING_ORDER))
def test_any_text_has_a_reading(text: str, preferred: str) -> None:
    reading = read_calls(text, preferred=preferred)
    certain = reading.calls or reading.broken
    if reading.problem is not None and not certain:
        assert reading.content == text.strip()
    if not certain:
        assert reading.content == (text.strip() or None)
        assert reading.repairs == ()


@given(answers(), st.sampled_from(READING_ORDER))
def test_calls_that_were_read_can_be_written_and_read_again(text: str, preferred: str) -> None:
    found = read_calls(text, preferred=preferred).calls
    again = read_calls(FORMATS["hermes"].render(found), preferred="hermes")
    assert again.calls == found


@given(calls(), st.sampled_from(("two words", "a-b", "1st", "class", "", "f.", "ﬁ")))
def test_pythonic_refuses_names_it_cannot_write(call: ToolCall, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written as a Python call"):
        FORMATS["pythonic"].render([ToolCall(name, call.arguments)])
    with pytest.raises(UsageError, match="keyword"):
        FORMATS["pythonic"].render([ToolCall("f", {name: 1})])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_values_that_are_not_json_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError):
        FORMATS[name].render([ToolCall("f", {"a": value})])


@pytest.mark.parametrize("name", FORMATS)
def test_no_calls_are_no_text(name: str) -> None:
    assert FORMATS[name].render([]) == ""


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'xml'.*fenced_json, hermes"):
        read_calls("", preferred="xml")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (
            'return a json object within <tool_call></tool_call> tags: {"name": <f>, "arguments": <a>}',
            "hermes",
        ),
        ("in the format [func_name1(params_name1=params_value1), func_name2(params)]", "pythonic"),
        ('Answer with ```json\n{"name": …, "arguments": …}', "fenced_json"),
        (
            'Respond in the format {"name": function name, "parameters": dictionary of arguments}.',
            "bare_json",
        ),
        ('{{- \'Respond with {\\"name\\": function name, \\"parameters\\": {}}\' }}', "bare_json"),
        ("{% for message in messages %}{{ message['content'] }}{% endfor %}", "fenced_json"),
    ],
)
def test_the_format_a_template_asks_for(template: str, name: str) -> None:
    assert format_of_template(template) == name


def _types(value: object) -> object:
    """`value` with types in the place of leaves: True == 1 == 1.0, but they are not the same JSON."""
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(item) for item in value]
    return type(value)
