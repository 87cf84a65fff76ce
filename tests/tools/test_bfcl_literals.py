"""Java and JavaScript literals, as the official converters read them."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.bfcl.checker import check
from strop.tools.bfcl.literals import java_value, javascript_value, source_text
from strop.tools.spec import ToolCall


@pytest.mark.parametrize(
    ("text", "kind", "items", "value"),
    [
        ("-12", "integer", None, -12),
        ("12.0", "integer", None, "12.0"),
        ("12", "long", None, "12"),
        ("12L", "long", None, 12),
        ("1.5", "float", None, "1.5"),
        ("1.5f", "float", None, 1.5),
        ("2e3", "double", None, 2000.0),
        ("True", "boolean", None, "True"),
        ("true", "boolean", None, True),
        ('"a"', "String", None, '"a"'),
        ("'a'", "char", None, "'a'"),
        ("new int[]{1, 2 ,3}", "Array", "integer", [1, 2, 3]),
        ("new String[] { a, \"b\" }", "Array", "String", ["a", '"b"']),
        ("new long[]{1L, 2}", "Array", "long", [1, "2"]),
        ("new int[]{}", "Array", "integer", []),
        ("{1, 2}", "Array", "integer", "{1, 2}"),
        ('new ArrayList<>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<Long>() {{ add(1L); add(2L); }}", "ArrayList", "long", [1, 2]),
        ("new ArrayList<String>()", "ArrayList", "String", []),
        ("list", "ArrayList", "String", "list"),
        ('new HashMap<String, Object>() {{ put("a", 1); put("b", "x"); put("c", true); }}', "HashMap", None,
         {"a": 1, "b": "x", "c": True}),
        ("new HashMap<>()", "HashMap", None, {}),
        ("map", "HashMap", None, "map"),
        ("9" * 5000, "integer", None, "9" * 5000),
    ],
)  # fmt: skip
def test_java(text: str, kind: str, items: str | None, value: Any) -> None:
    assert java_value(text, kind, items) == value


@pytest.mark.parametrize(
    ("text", "kind", "items", "value"),
    [
        ("'a'", "String", None, "a"),
        ("a", "String", None, "a"),
        ("5", "float", None, 5.0),
        ("5.", "float", None, "5."),
        ("5n", "Bigint", None, 5),
        ("5", "Bigint", None, "5"),
        ("true", "Boolean", None, True),
        ("['a', 'b']", "array", "String", ["a", "b"]),
        ("new Array(1, 2)", "array", "integer", [1, 2]),
        ("[[1, 2], [3]]", "array", "array", [[1, 2], [3]]),
        ("[]", "array", "float", []),
        ("items", "array", "float", "items"),
        ("{}", "dict", None, {}),
        ("{'a': 1, \"b\": [1, 2], c: 'x'}", "dict", None, {"a": 1, "b": [1, 2], "c": "x"}),
        ("thing", "dict", None, "thing"),
        ("f(x)", "any", None, "f(x)"),
    ],
)
def test_javascript(text: str, kind: str, items: str | None, value: Any) -> None:
    assert javascript_value(text, kind, items) == value


WORDS = st.text(string.ascii_letters + string.digits + "_", max_size=8).map(lambda text: f"v_{text}")
NUMBERS = st.integers(-(10**6), 10**6)


@given(
    st.sampled_from(["java", "javascript"]),
    st.one_of(
        st.tuples(NUMBERS, st.just("integer"), st.none()),
        st.tuples(st.booleans(), st.just("boolean"), st.none()),
        st.tuples(WORDS, st.just("String"), st.none()),
        st.tuples(st.lists(NUMBERS, min_size=1), st.just("ArrayList"), st.just("integer")),
        st.tuples(st.lists(WORDS), st.just("ArrayList"), st.just("String")),
        st.tuples(st.lists(NUMBERS), st.just("Array"), st.just("integer")),
        st.tuples(
            st.dictionaries(WORDS, st.one_of(NUMBERS, WORDS, st.booleans())), st.just("HashMap"), st.none()
        ),
    ),
)
def test_what_is_written_is_read_back(language: str, case: tuple[Any, str, str | None]) -> None:
    value, kind, items = case
    read = java_value
    if language == "javascript":
        kind = {"boolean": "Boolean", "ArrayList": "array", "Array": "array", "HashMap": "dict"}.get(
            kind, kind
        )
        read = javascript_value
    assert read(source_text(value, kind, items, language), kind, items) == value


@given(st.text(max_size=60), st.sampled_from(["Array", "ArrayList", "HashMap", "array", "dict"]))
def test_any_text_is_read_as_something(text: str, kind: str) -> None:
    java_value(text, kind, "integer")
    javascript_value(text, kind, "String")


def judged(category: str, value: Any, kind: dict[str, Any], *allowed: Any) -> str | None:
    document = {"name": "f", "parameters": {"properties": {"x": kind}, "required": ["x"]}}
    fault = check(category, [document], [ToolCall("f", {"x": value})], [{"f": {"x": list(allowed)}}])
    return fault.error_type if fault else None


def test_arguments_in_other_languages_are_source_text() -> None:
    strings = {"type": "Array", "items": {"type": "String"}}
    assert judged("simple_java", "new String[]{a, b}", strings, ["a", "B"]) is None
    assert judged("simple_java", ["a", "b"], strings, ["a", "b"]) == "type_error:java"
    assert judged("simple_java", "5", {"type": "long"}, 5) == "type_error:simple"
    assert judged("simple_java", "5L", {"type": "long"}, 5) is None
    assert judged("simple_javascript", 5, {"type": "integer"}, 5) == "type_error:js"
    assert judged("simple_javascript", "{a: 1}", {"type": "dict"}, {"a": [1]}) is None
    assert judged("simple_javascript", "{a: 2}", {"type": "dict"}, {"a": [1]}) == "value_error:dict_value"
    assert judged("simple_javascript", "variable", {"type": "dict"}, "variable") is None
