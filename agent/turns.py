"""Conversations as chat templates want them: texts, calls in the template's form or as text, tools shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from strop.tools.errors import DataError, UsageError
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import ROLES, Message


def plain_messages(
    messages: Sequence[Message], call_format: str, *, keep_calls: bool = False
) -> list[dict[str, Any]]:
    """Messages with string contents, as templates want them.

    Content parts are joined, None becomes "", ``developer`` becomes ``system``, and an assistant's tool
    calls become text in `call_format`, or stay, with parsed arguments, where `keep_calls` says that the
    template writes that form itself. Raises UsageError naming the message that cannot be rendered.
    """
    return [_plain_message(index, message, call_format, keep_calls) for index, message in enumerate(messages)]


def _plain_message(index: int, message: Message, call_format: str, keep_calls: bool) -> dict[str, Any]:
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise UsageError(f"message {index}: unknown role {role!r} (want {', '.join(sorted(ROLES))})")
    plain = {key: message[key] for key in ("name", "tool_call_id") if message.get(key)}
    plain["role"] = "system" if role == "developer" else role
    plain["content"] = _text_content(index, message.get("content"))
    if role == "assistant" and message.get("tool_calls"):
        calls, broken = _calls_of(index, message["tool_calls"])
        texts = [plain["content"], *broken]
        if keep_calls and calls:
            plain["tool_calls"] = [
                {"id": call_id, "type": "function", "function": call.to_json()} for call_id, call in calls
            ]
        elif calls:
            texts.append(_written([call for _, call in calls], call_format))
        plain["content"] = "\n".join(filter(None, texts))
    return plain


def _written(calls: Sequence[ToolCall], call_format: str) -> str:
    """Calls as text in `call_format`, or as bare JSON where it has no way to write their names."""
    try:
        return FORMATS[call_format].render(calls)
    except UsageError:
        return FORMATS["bare_json"].render(calls)


def _text_content(index: int, content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise UsageError(f"message {index}: content must be text, got {type(content).__name__}")
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise UsageError(f"message {index}: only text content can be read, got a part of type {kind!r}")
        texts.append(part["text"])
    return "".join(texts)


def _calls_of(index: int, tool_calls: object) -> tuple[list[tuple[str, ToolCall]], list[str]]:
    """Calls with their ids, and as text those whose arguments are no object: a call that broke off is told
    so, and comes back."""
    if not isinstance(tool_calls, Sequence) or not all(isinstance(call, Mapping) for call in tool_calls):
        raise UsageError(f"message {index}: tool_calls must be a list of objects")
    calls: list[tuple[str, ToolCall]] = []
    broken: list[str] = []
    for call in tool_calls:
        function = call.get("function", call)
        try:
            calls.append((str(call.get("id") or ""), ToolCall.from_json(function)))
        except DataError as error:
            broken.append(_broken(function, f"message {index}: {error}"))
    return calls, broken


def _broken(function: object, problem: str) -> str:
    """A call as far as it was written. Raises UsageError with the `problem` where it was none."""
    name, arguments = (
        (function.get("name"), function.get("arguments")) if isinstance(function, Mapping) else (None, None)
    )
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise UsageError(problem)
    return f'{{"name": {json.dumps(name)}, "arguments": {arguments}'


def with_ids(turn: dict[str, Any], *, wanted: bool) -> dict[str, Any]:
    """A plain message whose calls have such ids as Mistral's templates demand, or none."""
    calls = turn.get("tool_calls", ())
    if not wanted:
        bare = [{name: value for name, value in call.items() if name != "id"} for call in calls]
        return turn | ({"tool_calls": bare} if calls else {})
    called = {"tool_calls": [call | {"id": _short_id(call["id"])} for call in calls]} if calls else {}
    answers = {"tool_call_id": _short_id(turn["tool_call_id"])} if "tool_call_id" in turn else {}
    return turn | called | answers


def _short_id(call_id: str) -> str:
    """The same for the same id; one that is as is demanded stays."""
    if re.fullmatch(r"[A-Za-z0-9]{9}", call_id):
        return call_id
    return blake2b(call_id.encode(errors="surrogatepass"), digest_size=5).hexdigest()[:9]


def with_tools_in_system(
    turns: Sequence[Mapping[str, Any]], tools: Sequence[ToolSpec], call_format: str
) -> list[dict[str, Any]]:
    """`turns` with the tools at the end of the system message, for templates that do not show tools."""
    text = tools_text(tools, call_format)
    first, rest = (turns[0], turns[1:]) if turns[0]["role"] == "system" else (None, turns)
    system = f"{first['content']}\n\n{text}" if first and first["content"] else text
    return [{"role": "system", "content": system}, *map(dict, rest)]


def tools_text(tools: Sequence[ToolSpec], call_format: str) -> str:
    """Strop's own wording of a tool list: one OpenAI tool object a line, and how to write a call."""
    listed = "\n".join(json.dumps(tool.to_openai(), ensure_ascii=False) for tool in tools)
    example = FORMATS[call_format].render([ToolCall("function_name", {"argument": "value"})])
    return (
        f"You can call these functions:\n{listed}\n\n"
        f"To call functions, answer with nothing but the calls, each in this form:\n{example}\n\n"
        "If no function fits the request, answer in plain words."
    )
