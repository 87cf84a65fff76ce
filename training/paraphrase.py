"""The same tasks in other words: the policy rewrites a question, and what is no longer the task is refused.

A rewriting is kept only if it

1. is prose, and no copy of the question or of another rewriting (`LEAST_CHANGE`);
2. still states every gold value that the question stated (`strop.training.statements`), and no new figure;
3. is answered rightly by the policy, at least once in `samples`.

A policy that never answers the question itself rightly proves nothing by failing (3). Then, where all gold
values stand somewhere in the conversation so that (2) can be relied on, the policy is asked whether both ask
for the same thing, and has to say yes. Where the right answer is prose, (3) proves little (who never calls
passes it), so both are wanted; a question the policy never answers rightly there needs the yes alone.

Only the last turn of the user is rewritten. Tools, gold and all before stay as they are. Not covered: whether
the rewriting reads well, and whether anybody would ask that way.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rapidfuzz.distance import Levenshtein

from strop.agent.answer import Draft
from strop.agent.engines.base import FinishReason, Sampling
from strop.agent.policy import Policy
from strop.tools.bounds import require
from strop.tools.errors import TooLongError, UsageError
from strop.tools.judge import judge
from strop.tools.task import Message, Task
from strop.training.statements import added_numbers, is_stated, lost, stated_values, text_of

LEAST_CHANGE = 0.15
"""Edit distance over the longer text's length, letters' case and spaces aside, below which one is a copy."""

_REWRITE = (
    "Put the request below into other words, as a different person would say it. Keep what it asks for. "
    "Repeat all names, numbers, dates, codes and quoted texts exactly. Do not answer it, leave nothing out "
    "and add nothing. Write the new request only.\n\n{question}"
)
_COMPARE = (
    "Here are two requests.\n\nFirst: {before}\n\nSecond: {after}\n\n"
    "Would somebody who does exactly what the first says have done exactly what the second says, with the "
    "same details? Answer yes or no."
)


class Fate(StrEnum):
    """What became of a rewriting."""

    ANSWERED = "answered"
    """Kept: the policy answers it rightly."""
    AGREED = "agreed"
    """Kept: the policy says that it asks for the same; see the module for when that is enough."""
    NO_TEXT = "no text"
    """Nothing was written, or a call was, or it was cut off."""
    COPY = "copy"
    """Too near to the question or an earlier rewriting."""
    VALUE_LOST = "value lost"
    """A gold value is no longer stated."""
    NUMBER_ADDED = "number added"
    """It has a figure that the question has not."""
    OTHERWISE = "answered otherwise"
    """The policy answers the question rightly, and never this."""
    NOT_SAME = "not the same"
    """The policy does not say that it asks for the same."""
    UNCHECKED = "unchecked"
    """Never answered rightly, and a gold value cannot be found in the question, so that nothing vouches."""
    NO_ROOM = "no room"
    """The task does not fit the model's context; nothing was written."""
    NO_QUESTION = "no question"
    """The task's last turn is not the user's, or has no text; nobody was asked for anything."""


KEPT = frozenset({Fate.ANSWERED, Fate.AGREED})


@dataclass(frozen=True, slots=True)
class Rewriting:
    """One rewriting of a task's question."""

    text: str
    fate: Fate


@dataclass(frozen=True, slots=True)
class ParaphraseConfig:
    """How questions are rewritten and checked."""

    rewritings: int = 4
    """Written for every task; ≥ 1."""
    samples: int = 3
    """Answers to a rewriting (and, where needed, to the question), of which one must be right; ≥ 1."""
    temperature: float = 0.8
    """Of rewritings and answers; > 0."""
    max_tokens: int = 256
    """Most ids of a rewriting or an answer."""
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            (
                ("rewritings", self.rewritings >= 1, "at least 1"),
                ("samples", self.samples >= 1, "at least 1"),
                ("temperature", self.temperature > 0, "above 0"),
                ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ),
        )


async def paraphrase(task: Task, policy: Policy, config: ParaphraseConfig) -> tuple[Rewriting, ...]:
    """All rewritings of a task's last turn, in the order they were written, with what became of each.

    Raises UsageError where the task cannot be asked, EngineError where the engine fails.
    """
    if not has_question(task):
        return (Rewriting("", Fate.NO_QUESTION),)
    try:
        return await _Checking(task, policy, config).rewritings()
    except TooLongError:
        return (Rewriting("", Fate.NO_ROOM),)
    except UsageError as error:
        raise UsageError(f"task {task.id!r} cannot be asked: {error}") from error


def has_question(task: Task) -> bool:
    """Whether the last turn is the user's and says something: that is what can be reworded."""
    return task.messages[-1]["role"] == "user" and bool(question_of(task).strip())


def question_of(task: Task) -> str:
    """The last turn's text."""
    content = task.messages[-1].get("content")
    return content if isinstance(content, str) else "".join(part["text"] for part in content or ())


def reworded(task: Task, text: str) -> Task:
    """The task with another last turn."""
    last: Message = {**task.messages[-1], "content": text}
    return replace(task, messages=(*task.messages[:-1], last))


def problem_with(task: Task, text: str, others: Sequence[str]) -> Fate | None:
    """Why a rewriting can be refused without asking anybody; `others` were written before it. Pure."""
    question = question_of(task)
    if not text:
        return Fate.NO_TEXT
    if any(_distance(text, other) < LEAST_CHANGE for other in (question, *others)):
        return Fate.COPY
    if lost(stated_values(task), question, text):
        return Fate.VALUE_LOST
    return Fate.NUMBER_ADDED if added_numbers(question, text) else None


def _distance(one: str, other: str) -> float:
    one, other = " ".join(one.lower().split()), " ".join(other.lower().split())
    return Levenshtein.normalized_distance(one, other)


class _Checking:
    """The checks of one task's rewritings; what is known of the task itself is found out once."""

    def __init__(self, task: Task, policy: Policy, config: ParaphraseConfig):
        self._task = task
        self._policy = policy
        self._config = config
        self._solved: bool | None = None

    async def rewritings(self) -> tuple[Rewriting, ...]:
        done: list[Rewriting] = []
        for text in await self._written():
            fate = problem_with(self._task, text, [one.text for one in done if one.fate in KEPT])
            done.append(Rewriting(text, fate or await self._fate(text)))
        return tuple(done)

    async def _written(self) -> list[str]:
        """Texts; empty for what is none."""
        content = _REWRITE.format(question=question_of(self._task))
        sampling = self._sampling("rewrite", self._config.rewritings)
        return [_prose(draft) for draft in await self._policy.sample(_plain(self._task, content), sampling)]

    async def _fate(self, text: str) -> Fate:
        is_right = await self._answers(reworded(self._task, text), text)
        if is_right and self._has_calls:
            return Fate.ANSWERED
        if not is_right and await self._is_solved():
            return Fate.OTHERWISE
        if not is_right and self._is_unchecked:
            return Fate.UNCHECKED
        return Fate.AGREED if await self._agrees(text) else Fate.NOT_SAME

    async def _answers(self, task: Task, what: str) -> bool:
        """Whether one of the samples is right."""
        drafts = await self._policy.sample(task, self._sampling(what, self._config.samples))
        return any(judge(draft.calls, draft.problem, self._task).correct for draft in drafts)

    async def _is_solved(self) -> bool:
        if self._solved is None:
            self._solved = await self._answers(self._task, "question")
        return self._solved

    async def _agrees(self, text: str) -> bool:
        content = _COMPARE.format(before=question_of(self._task), after=text)
        answer = await self._policy.answer(_plain(self._task, content), Sampling(max_tokens=8))
        return (answer.content or "").strip().lower().startswith("yes")

    @property
    def _has_calls(self) -> bool:
        return bool(self._task.gold and self._task.gold.calls)

    @property
    def _is_unchecked(self) -> bool:
        said = text_of(self._task.messages)
        return not all(is_stated(value, said) for value in stated_values(self._task))

    def _sampling(self, what: str, n: int) -> Sampling:
        seed = zlib.crc32(f"{self._config.seed}/{self._task.id}/{what}".encode(errors="surrogatepass")) >> 1
        return Sampling(self._config.max_tokens, self._config.temperature, n=n, seed=seed)


def _plain(task: Task, content: str) -> Task:
    """A question of ours, without tools."""
    return Task(task.id, ({"role": "user", "content": content},), ())


def _prose(draft: Draft) -> str:
    """A rewriting as it was written, without quotation marks around all of it; empty for what is none."""
    if draft.calls or draft.problem or draft.finish_reason != FinishReason.STOP:
        return ""
    text = (draft.content or "").strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
    return text[1:-1].strip() if is_quoted else text
