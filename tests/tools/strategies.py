"""What hypothesis draws: calls, and texts that look like answers."""

from __future__ import annotations

import keyword
import unicodedata

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall

_TRAPS = (
    "```", "```json\n", "</tool_call>", "<tool_call>", "{", "}", "[f(a=1)]", '{"name": "g", "arguments": {}}',
    "\n", '"', "'", "\\", "\\n", "\u2028", "\x00", "—", "🦊", "\\u0041", "True", "null",
)  # fmt: skip


def texts() -> SearchStrategy[str]:
    """Strings that hold whatever could confuse a reader."""
    return st.one_of(st.text(max_size=12), st.lists(st.sampled_from(_TRAPS), max_size=4).map("".join))


def json_values() -> SearchStrategy[object]:
    """Any JSON value, small."""
    return json_values_of(texts(), texts())


def json_values_of(keys: SearchStrategy[str], text: SearchStrategy[str]) -> SearchStrategy[object]:
    """Any JSON value, small, with such keys and texts."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
        max_leaves=4,
    )


def names() -> SearchStrategy[str]:
    """Tool names, also odd ones."""
    odd = st.text(st.sampled_from("abcXYZ019_.- ßé花"), min_size=1, max_size=12).filter(str.strip)
    return odd | st.sampled_from(("get_weather", "math.area", "set-alarm", "find place"))


def calls() -> SearchStrategy[ToolCall]:
    """Any call."""
    return st.builds(ToolCall, names(), st.dictionaries(texts(), json_values(), max_size=3))


def identifiers() -> SearchStrategy[str]:
    """Names that Python reads back as they are."""
    return st.text(st.sampled_from("abcdefXYZ_019éß花"), min_size=1, max_size=8).filter(
        lambda name: (
            name.isidentifier()
            and not keyword.iskeyword(name)
            and unicodedata.normalize("NFKC", name) == name
        )
    )


def pythonic_calls() -> SearchStrategy[ToolCall]:
    """Calls that can be written in Python."""
    dotted = st.lists(identifiers(), min_size=1, max_size=3).map(".".join)
    return st.builds(ToolCall, dotted, st.dictionaries(identifiers(), json_values(), max_size=3))


def calls_for(format_name: str) -> SearchStrategy[list[ToolCall]]:
    """One to three calls that the format can express."""
    one = pythonic_calls() if format_name == "pythonic" else calls()
    if format_name == "functiongemma":
        values = json_values_of(identifiers(), texts().filter(lambda text: "<" not in text))
        one = st.builds(ToolCall, identifiers(), st.dictionaries(identifiers(), values, max_size=3))
    if format_name == "deepseek":
        one = calls().filter(lambda call: call.name.strip() == call.name)
    return st.lists(one, min_size=1, max_size=3)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, list[ToolCall], str]:
    """(format, calls, the calls written in it)."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    some = draw(calls_for(name))
    return name, some, FORMATS[name].render(some)


@st.composite
def answers(draw: st.DrawFn) -> str:
    """Texts as a bad day of a small model might give: pieces of calls, of formats and of prose."""
    pieces = draw(st.lists(st.one_of(texts(), st.sampled_from(_PIECES), _broken()), max_size=7))
    return "".join(pieces)


@st.composite
def _broken(draw: st.DrawFn) -> str:
    _, _, text = draw(written())
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    return draw(st.sampled_from((text, text[:start], text[end:], text[:start] + text[end:])))


_PIECES = (
    "```json\n", "```python\n", "```\n", "```", "``", "````", "\n```\n",
    "[TOOL_CALLS]", "[TOOL_CALLS]f[ARGS]", "<|tool_call|>", "<|python_tag|>", '{"a": "b',
    "<start_function_call>call:f{a:1", '{"name": "f", "parameters": {"a": 1}}',
    "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>",
    "<tool_call>\n", "\n</tool_call>", "<tools>", "<tool_", "</",
    '{"name": "f", "arguments": {"a": 1}}', '{"name": "f", "arguments": {"a": 1}',
    "{'name': 'f', 'arguments': {}}",
    '{"x": 1}', '{"name": ', '"arguments": {', "[", "]", "{", "}", ", ", "[]", "{}", "NaN", "1e999",
    "[f(a=1)]", "[f(", "[f(1)]", "[f(a=[1, {'b': ", ")]",
    "Sure. ", "\n\n", "   ", "print('x')", "x" * 40,
)  # fmt: skip
