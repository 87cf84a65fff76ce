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
_NO_LIST = re.compile(r"list of functions in JSON format[^\[\n]{0,80}+\s*+(\[\s*\])")
_NO_CALL = re.compile(r"\[\s*\]")
# Sentences that say one of these go, to the end that stands beside it; none of it can be passed over twice.
_SENTENCES = (
    (re.compile(r"list of functions in JSON format"), re.compile(r"[^.:]*[.:]?")),
    (re.compile(r"return the function calls? in tools? calls? sections?"), re.compile(r"\.?")),
)
_WORDS = re.compile(
    r"Should you decide to return the function call\(s\)[.,]?|(?i:NO other text MUST be included\.?)"
)
_FORM = "in the format of ["


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
                case "assistant" if _NO_CALL.fullmatch(text.strip()):
                    conversation.decline()
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
    none = _NO_LIST.search(system)
    return [], _rest(system[: none.start(1)], system[none.end(1) :]) if none else system.strip()


def _function(item: dict[str, Any]) -> dict[str, Any]:
    """Some functions have their schema under ``arguments``."""
    return {"parameters": item["arguments"], **item} if isinstance(item.get("arguments"), dict) else item


def _rest(before: str, after: str) -> str:
    """What the text says besides, line by line: in linear time, whatever it is."""
    lines = [_without_calls(line).strip() for line in f"{before.rstrip()}\n{after.lstrip()}".splitlines()]
    return "\n".join(line for line in lines if line.strip(" ."))


def _without_calls(line: str) -> str:
    for mark, rest in _SENTENCES:
        line = _without_sentences(line, mark, rest)
    return _WORDS.sub("", _without_form(line))


def _without_sentences(line: str, mark: re.Pattern[str], rest: re.Pattern[str]) -> str:
    """`line` without the sentences that say `mark`, up to where `rest` ends after it."""
    kept, at = list[str](), 0
    while (found := mark.search(line, at)) is not None:
        kept.append(line[at : line.rfind(".", at, found.start()) + 1 or at])
        end = rest.match(line, found.end())
        at = found.end() if end is None else end.end()
    return "".join([*kept, line[at:]])


def _without_form(line: str) -> str:
    """`line` without the sentence that shows how calls are written, which goes to the last bracket: there are
    dots in between."""
    found, last = line.find(_FORM), line.rfind(")]")
    opened, closed = line.find("(", found), line.find("]", found)
    if not 0 <= found < opened < closed or last < opened:
        return line
    return line[: line.rfind(".", 0, found) + 1] + line[last + 2 :].removeprefix(".")
