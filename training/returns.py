"""What made-up tools return, and how an assistant reports it.

Nobody ran anything, so nothing is invented that could be wrong: an action is confirmed under a number, and an
answer is said to be shown to the user. Both depend on the call alone.
"""

from __future__ import annotations

import zlib
from random import Random
from typing import Any

from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.training.catalogue import CatalogueTool

_ANSWERED = (
    "Here you are: the result is on your screen.",
    "I have the result; it is shown next to our chat.",
    "That worked, and the answer is on display.",
    "That is done; you can see the result now.",
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
    if not tool.acts:
        result["shown"] = True
    if digest % 3 == 0:
        result |= dict(list(call.arguments.items())[:1])
    return result


def report_of(tool: CatalogueTool, call: ToolCall, rng: Random) -> str:
    """One sentence on `result_of` the call."""
    said = rng.choice(_ACTED if tool.acts else _ANSWERED)
    return said.format(number=result_of(tool, call)["id"])


def _kind(tool: CatalogueTool) -> str:
    return "job" if tool.acts else "res"


def _digest(call: ToolCall) -> int:
    return zlib.crc32(json_text(call.to_json()).encode())
