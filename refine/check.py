"""The check turn: what the model is asked of its own draft, and how its answer to that is read.

The check is one user turn appended to the ids before it. The model either stops, with the stop token where
one was trained, else with the stop text as its first word, or writes a whole new answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from strop.agent.answer import Draft
from strop.agent.chat import Ids, Template
from strop.agent.engines.base import FinishReason
from strop.tools.judge import validate_call
from strop.tools.spec import ToolSpec

STOP_TEXT = "DONE"
"""Default of `check_text`; a catalogue entry may name another word."""

_FIRST_WORD = re.compile(r"[^\w]*([\w-]+)")


def check_text(problems: Sequence[str], stop_text: str = STOP_TEXT) -> str:
    """The check turn's text. `problems` are sentences about the last draft; an answer known to have some is
    not offered the stop."""
    if problems:
        found = "".join(f"\n- {problem}" for problem in problems)
        return (
            f"Your answer has these problems:{found}\nReply with the whole corrected answer and nothing else."
        )
    # Short, because it is the part of a check that no cache holds.
    return f"Is this right? Reply {stop_text} or the corrected answer."


def check_ids(draft: Draft, template: Template, problems: Sequence[str], stop_text: str = STOP_TEXT) -> Ids:
    """The prompt of a check: everything so far, the draft closed where it was cut off, and the check turn."""
    closed = draft.token_ids[-1:] and draft.token_ids[-1] in template.end_ids
    end = () if closed else template.end_ids[:1]
    turn = template.next_turn_ids("user", check_text(problems, stop_text))
    return (*draft.prompt_ids, *draft.token_ids, *end, *turn)


def says_stop(text: str, stop_text: str = STOP_TEXT) -> bool:
    """Whether the reply to a check begins with the stop text: its first word, case and punctuation aside."""
    match = _FIRST_WORD.match(text)
    return match is not None and match[1].casefold() == stop_text.casefold()


def problems_of(draft: Draft, tools: Iterable[ToolSpec]) -> list[str]:
    """What can be said against a draft without knowing what is right; empty for a sound one."""
    if draft.finish_reason is not FinishReason.STOP:
        return ["It was cut off before its end."]
    if draft.problem:
        return [f"It cannot be read as a call: {draft.problem}"]
    offered = tuple(tools)
    return [problem for call in draft.calls for problem in validate_call(call, offered)]


def is_readable(draft: Draft) -> bool:
    """Whether a draft may be served: ended by itself, and read without a problem."""
    return draft.problem is None and draft.finish_reason is FinishReason.STOP
