"""Plays episodes: the loop in which a model's calls are made and their results shown to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strop.agent.answer import Answer, Answerer, Usage
from strop.agent.engines.base import Sampling
from strop.agent.user import User
from strop.tools.episode import END, Dialogue, Episode, Turn, is_dialogue
from strop.tools.errors import StepLimitError, TooLongError, UsageError
from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.task import Message, Task


@dataclass(frozen=True, slots=True)
class Step:
    """One answer within a turn."""

    answer: Answer
    results: tuple[str, ...]
    """Of its calls, in order; empty for the answer that ends the turn."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """An episode as it was played."""

    asked: tuple[tuple[Message, ...], ...]
    """What was said before the model answered, by turn."""
    turns: tuple[tuple[Step, ...], ...]
    """Of the turns that were begun."""
    problem: str | None = None
    """Why it was broken off; None where it was played to its end."""
    too_long: bool = False
    """Whether the conversation no longer fitted the model's context."""
    cut_off: bool = False
    """Whether a step ran into the limits of its world. Too many steps are for the judge to judge."""

    @property
    def steps(self) -> list[Step]:
        return [step for turn in self.turns for step in turn]

    @property
    def usage(self) -> Usage:
        """Of all answers together."""
        return sum((step.answer.usage for step in self.steps), Usage())

    @property
    def said(self) -> str | None:
        """The prose after the last call."""
        last = self.steps[-1].answer if self.steps else None
        return None if last is None or last.calls else last.content

    @property
    def calls(self) -> list[list[Sequence[ToolCall]]]:
        """What the episode's judge takes."""
        return [[step.answer.calls for step in turn] for turn in self.turns]


async def play(
    episode: Episode, answerer: Answerer, sampling: Sampling, run: str = "0", user: User | None = None
) -> Trajectory:
    """Play `episode` to its end, or to where it is broken off. `run` tells worlds of one episode apart.

    Every answer is asked for with all that came before, so that an engine's prefix cache serves it. Raises
    what the answerer and the `user` raise, but for a conversation grown too long, which ends the episode;
    UsageError where a dialogue needs a user and there is none.
    """
    asked: list[tuple[Message, ...]] = []
    played: list[tuple[Step, ...]] = []
    conversation: list[Message] = []

    def trajectory(
        problem: str | None = None, *, too_long: bool = False, cut_off: bool = False
    ) -> Trajectory:
        return Trajectory(tuple(asked), tuple(played), problem, too_long, cut_off)

    try:
        async for turn in _turns(episode, conversation, user):
            conversation += turn.messages
            steps: list[Step] = []
            asked.append(turn.messages)
            played.append(())
            for _ in range(episode.most_steps):
                task = replace(episode.task, messages=tuple(conversation), tools=turn.tools, gold=None)
                steps.append(await _step(episode, task, answerer, sampling, run))
                played[-1] = tuple(steps)
                conversation += messages_of(steps[-1], len(conversation))
                if not steps[-1].answer.calls or _is_full(episode, conversation):
                    break
            else:
                return trajectory(f"still calling after {len(steps)} steps in a turn")
    except TooLongError as error:
        return trajectory(str(error), too_long=True)
    except StepLimitError as error:
        return trajectory(str(error), cut_off=True)
    finally:
        await asyncio.to_thread(episode.close, run)
    return trajectory()


async def _turns(episode: Episode, conversation: Sequence[Message], user: User | None) -> AsyncIterator[Turn]:
    """The episode's own, then those of a dialogue, which see what was said until then."""
    for turn in episode.turns:
        yield turn
    if not is_dialogue(episode):
        return
    opening = tuple(episode.task.messages) if not episode.turns else ()
    while not _is_full(episode, conversation) and not (conversation and _ends(conversation[-1])):
        said = await _reply(episode, conversation, user)
        if said is None:
            return
        yield Turn((*opening, {"role": "user", "content": said}), episode.tools)
        opening = ()


async def _reply(dialogue: Dialogue, conversation: Sequence[Message], user: User | None) -> str | None:
    """What the model is told next; None where the user has ended it."""
    if dialogue.instruction is None:
        return dialogue.reply
    if user is None:
        raise UsageError("a model must play its user (--user-endpoint and --user-model)")
    said = await user.reply(dialogue.task.id, dialogue.instruction, conversation)
    # Nobody ends a dialogue before it begins.
    return None if END in said and conversation else said


def _is_full(episode: Episode, conversation: Sequence[Message]) -> bool:
    """Whether a dialogue has as many messages as it may, results counted one a step."""
    if not is_dialogue(episode):
        return False
    said = sum(message["role"] in ("user", "assistant") for message in conversation)
    results = sum(bool(message.get("tool_calls")) for message in conversation)
    return said + results >= episode.most_messages


def _ends(message: Message) -> bool:
    return message["role"] == "assistant" and END in str(message.get("content"))


async def _step(episode: Episode, task: Task, answerer: Answerer, sampling: Sampling, run: str) -> Step:
    answer = await answerer.answer(task, sampling)
    if not answer.calls:
        return Step(answer, ())
    # In a thread: a step may take as long as its limits allow, and others play meanwhile.
    return Step(answer, tuple(await asyncio.to_thread(episode.step, run, answer.calls)))


def messages_of(step: Step, position: int) -> list[dict[str, Any]]:
    """A step as messages: the assistant's, and one for each result. `position` makes the call ids unique."""
    calls = step.answer.calls
    if not calls:
        return [{"role": "assistant", "content": step.answer.content or ""}]
    ids = [f"call_{position}_{number}" for number in range(len(calls))]
    made = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": json_text(dict(call.arguments))},
        }
        for call_id, call in zip(ids, calls, strict=True)
    ]
    results = [
        {"role": "tool", "tool_call_id": call_id, "name": call.name, "content": result}
        for call_id, call, result in zip(ids, calls, step.results, strict=True)
    ]
    return [{"role": "assistant", "content": step.answer.content, "tool_calls": made}, *results]
