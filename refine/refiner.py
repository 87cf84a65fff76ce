"""Adaptive self-refinement at inference: draft, check, then the stop or a better draft.

After ToolACE-R (arXiv 2504.01400), which refines until two consecutive outputs agree, with more ways to end:
the model says itself that it is done, or is likely to, or was sure of its draft before any check; a draft
repeats an older one; a budget is used up. Every prompt is the one before it plus appended ids, so the prefix
cache serves all but the last draft and check.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from strop.agent.answer import NOTHING, Answer, Draft, StopReason, Usage
from strop.agent.chat import Ids
from strop.agent.engines.base import Completion, FinishReason, Sampling
from strop.agent.policy import Policy, usage_of
from strop.agent.refinement import ADAPTIVE, RefineSetting
from strop.refine.assurance import Gate
from strop.refine.check import STOP_TEXT, check_ids, is_readable, problems_of, says_stop
from strop.tools.canonical import canonical
from strop.tools.formats.thoughts import without_thoughts
from strop.tools.structure import or_text
from strop.tools.task import Task

STOP_THRESHOLD = 0.5
"""Stopping is likelier than everything else together."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """When refinement ends, besides what `RefineSetting` says."""

    token_id: int | None = None
    """The token a checkpoint or adapter was trained to stop with, if any."""
    text: str = STOP_TEXT
    """The word others are asked for."""
    threshold: float = STOP_THRESHOLD
    """Probability of the stop token at the first step of a check from which on nothing more is decoded. Where
    there is no token but the stop text is one id, that id counts. Above 1: only what is written counts."""
    gate: Gate | None = None
    """Skips the checks of drafts that were sure of themselves, under an adaptive setting."""
    token_budget: int | None = None
    """Bounds the ids generated for one answer, all drafts together: no check is asked once it is reached."""
    seconds: float | None = None
    """Time for one answer: a check that is not answered by then is dropped, and none is asked after it."""


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
        stopping: Stopping = Stopping(),  # frozen
        *,
        name: str | None = None,
    ):
        self.policy = policy
        self.setting = setting
        self.stopping = stopping
        self._name = name or policy.name

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        """Raises EngineError where the engine fails, UsageError where the task does not fit the context."""
        began = asyncio.get_running_loop().time()
        gate, seconds = self.stopping.gate if self.setting.adaptive else None, self.stopping.seconds
        first = await self.policy.answer(
            task, replace(sampling, logprobs=sampling.logprobs or gate is not None)
        )
        if not self.setting.rounds:
            return first
        if gate and gate.opens(first.final) and not problems_of(first.final, task.tools):
            return replace(first, stop_reason=StopReason.GATE)
        talk = _Talk(first.final)
        try:
            async with asyncio.timeout_at(None if seconds is None else began + seconds):
                while (reason := self._stop_reason(talk)) is None:
                    await self._check(talk, task, sampling)
        except TimeoutError:
            reason = StopReason.DEADLINE
        return Answer(
            talk.kept(reason),
            first.usage + talk.usage,
            tuple(talk.drafts),
            talk.rounds,
            reason,
            talk.p_stop,
            talk.usage,
        )

    async def _check(self, talk: _Talk, task: Task, sampling: Sampling) -> None:
        """Ask one check turn and note the reply."""
        problems = problems_of(talk.drafts[-1], task.tools)
        prompt_ids = check_ids(talk.drafts[-1], self.policy.template, problems, self.stopping.text)
        if len(prompt_ids) >= self.policy.engine.info.context_length:
            talk.exhausted = True
            return
        talk.rounds += 1
        asked = self._asked(sampling, may_stop=not problems)
        completion = await self._reply(prompt_ids, asked)
        talk.usage += usage_of(prompt_ids, [completion])
        ids = completion.token_ids
        draft_ids = ids[:-1] if self._is_stop(ids[-1:]) else ids
        if completion.watched:
            talk.p_stop = math.exp(completion.watched[0])
            talk.likely = draft_ids == ids and talk.p_stop >= self.stopping.threshold
        if talk.likely:
            return
        reply = self.policy.draft_of(prompt_ids, replace(completion, token_ids=draft_ids), task.tools)
        talk.stopped = draft_ids != ids or self._stops(reply)
        if not self._stops(reply):
            talk.drafts.append(reply)

    def _asked(self, sampling: Sampling, *, may_stop: bool) -> Sampling:
        """How the reply to a check is sampled; a check that names problems offers no stop."""
        token, structure = self.stopping.token_id, sampling.structure
        watched = self._watched_id() if may_stop else None
        if structure is not None and may_stop and token is None:
            structure = or_text(structure, self.stopping.text)
        return replace(
            sampling,
            stop_token_ids=(*sampling.stop_token_ids, *(() if token is None else (token,))),
            watch=() if watched is None else (watched,),
            structure=structure,
        )

    def _watched_id(self) -> int | None:
        if self.stopping.token_id is not None:
            return self.stopping.token_id
        ids = self.policy.template.encode(self.stopping.text)
        return ids[0] if len(ids) == 1 else None

    async def _reply(self, prompt_ids: Ids, sampling: Sampling) -> Completion:
        """The reply to a check: whole, or its first id where that settles it."""
        if sampling.logprobs or not sampling.watch:  # streams carry none
            return (await self.policy.complete(prompt_ids, sampling))[0]
        ids: list[int] = []
        reason, cached, watched = FinishReason.ABORT, 0, None
        async with aclosing(self.policy.stream(prompt_ids, sampling)) as chunks:
            async for chunk in chunks:
                ids += chunk.token_ids
                reason, cached = chunk.finish_reason or reason, chunk.cached_tokens
                watched = watched or chunk.watched
                if watched and math.exp(watched[0]) >= self.stopping.threshold:
                    break
        return Completion(tuple(ids), reason, None, cached, watched=watched)

    def _is_stop(self, ids: Ids) -> bool:
        return self.stopping.token_id is not None and ids == (self.stopping.token_id,)

    def _stops(self, reply: Draft) -> bool:
        """Nothing, or the stop text, after its thoughts and instead of a new draft; ``[done(id=2)]`` is a
        call."""
        if reply.calls:
            return False
        said = without_thoughts(reply.text, opened=reply.opened)
        return not said.strip() or says_stop(said, self.stopping.text)

    def _stop_reason(self, talk: _Talk) -> StopReason | None:
        if talk.stopped or talk.likely:
            return StopReason.STOP_TOKEN if talk.stopped else StopReason.P_STOP
        if self.setting.adaptive and (agreement := talk.agreement()):
            return agreement
        written = sum(len(draft.token_ids) for draft in talk.drafts)
        spent = self.stopping.token_budget is not None and written >= self.stopping.token_budget
        cut_off = talk.drafts[-1].finish_reason is FinishReason.ABORT
        over = talk.rounds >= self.setting.rounds or spent or cut_off or talk.exhausted
        return StopReason.BUDGET if over else None


@dataclass(slots=True)
class _Talk:
    """One refinement as it goes."""

    first: Draft
    usage: Usage = NOTHING
    """Of the checks."""
    drafts: list[Draft] = field(init=False)
    rounds: int = 0
    stopped: bool = False
    """The model said it is done."""
    likely: bool = False
    """It was likely to say so."""
    p_stop: float | None = None
    """How likely, at the last check that could be answered with it."""
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
