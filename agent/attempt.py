"""One attempt at a case: it is asked, its answer is judged, and both become a row."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from strop.agent.answer import Answer, Answerer, Draft, Usage
from strop.agent.engines.base import Sampling
from strop.agent.episodes import Step, Trajectory, play
from strop.agent.rows import CONTENT, JUDGED, PROSE, REFUSED, TEXT, TOO_LONG
from strop.agent.user import User
from strop.tools.episode import Episode, Sequel, is_episode, is_sequel
from strop.tools.errors import StepLimitError, TooLongError, UsageError
from strop.tools.formats.thoughts import without_thoughts
from strop.tools.suite import AnyCase, Case, is_spoken, is_text_case
from strop.tools.verdict import ErrorKind, Verdict

_NO_ANSWER = Answer(Draft((), (), "", (), None), Usage())


async def answered(
    case: AnyCase,
    answerer: Answerer,
    sampling: Sampling,
    sample: int,
    begin: Callable[[Sequel, int], Awaitable[Episode]],
    user: User | None = None,
) -> dict[str, Any]:
    """The row of one case, asked now; `begin` makes episodes of sequels.

    Raises what the answerer, the `user` and `begin` raise, but for a task too long for the answerer.
    """
    began = time.monotonic()
    try:
        if is_sequel(case):
            row = await _gone_on(case, answerer, sampling, sample, begin)
        elif is_episode(case):
            row = _row(case, await play(case, answerer, sampling, str(sample), user))
        else:
            row = await _asked(case, answerer, sampling)
    except UsageError as error:
        raise UsageError(f"task {case.task.id!r} cannot be asked: {error}") from error
    kept = {"category": case.task.category, "id": case.task.id, "sample": sample, **row}
    return {"seconds": _since(began)} | kept


def refused(case: AnyCase, sample: int, reason: str) -> dict[str, Any]:
    """The row of a case that cannot be asked: wrong, whatever is right."""
    played = is_episode(case) or is_sequel(case)
    told = _trajectory(Trajectory((), ())) if played else _answer(_NO_ANSWER)
    kept = {"category": case.task.category, "id": case.task.id, "sample": sample, **told}
    return {"seconds": 0.0} | kept | {"correct": False, "error": REFUSED, "detail": reason}


async def _asked(case: Case, answerer: Answerer, sampling: Sampling) -> dict[str, Any]:
    try:
        answer = await answerer.answer(case.task, sampling)
    except TooLongError as error:
        return _answer(_NO_ANSWER) | _too_long(str(error))
    if is_text_case(case):
        text = without_thoughts(answer.final.text, opened=answer.final.opened)
        return _answer(answer) | {"text": text, JUDGED: TEXT} | case.score_text(text).to_json()
    judged = {JUDGED: CONTENT} if is_spoken(case) else {}
    return _answer(answer) | judged | case.score(answer.calls, answer.content, answer.final.problem).to_json()


async def _gone_on(
    case: Sequel,
    answerer: Answerer,
    sampling: Sampling,
    sample: int,
    begin: Callable[[Sequel, int], Awaitable[Episode]],
) -> dict[str, Any]:
    try:
        episode = await begin(case, sample)
    except StepLimitError as error:
        return _row(case, Trajectory((), (), str(error), cut_off=True))
    # Waiting for conversations is no part of the answer's latency.
    began = time.monotonic()
    played = await play(episode, answerer, sampling, str(sample))
    return _row(episode, played) | {JUDGED: PROSE, "seconds": _since(began)}


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _row(episode: Episode | Sequel, played: Trajectory) -> dict[str, Any]:
    if played.too_long:
        judged = _too_long(played.problem or "")
    elif played.cut_off:
        judged = Verdict.wrong(ErrorKind.UNFINISHED, played.problem or "").to_json()
    else:
        judged = episode.score(played.calls, played.said).to_json()
    return _trajectory(played) | judged


def _too_long(detail: str) -> dict[str, Any]:
    return {"correct": False, "error": TOO_LONG, "detail": detail}


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "calls": [call.to_json() for call in answer.calls],
        "content": answer.content,
        "refine": {"rounds": answer.rounds, "stop_reason": answer.stop_reason},
        "usage": asdict(answer.usage),
        "text": answer.final.text,
        "repairs": list(answer.final.repairs),
    }


def _trajectory(played: Trajectory) -> dict[str, Any]:
    return {
        **turns_of(played),
        "refine": {"rounds": sum(step.answer.rounds for step in played.steps), "stop_reason": None},
        "usage": asdict(played.usage),
    }


def turns_of(played: Trajectory) -> dict[str, Any]:
    """What was asked in each turn, and its steps, as rows hold them."""
    return {
        "asked": [[dict(message) for message in messages] for messages in played.asked],
        "turns": [[_step(step) for step in turn] for turn in played.turns],
    }


def _step(step: Step) -> dict[str, Any]:
    answer = step.answer
    return {
        "calls": [call.to_json() for call in answer.calls],
        "content": answer.content,
        "text": answer.final.text,
        "results": list(step.results),
    }
