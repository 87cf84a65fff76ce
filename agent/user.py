"""A user played by a model, for dialogues in which somebody must answer.

The one who plays sees the conversation from the user's side: what the model under test said is said to it,
and what it answers is said to the model. Of calls and their results it sees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strop.agent.answer import Answerer
from strop.agent.engines.base import Sampling
from strop.tools.episode import END
from strop.tools.errors import RefusedError, TooLongError, UsageError
from strop.tools.formats.thoughts import without_thoughts
from strop.tools.task import Message, Task

_RULES = f"""You play a user who talks to an assistant. This is who you are and what you want:

{{instruction}}

Keep to these rules:
- Say one short message at a time, in your own words, and only that: you are the user, never the assistant.
- Bring up what you want step by step. Tell what the assistant needs for the present step, in full.
- Know nothing but what is written above. Asked for more, say that you do not know.
- Where something must be decided or confirmed, decide as is written above. Never offer help.
- Once everything you want is done, say "{END}" and nothing else; not before."""
_OPENING = "Hello! What can I do for you?"


class User:
    """Answers for the user of a dialogue."""

    def __init__(self, player: Answerer, sampling: Sampling | None = None):
        """`sampling` is greedy with 1,000 tokens where none is given."""
        self._player = player
        self._sampling = sampling or Sampling(max_tokens=1000)

    async def reply(self, task_id: str, instruction: str, conversation: Sequence[Message]) -> str:
        """What the user says next; `END` is in it where the dialogue is over.

        Raises as the player does, RefusedError where it says nothing, UsageError where the conversation is
        too long for it.
        """
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": _RULES.format(instruction=instruction)},
            {"role": "user", "content": _OPENING},
        ]
        for message in conversation:
            said = message.get("content") or "(nothing)"
            if message["role"] == "user":
                messages.append({"role": "assistant", "content": said})
            elif message["role"] == "assistant" and not message.get("tool_calls"):
                messages.append({"role": "user", "content": said})
        task = Task(f"{task_id}:user", tuple(messages), (), None, "user")
        try:
            answer = await self._player.answer(task, self._sampling)
        except TooLongError as error:
            raise UsageError(f"the one who plays the user of {task_id!r}: {error}") from error
        # Without tools nobody has parted its thoughts from what it says.
        said = without_thoughts(answer.content or answer.final.text).strip()
        if not said:
            raise RefusedError(f"the one who plays the user of {task_id!r} said nothing")
        return said
