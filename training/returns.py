"""What made-up tools return, and how an assistant reports it.

Nobody ran anything, so nothing is invented that could be wrong: an action is confirmed under a number, and an
answer is said to be shown to the user. Both depend on the call alone.
"""

from __future__ import annotations

import re
import zlib
from random import Random
from typing import Any

from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.training.catalogue import CatalogueTool

_ASKING = re.compile(
    "(?:calculate|check|compare|compute|convert|count|describe|estimate|explain|find|get|give|list|look|measure"
    "|predict|project|quote|rank|report|score|search|show|solve|summarise|tell|track|translate|work) "
)
"""First words of what a tool does that promise an answer; every other tool acts."""
_ANSWERED = (
    "Here you are: the result is on your screen.",
    "I have the result; it is shown next to our chat.",
    "That worked, and the answer is on display.",
    "Found it. You can see the result now.",
)
_ACTED = (
    "Done.",
    "That is done. Is there anything else?",
    "All set.",
    "It is taken care of, under the number {number}.",
)


def result_of(tool: CatalogueTool, call: ToolCall) -> dict[str, Any]:
    """A result in JSON: a status, a number, and for some calls the first value they were given."""
    digest = _digest(call)
    result: dict[str, Any] = {"status": "ok", "id": f"{_kind(tool)}-{digest % 9000 + 1000}"}
    if is_asked(tool):
        result["shown"] = True
    if digest % 3 == 0:
        result |= dict(list(call.arguments.items())[:1])
    return result


def report_of(tool: CatalogueTool, call: ToolCall, rng: Random) -> str:
    """One sentence on `result_of` the call."""
    said = rng.choice(_ANSWERED if is_asked(tool) else _ACTED)
    return said.format(number=result_of(tool, call)["id"])


def is_asked(tool: CatalogueTool) -> bool:
    """Whether the tool answers a question, rather than act."""
    return _ASKING.match(tool.does) is not None


def _kind(tool: CatalogueTool) -> str:
    return "res" if is_asked(tool) else "job"


def _digest(call: ToolCall) -> int:
    return zlib.crc32(json_text(call.to_json()).encode())
