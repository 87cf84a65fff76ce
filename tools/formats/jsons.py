"""The formats that write calls as JSON: fenced, between tags, or bare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from strop.tools.errors import UsageError
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


def _one_or_list(calls: Sequence[ToolCall]) -> Any:
    rows = [call.to_json() for call in calls]
    return rows[0] if len(rows) == 1 else rows


def _dump(value: Any, *, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise UsageError(f"a call cannot be written as JSON: {error}") from error
