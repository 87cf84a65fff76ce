"""ToolACE: functions as a JSON list within the system text, calls as ``[Name(argument="value"), …]``.

Names may have spaces, dots and anything else. Schemas stay as they are, Python's type names included: whoever
reads them (`strop.tools.schema`) knows those. Of the system text, the list and the sentences that announce it
or say how a call is to be written go: a policy is told so by its own template. The rest stays.
"""

from __future__ import annotations

import re
from typing import Any

from strop.tools.errors import DataError
from strop.tools.formats.bracketed import announces_calls, read_list
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import Conversation
from strop.training.layouts.exact import parse_at
from strop.training.layouts.hermes import has_tags
from strop.training.layouts.turns import speakers, stranger, turns_of

SPEAKERS = frozenset({"system", "user", "assistant", "tool"})

_LIST = re.compile(r"\[\s*\{")
_ABOUT_CALLS = (
    re.compile(r"[^.\n]*list of functions in JSON format[^.:\n]*[.:]?"),
    re.compile(r"[^.\n]*return the function calls? in tools? calls? sections?\.?"),
    re.compile(r"Should you decide to return the function call\(s\)[.,]?"),
    re.compile(r"[^.\n]*in the format of \[[^\]\n]*\(.*\)\]\.?"),
    re.compile(r"NO other text MUST be included\.?", re.IGNORECASE),
)


class ToolAce:
    """`Layout`."""

    name = "toolace"

    def fits(self, row: Row) -> bool:
        who = speakers(row)
        return bool(who) and who <= SPEAKERS and not has_tags(row)

    def marked(self, row: Row) -> bool:
        return not speakers(row).isdisjoint({"user", "assistant"})

    def read(self, row: Row, origin: Origin) -> list[Task]:
        turns = turns_of(row)
        given = row.get("system")
        texts = [given] if isinstance(given, str) else []
        texts += [text for speaker, text in turns if speaker == "system"]
        tools, system = _tools_in("\n".join(texts))
        names = {str(tool.get("name")) for tool in tools}
        conversation = Conversation()
        if system:
            conversation.say("system", system)
        for speaker, text in turns:
            match speaker:
                case "system":
                    pass  # read already
                case "user":
                    conversation.say("user", text)
                case "tool":
                    conversation.result(text)
                case "assistant" if announces_calls(text, names):
                    conversation.answer(None, read_list(text, names))
                case "assistant" if any(f"[{name}(" in text for name in names):
                    raise DataError(f"calls with prose before them: {text[:120]!r}")
                case "assistant":
                    conversation.answer(text)
                case _:
                    raise stranger(speaker, SPEAKERS)
        return conversation.tasks(row, origin, tools)


def _tools_in(system: str) -> tuple[list[dict[str, Any]], str]:
    """(functions, what else the text says). Raises DataError where a list is announced and cannot be read."""
    for opening in _LIST.finditer(system):
        try:
            value, end = parse_at(system, opening.start())
        except ValueError as error:
            raise DataError(f"the list of functions in the system text cannot be read: {error}") from error
        if all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in value):
            return [_function(item) for item in value], _rest(system[: opening.start()], system[end:])
    return [], system.strip()


def _function(item: dict[str, Any]) -> dict[str, Any]:
    """Some functions have their schema under ``arguments``."""
    return {"parameters": item["arguments"], **item} if isinstance(item.get("arguments"), dict) else item


def _rest(before: str, after: str) -> str:
    text = f"{before.rstrip()}\n{after.lstrip()}"
    for about in _ABOUT_CALLS:
        text = about.sub("", text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip(" ."))
