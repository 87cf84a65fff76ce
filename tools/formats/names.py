"""Names of calls, against the names that were offered.

Models write ``math.roots.quadratic`` for ``math_roots.quadratic``, leave a namespace out (``find_group`` for
``restaurant.find_group``) or put one in front (``functions.find_group``). Where a name was not offered, and
exactly one offered name is the same but for case and punctuation, or, failing that, but for a namespace that
one of the two lacks, that is what is meant, and the reading says so. Anything less certain stays as it was
written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from strop.tools.formats.base import Reading
from strop.tools.spec import ToolCall, ToolSpec

_PUNCTUATION = re.compile(r"[\s._\-/:]+")


def settle_names(reading: Reading, tools: Iterable[ToolSpec]) -> Reading:
    """`reading` with each such name replaced by the offered one, and a repair for each."""
    tools = tuple(tools)
    renamed = {call.name: meant_name(call.name, tools) for call in reading.calls}
    repairs = tuple(f"name {was!r} read as {now!r}" for was, now in renamed.items() if was != now)
    if not repairs:
        return reading
    calls = tuple(ToolCall(renamed[call.name], call.arguments, call.text) for call in reading.calls)
    return replace(reading, calls=calls, repairs=reading.repairs + repairs)


def meant_name(name: str, tools: Iterable[ToolSpec]) -> str:
    """The offered name that `name` means, or itself: see the module."""
    offered = [tool.name for tool in tools]
    if name in offered:
        return name
    for same in (_same_letters, _same_but_namespace):
        alike = {other for other in offered if same(name, other)}
        if alike:
            return alike.pop() if len(alike) == 1 else name
    return name


def _same_letters(name: str, other: str) -> bool:
    return _bare(name) == _bare(other) != ""


def _same_but_namespace(name: str, other: str) -> bool:
    """Whether one of the two has no namespace, and the last parts are alike."""
    has_none = "." not in name or "." not in other
    return has_none and _same_letters(name.rpartition(".")[2], other.rpartition(".")[2])


def _bare(name: str) -> str:
    return _PUNCTUATION.sub("", name).casefold()
