"""One text for each meaning: calls that say the same have the same canonical form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from strop.tools.spec import ToolCall


def canonical(calls: Iterable[ToolCall]) -> str:
    """JSON of the calls in any order, keys sorted, numbers by value (1 and 1.0 are one number, True is none).

    Equal for two sequences exactly when they hold the same calls, each as often.
    """
    return "[" + ",".join(sorted(canonical_value(call.to_json()) for call in calls)) + "]"


def canonical_value(value: Any) -> str:
    """JSON of one value, keys sorted, numbers by value."""
    return json.dumps(_by_value(value), sort_keys=True, separators=(",", ":"))


def _by_value(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _by_value(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_by_value(item) for item in value]
    return value
