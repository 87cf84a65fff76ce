"""The formats that write calls as JSON: fenced, between tags, after a mark, or bare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from strop.tools.errors import UsageError
from strop.tools.formats.announced import (
    DEEPSEEK,
    DEEPSEEK_ALL,
    DEEPSEEK_ALL_END,
    DEEPSEEK_END,
    DEEPSEEK_SEP,
    GRANITE,
    MISTRAL,
)
from strop.tools.spec import ToolCall


class FencedJson:
    """`CallFormat` of a code fence with one object, or with an array for several calls."""

    name = "fenced_json"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return f"```json\n{_dump(_one_or_list(calls), indent=2)}\n```" if calls else ""


class Hermes:
    """`CallFormat` of Nous Hermes, Qwen 2.5 and many others: each call between ``<tool_call>`` tags."""

    name = "hermes"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return "\n".join(f"<tool_call>\n{_dump(call.to_json())}\n</tool_call>" for call in calls)


class BareJson:
    """`CallFormat` of JSON and nothing around it: one object, or an array for several calls."""

    name = "bare_json"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return _dump(_one_or_list(calls)) if calls else ""


class XLam:
    """`CallFormat` of Salesforce's xLAM: a bare JSON array, of one call too."""

    name = "xlam"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return _dump([call.to_json() for call in calls]) if calls else ""


class Llama3Json:
    """`CallFormat` of Llama 3.1 to 3.3: objects with ``parameters``, separated by semicolons."""

    name = "llama3_json"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        rows = ({"name": call.name, "parameters": dict(call.arguments)} for call in calls)
        return "; ".join(map(_dump, rows))


class Mistral:
    """`CallFormat` of Mistral: a mark and a JSON array."""

    name = "mistral"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return MISTRAL + _dump([call.to_json() for call in calls]) if calls else ""


class Granite:
    """`CallFormat` of IBM's Granite 3: a mark and a JSON array."""

    name = "granite"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have (NaN, infinities)."""
        return GRANITE + _dump([call.to_json() for call in calls]) if calls else ""


class DeepSeek:
    """`CallFormat` of DeepSeek V3.1."""

    name = "deepseek"

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Raises UsageError for values JSON does not have, and names the marks would swallow."""
        if not calls:
            return ""
        return DEEPSEEK_ALL + "".join(map(_deepseek_call, calls)) + DEEPSEEK_ALL_END


def _deepseek_call(call: ToolCall) -> str:
    name = call.name
    if name.strip() != name or set(name) & set("\n<`") or name == "function":
        raise UsageError(f"tool name {name!r} cannot be written for DeepSeek; use another call format")
    return f"{DEEPSEEK}{name}{DEEPSEEK_SEP}{_dump(dict(call.arguments))}{DEEPSEEK_END}"


def _one_or_list(calls: Sequence[ToolCall]) -> Any:
    rows = [call.to_json() for call in calls]
    return rows[0] if len(rows) == 1 else rows


def _dump(value: Any, *, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise UsageError(f"a call cannot be written as JSON: {error}") from error
