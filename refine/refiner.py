"""Adaptive self-refinement at inference: draft, check, then the stop or a better draft.

After ToolACE-R (arXiv 2504.01400), which refines until two consecutive outputs agree, with three more ways
to end: the model says itself that it is done, a draft repeats an older one, a budget is used up. Every
prompt is the one before it plus appended ids, so the prefix cache serves all but the last draft and check.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from strop.agent.answer import Answer, Draft, StopReason, Usage
from strop.agent.engines.base import FinishReason, Sampling
from strop.agent.policy import Policy, usage_of
from strop.refine.check import (
    ADAPTIVE,
    STOP_TEXT,
    RefineSetting,
    check_text,
    is_readable,
    problems_of,
    says_stop,
)
from strop.tools.canonical import canonical
from strop.tools.task import Task


class Refiner:
    """An `Answerer` that has a policy check its own drafts.

    Which draft is settled on: the last readable one, where the model stops or a budget ends; the earlier of
    two equal drafts; in a cycle the draft that was repeated, which is the one seen first. An unreadable
    draft never replaces a readable one; its problem is named in the next check. A reply that ends with the
    stop token but has text before it is a last draft; an empty reply is a stop.
    """

    def __init__(
        self,
        policy: Policy,
        setting: RefineSetting = ADAPTIVE,
        *,
        stop_token_id: int | None = None,
        stop_text: str = STOP_TEXT,
        token_budget: int | None = None,
        name: str | None = None,
    ):
        """`stop_token_id` is the token a checkpoint or adapter was trained to stop with, if any; `stop_text`
        the word others are asked for; `token_budget` bounds the ids generated for one answer, all drafts
        together: no check is asked once it is reached.
        """
        self.policy = policy
        self.setting = setting
        self.stop_token_id = stop_token_id
        self.stop_text = stop_text
        self.token_budget = token_budget
        self._name = name or policy.name

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        """Raises EngineError where the engine fails, UsageError where the task does not fit the context."""
        first = await self.policy.answer(task, sampling)
        if not self.setting.rounds:
            return first
        talk = _Talk(first.final, first.usage)
        while (reason := self._stop_reason(talk)) is None:
            await self._check(talk, task, sampling)
        return Answer(talk.kept(reason), talk.usage, tuple(talk.drafts), talk.rounds, reason)

    async def _check(self, talk: _Talk, task: Task, sampling: Sampling) -> None:
        """Ask one check turn and note the reply."""
        prompt_ids = self._next_prompt(talk, task)
        if len(prompt_ids) >= self.policy.engine.info.context_length:
            talk.exhausted = True
            return
        stops = sampling.stop_token_ids
        if self.stop_token_id is not None:
            stops = (*stops, self.stop_token_id)
        completions = await self.policy.complete(prompt_ids, replace(sampling, stop_token_ids=stops))
        talk.rounds += 1
        talk.usage += usage_of(prompt_ids, completions)
        ids = completions[0].token_ids
        draft_ids = ids[:-1] if self._is_stop(ids[-1:]) else ids
        reply = self.policy.draft_of(prompt_ids, replace(completions[0], token_ids=draft_ids), task.tools)
        talk.stopped = draft_ids != ids or self._stops(reply)
        if not self._stops(reply):
            talk.drafts.append(reply)

    def _next_prompt(self, talk: _Talk, task: Task) -> tuple[int, ...]:
        """Everything so far, the last draft closed where it was cut off, and the check turn."""
        last, template = talk.drafts[-1], self.policy.template
        closed = last.token_ids[-1:] and last.token_ids[-1] in template.end_ids
        end = () if closed else template.end_ids[:1]
        check = check_text(problems_of(last, task.tools), self.stop_text)
        return (*last.prompt_ids, *last.token_ids, *end, *template.next_turn_ids("user", check))

    def _is_stop(self, ids: tuple[int, ...]) -> bool:
        return self.stop_token_id is not None and ids == (self.stop_token_id,)

    def _stops(self, reply: Draft) -> bool:
        """Nothing, or the stop text, instead of a new draft; ``[done(id=2)]`` is a call."""
        return not reply.text.strip() or (not reply.calls and says_stop(reply.text, self.stop_text))

    def _stop_reason(self, talk: _Talk) -> StopReason | None:
        if talk.stopped:
            return StopReason.STOP_TOKEN
        if self.setting.adaptive and (agreement := talk.agreement()):
            return agreement
        spent = self.token_budget is not None and talk.usage.completion_tokens >= self.token_budget
        cut_off = talk.drafts[-1].finish_reason is FinishReason.ABORT
        over = talk.rounds >= self.setting.rounds or spent or cut_off or talk.exhausted
        return StopReason.BUDGET if over else None


@dataclass(slots=True)
class _Talk:
    """One refinement as it goes."""

    first: Draft
    usage: Usage
    drafts: list[Draft] = field(init=False)
    rounds: int = 0
    stopped: bool = False
    """The model said it is done."""
    exhausted: bool = False
    """The context has no room for another check."""

    def __post_init__(self) -> None:
        self.drafts = [self.first]

    def agreement(self) -> StopReason | None:
        """Whether the last draft repeats the one before it, or an older one."""
        *earlier, last = (_meaning(draft) for draft in self.drafts)
        if last not in earlier:
            return None
        return StopReason.EQUAL if earlier[-1] == last else StopReason.CYCLE

    def kept(self, reason: StopReason) -> Draft:
        """The draft to settle on: see `Refiner`."""
        readable = [draft for draft in self.drafts if is_readable(draft)]
        if not readable:
            return self.drafts[-1]
        if reason in (StopReason.EQUAL, StopReason.CYCLE) and is_readable(self.drafts[-1]):
            last = _meaning(self.drafts[-1])
            return next(draft for draft in readable if _meaning(draft) == last)
        return readable[-1]


def _meaning(draft: Draft) -> str:
    """Equal for drafts that say the same: canonical calls; all readable prose alike; else the text itself."""
    return canonical(draft.calls) if is_readable(draft) else f"unreadable: {draft.text}"
