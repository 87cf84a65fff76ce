"""What is made up for one task: a conversation, the tools on offer and what is right after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.task import Message
from strop.training.catalogue import CatalogueTool
from strop.training.layouts.conversation import calling


@dataclass(frozen=True, slots=True)
class Exchange:
    """A conversation whose last turn is the user's, and its gold."""

    messages: tuple[Message, ...]
    """In OpenAI's form."""
    tools: Sequence[CatalogueTool]
    """On offer, in no order yet."""
    calls: tuple[ToolCall, ...] = ()
    """Gold calls; none where prose is right."""
    response: str | None = None
    """Gold prose."""

    @property
    def asked(self) -> str:
        """All that the user says, by which two tasks are told apart."""
        return "\n".join(str(turn["content"]) for turn in self.messages if turn["role"] == "user")


def asking(
    question: str,
    tools: Sequence[CatalogueTool],
    calls: tuple[ToolCall, ...] = (),
    response: str | None = None,
) -> Exchange:
    """One question, nothing before it."""
    return Exchange(({"role": "user", "content": question},), tools, calls, response)


@dataclass(slots=True)
class Transcript:
    """Builds the turns before a gold, one call an answer."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    _calls: int = 0

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def assistant(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def call(self, call: ToolCall, result: dict[str, Any]) -> None:
        """The assistant's call, and what the tool returned."""
        self._calls += 1
        name = f"call_{self._calls}"
        self.messages.append({"role": "assistant", "content": None, "tool_calls": [calling(call, name)]})
        self.messages.append({"role": "tool", "tool_call_id": name, "content": json_text(result)})
