"""The refiner stops for every reason it has, keeps the right draft, and only ever appends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.answer import Answer, StopReason
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.engines.scripted_model import STOP_ID
from strop.agent.policy import Policy
from strop.agent.refinement import ADAPTIVE, MAX_ROUNDS, OFF, RefineSetting, parse_refine
from strop.refine.assurance import Gate, Statistic, assurance, read_gate, write_gate
from strop.refine.check import check_text, says_stop
from strop.refine.refiner import Refiner, Stopping
from strop.tools.errors import DataError, UsageError
from strop.tools.structure import calls_structure, to_json
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
    refiner = Refiner(policy, setting, Stopping(token_id=stop_token_id))
    return await refiner.answer(SIMPLE, Sampling(max_tokens=500))


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


async def test_the_stop_word_may_come_after_thoughts() -> None:
    for thoughts in ("<think>\nAll is right.\n</think>\n\n", "<think>\n</think>\n\n"):
        for last in ("DONE", ""):
            answer = await refined(A, thoughts + last)
            assert (answer.stop_reason, answer.rounds) == (StopReason.STOP_TOKEN, 1)
            assert answer.final.text == A


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


UNSURE = [(f"{B}<|stop|>", 0.35), ("<|stop|>", 0.65)]
"""A reply to a check that stops more often than not."""


def two_turns(draft: Any, reply: Any) -> tuple[Policy, ScriptedEngine]:
    engine = ScriptedEngine(
        lambda ids: reply if b"Is this right?" in bytes(i for i in ids if i < 256) else draft
    )
    return Policy(engine, ScriptedTemplate()), engine


@pytest.mark.parametrize(
    ("threshold", "reason", "text"),
    [(0.6, StopReason.P_STOP, A), (0.7, StopReason.STOP_TOKEN, B)],
)
async def test_a_likely_stop_ends_it_though_something_else_was_drawn(
    threshold: float, reason: StopReason, text: str
) -> None:
    policy, engine = two_turns(A, UNSURE)
    seeds = (seed for seed in range(100))
    stopping = Stopping(token_id=STOP_ID, threshold=threshold)
    for seed in seeds:  # one that draws the less likely reply
        sampling = Sampling(max_tokens=500, temperature=1.0, seed=seed)
        answer = await Refiner(policy, ADAPTIVE, stopping).answer(SIMPLE, sampling)
        if answer.check_usage.completion_tokens != 1 or answer.stop_reason is StopReason.P_STOP:
            break
    assert (answer.stop_reason, answer.rounds, answer.final.text) == (reason, 1, text)
    assert answer.p_stop == pytest.approx(0.65)
    assert engine.active == 0


async def test_a_stop_word_of_one_id_is_as_good_as_a_token() -> None:
    policy, _ = two_turns(A, [("Y, it is right. Really.", 0.9), (B, 0.1)])
    answer = await Refiner(policy, stopping=Stopping(text="Y")).answer(SIMPLE, Sampling(max_tokens=500))
    assert (answer.stop_reason, answer.rounds, answer.final.text) == (StopReason.P_STOP, 1, A)
    assert answer.p_stop == pytest.approx(0.9)
    assert answer.check_usage.completion_tokens <= 4  # the first chunk
    policy, _ = two_turns(A, "Y, it is right.")
    answer = await Refiner(policy, stopping=Stopping(text="Y", threshold=1.5)).answer(SIMPLE, Sampling())
    assert answer.stop_reason is StopReason.STOP_TOKEN


async def test_a_check_that_names_problems_cannot_be_answered_with_the_stop() -> None:
    wrong = fenced(call("get_weather", town="Paris"))
    policy, engine = world(wrong, f"{A}<|stop|>")
    answer = await Refiner(policy, stopping=Stopping(token_id=STOP_ID)).answer(SIMPLE, Sampling(500))
    assert engine.requests[1].sampling is not None
    assert engine.requests[1].sampling.watch == ()
    assert (answer.final.text, answer.p_stop) == (A, None)


async def test_checks_keep_to_the_structure_or_stop() -> None:
    structure = to_json(calls_structure("fenced_json", SIMPLE.tools, parallel=False))
    policy, engine = two_turns([(PROSE, 0.9), (A, 0.1)], [(PROSE, 0.9), ("DONE", 0.1)])
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500, structure=structure))
    assert (answer.stop_reason, answer.final.text) == (StopReason.STOP_TOKEN, A)
    assert len(engine.requests) == 2


async def test_time_is_a_budget() -> None:
    engine = ScriptedEngine(Reciter([A, B]), latency=0.02, chunk=1)
    refiner = Refiner(Policy(engine, ScriptedTemplate()), stopping=Stopping(token_id=STOP_ID, seconds=0.3))
    answer = await refiner.answer(SIMPLE, Sampling(max_tokens=500))
    assert (answer.stop_reason, answer.rounds, answer.final.text) == (StopReason.DEADLINE, 1, A)
    assert (engine.active, engine.cancelled) == (0, 1)


@pytest.mark.parametrize("statistic", Statistic)
async def test_a_gate_skips_the_checks_of_drafts_that_are_sure(statistic: Statistic, tmp_path: Path) -> None:
    for share, expected in ((0.95, StopReason.GATE), (0.5, StopReason.STOP_TOKEN)):
        policy, _ = two_turns([(A, share), (B, 1 - share)], "DONE")
        threshold = math.log(0.8) if statistic is Statistic.LEAST else math.log(0.8) / (len(A) + 1)
        gate = Gate(statistic, threshold, "scripted", "abc")
        write_gate(tmp_path / "gate.json", gate)
        assert read_gate(tmp_path / "gate.json") == gate
        stopping = Stopping(gate=gate)
        answer = await Refiner(policy, ADAPTIVE, stopping).answer(SIMPLE, Sampling(max_tokens=500))
        assert answer.stop_reason is expected
        sure = math.log(share) / (1 if statistic is Statistic.LEAST else len(A) + 1)
        assert assurance(answer.final, statistic) == pytest.approx(sure)
        counted = RefineSetting(1, adaptive=False)  # who asks for a round gets one
        answer = await Refiner(policy, counted, stopping).answer(SIMPLE, Sampling(max_tokens=500))
        assert answer.rounds == 1


async def test_a_draft_with_problems_is_checked_however_sure_it_was() -> None:
    policy, _ = world(fenced(call("get_weather", town="Paris")), A, "DONE")
    gate = Gate(Statistic.MEAN, -100.0)
    answer = await Refiner(policy, stopping=Stopping(gate=gate)).answer(SIMPLE, Sampling(max_tokens=500))
    assert answer.final.text == A


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"statistic": "mode", "threshold": 1, "model": "", "weights": ""}']
)
def test_a_file_that_holds_no_gate_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(DataError, match=r"gate\.json"):
        read_gate(tmp_path / "gate.json")


async def test_what_the_checks_cost_is_told_apart() -> None:
    policy, engine = world(A, B, "DONE")
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500))
    checks = engine.requests[1:]
    assert answer.check_usage.prompt_tokens == sum(len(request.prompt_ids) for request in checks)
    assert answer.check_usage.completion_tokens == len(B) + 1 + len("DONE") + 1
    assert answer.check_usage.cached_tokens > 0.8 * len(engine.requests[0].prompt_ids)


async def test_the_context_is_a_budget() -> None:
    policy, engine = world(A, B)
    room = len(policy.prompt_ids(SIMPLE)) + len(A) + 50
    policy, engine = world(A, B, context_length=room)
    answer = await Refiner(policy).answer(SIMPLE, Sampling(max_tokens=500))
    assert (answer.stop_reason, answer.rounds, len(engine.requests)) == (StopReason.BUDGET, 0, 1)


async def test_tokens_are_a_budget() -> None:
    policy, engine = world(A, B, C)
    answer = await Refiner(policy, stopping=Stopping(token_budget=len(A) + 2)).answer(
        SIMPLE, Sampling(max_tokens=500)
    )
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
