"""The refiner stops for every reason it has, keeps the right draft, and only ever appends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.answer import MAX_ROUNDS, Answer, StopReason
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import STOP_ID, ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.refine.check import ADAPTIVE, OFF, RefineSetting, check_text, parse_refine, says_stop
from strop.refine.refiner import Refiner
from strop.tools.errors import UsageError
from tests.refine.worlds import PARIS, ROME, SIMPLE, call, fenced

A, B = fenced(PARIS), fenced(ROME)
C, D, E = (fenced(call("get_time", city=city)) for city in ("Oslo", "Bonn", "Kiel"))
BROKEN = '```json\n{"name": "get_weather", "arguments": {"city": \n```'
PROSE = "No tool fits."


class Reciter:
    """A script that gives its lines one after the other."""

    def __init__(self, lines: Sequence[str]):
        self.lines = list(lines)

    def __call__(self, _prompt_ids: tuple[int, ...]) -> str:
        return self.lines.pop(0)


def world(*lines: str, context_length: int = 65536) -> tuple[Policy, ScriptedEngine]:
    engine = ScriptedEngine(Reciter(lines), context_length=context_length)
    return Policy(engine, ScriptedTemplate()), engine


async def refined(*lines: str, setting: RefineSetting = ADAPTIVE, stop_token_id: int | None = None) -> Answer:
    policy, _ = world(*lines)
    return await Refiner(policy, setting, stop_token_id=stop_token_id).answer(
        SIMPLE, Sampling(max_tokens=500)
    )


@pytest.mark.parametrize(
    ("lines", "reason", "rounds", "kept"),
    [
        pytest.param([A, "DONE"], StopReason.STOP_TOKEN, 1, A, id="done"),
        pytest.param([A, " **Done.** All is right."], StopReason.STOP_TOKEN, 1, A, id="done, at length"),
        pytest.param([A, "<|end|>"], StopReason.STOP_TOKEN, 1, A, id="nothing more to say"),
        pytest.param([A, B, "DONE"], StopReason.STOP_TOKEN, 2, B, id="better, then done"),
        pytest.param([A, A], StopReason.EQUAL, 1, A, id="the same again"),
        pytest.param([A, B, C, D, E], StopReason.BUDGET, 4, E, id="budget"),
        pytest.param([A, B, C, A], StopReason.CYCLE, 3, A, id="back to the first"),
        pytest.param([A, B, C, B], StopReason.CYCLE, 3, B, id="back to the second"),
        pytest.param([A, BROKEN, "DONE"], StopReason.STOP_TOKEN, 2, A, id="a broken draft replaces nothing"),
        pytest.param([BROKEN, A, "DONE"], StopReason.STOP_TOKEN, 2, A, id="a broken draft is replaced"),
        pytest.param([BROKEN, "DONE"], StopReason.STOP_TOKEN, 1, BROKEN, id="nothing readable"),
        pytest.param([A, PROSE, "Really, none fits."], StopReason.EQUAL, 2, PROSE, id="no call, twice"),
    ],
)
async def test_stops(lines: list[str], reason: StopReason, rounds: int, kept: str) -> None:
    answer = await refined(*lines)
    assert (answer.stop_reason, answer.rounds) == (reason, rounds)
    assert answer.final.text == kept
    assert answer.final in answer.drafts


async def test_a_call_that_begins_with_the_stop_text_is_a_draft() -> None:
    first, second = "[done(id=1)]", "[done(id=2)]"
    policy = Policy(ScriptedEngine(Reciter([first, second, "DONE"])), ScriptedTemplate("pythonic"))
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500))
    assert [draft.text for draft in answer.drafts] == [first, second]
    assert answer.stop_reason is StopReason.STOP_TOKEN


async def test_equal_calls_written_differently_are_equal_and_the_earlier_is_kept() -> None:
    compact = '{"arguments": {"days": 3, "city": "Paris"}, "name": "get_weather"}'
    answer = await refined(A, compact)
    assert answer.stop_reason is StopReason.EQUAL
    assert answer.final.text == A
    assert [draft.text for draft in answer.drafts] == [A, compact]


async def test_off_asks_nothing() -> None:
    answer = await refined(A, setting=OFF)
    assert (answer.stop_reason, answer.rounds, len(answer.drafts)) == (StopReason.OFF, 0, 1)


async def test_a_number_of_rounds_is_not_cut_short_by_agreement() -> None:
    answer = await refined(A, A, A, A, setting=RefineSetting(3, adaptive=False))
    assert (answer.stop_reason, answer.rounds) == (StopReason.BUDGET, 3)


async def test_the_stop_token_costs_one_id() -> None:
    answer = await refined(A, "<|stop|>", stop_token_id=STOP_ID)
    assert (answer.stop_reason, answer.rounds) == (StopReason.STOP_TOKEN, 1)
    assert answer.usage.completion_tokens == len(answer.final.token_ids) + 1


async def test_a_draft_that_ends_with_the_stop_token_is_the_last_one() -> None:
    answer = await refined(A, f"{B}<|stop|>", stop_token_id=STOP_ID)
    assert answer.stop_reason is StopReason.STOP_TOKEN
    assert answer.final.text == B


async def test_the_context_is_a_budget() -> None:
    policy, engine = world(A, B)
    room = len(policy.prompt_ids(SIMPLE)) + len(A) + 50
    policy, engine = world(A, B, context_length=room)
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500))
    assert (answer.stop_reason, answer.rounds, len(engine.requests)) == (StopReason.BUDGET, 0, 1)


async def test_tokens_are_a_budget() -> None:
    policy, engine = world(A, B, C)
    answer = await Refiner(policy, token_budget=len(A) + 2).answer(SIMPLE, Sampling(max_tokens=500))
    assert (answer.stop_reason, answer.rounds, answer.final.text) == (StopReason.BUDGET, 1, B)
    assert len(engine.requests) == 2


async def test_a_cut_off_draft_is_closed_and_asked_about() -> None:
    policy, engine = world(A, A, "DONE")
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=len(A) - 10))
    assert answer.stop_reason is StopReason.EQUAL
    assert "cut off" in last_turn(engine.requests[1].prompt_ids)


async def test_problems_of_a_draft_are_named_in_the_check() -> None:
    policy, engine = world(fenced(call("get_weather", town="Paris", days="three")), BROKEN, "DONE")
    await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500))
    checks = [last_turn(request.prompt_ids) for request in engine.requests[1:]]
    assert "city" in checks[0]
    assert "days" in checks[0]
    assert "cannot be read" in checks[1]


@settings(deadline=None)
@given(st.lists(st.sampled_from([A, B, C, BROKEN, PROSE, "DONE"]), min_size=8, max_size=8), st.booleans())
async def test_every_prompt_extends_the_one_before_by_what_was_written(
    lines: list[str], adaptive: bool
) -> None:
    policy, engine = world(*lines)
    setting = RefineSetting(5, adaptive=adaptive)
    answer = await Refiner(policy, setting).answer(SIMPLE, Sampling(max_tokens=500))
    requests = engine.requests
    for line, (before, after) in zip(lines, pairwise(requests), strict=False):
        written = before.prompt_ids + policy.template.answer_ids(line)
        assert after.prompt_ids[: len(written)] == written
        assert len(after.prompt_ids) > len(written)
    assert answer.usage.prompt_tokens == sum(len(request.prompt_ids) for request in requests)
    assert answer.usage.completion_tokens == sum(len(line.encode()) + 1 for line in lines[: len(requests)])
    assert answer.rounds == len(requests) - 1 <= 5
    readable = [draft for draft in answer.drafts if draft.problem is None]
    assert answer.final in (readable or answer.drafts)


@pytest.mark.parametrize(("text", "setting"), [("off", OFF), ("0", OFF), (" Adaptive", ADAPTIVE)])
def test_settings_are_read(text: str, setting: RefineSetting) -> None:
    assert parse_refine(text) == setting


@given(st.integers(1, MAX_ROUNDS))
def test_rounds_are_read_and_written(rounds: int) -> None:
    assert parse_refine(str(rounds)) == RefineSetting(rounds, adaptive=False)
    assert str(parse_refine(str(rounds))) == str(rounds)


@pytest.mark.parametrize("text", ["", "on", "-1", "1.5", "100", "٣", "adaptive 3"])
def test_other_settings_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="want 'off', 'adaptive' or a number"):
        parse_refine(text)


def test_the_stop_word_can_be_another() -> None:
    assert "FERTIG" in check_text([], "FERTIG")
    assert says_stop("fertig!", "FERTIG")
    assert not says_stop("DONE", "FERTIG")


@pytest.mark.parametrize("text", ["", "Donehue", "I am DONE", '{"name": "done"}', "```json\n[]\n```"])
def test_what_is_no_stop(text: str) -> None:
    assert not says_stop(text)
