"""Pairs share exactly the context they claim, and the gate lets nothing unsound through."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.chat import Ids
from strop.agent.engines.base import Completion, FinishReason
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.engines.scripted_model import END_ID
from strop.agent.policy import Policy, read_draft
from strop.refine.audit import Thresholds, audit_file
from strop.refine.collect import CollectConfig, collect
from strop.refine.gate import GateConfig, Refusal, gate, preference
from strop.refine.golden import gold_answer
from strop.refine.joints import Joint
from strop.refine.pairs import GoldUse, PairKind, PreferencePair, Side, candidates
from strop.refine.sample import Outcome
from strop.refine.tree import Fragment, SearchTree
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message, Task
from strop.tools.verdict import ErrorKind, Verdict
from strop.training.datasets import SftRow
from tests.refine.test_search import grown, mixtures
from tests.refine.worlds import BOTH, NEITHER, PARIS, ROME, SIMPLE, WORLD, call, fenced, policy, task

TEMPLATE = ScriptedTemplate()
END = TEMPLATE.end_ids


def pairs_of(tree: SearchTree, subject: Task, use: GoldUse = GoldUse.NEVER) -> list[PreferencePair]:
    return candidates(tree, TEMPLATE, gold_answer(subject, TEMPLATE), use)


@settings(deadline=None, max_examples=60)
@given(mixtures, st.integers(0, 3), st.sampled_from([SIMPLE, BOTH, NEITHER]), st.sampled_from(list(GoldUse)))
def test_pairs_are_what_was_sampled_and_part_at_their_first_id(
    mixture: list[tuple[str, float]], seed: int, subject: Task, use: GoldUse
) -> None:
    tree = asyncio.run(grown(subject, policy({str(subject.messages[0]["content"]): mixture}), seed=seed))
    sampled = {tree.prefix_ids(leaf) for leaf in tree.leaves()}
    gold = gold_answer(subject, TEMPLATE)
    found = pairs_of(tree, subject, use)
    for pair in found:
        assert pair.prompt_ids == tree.prompt_ids
        assert pair.chosen.ids[:1] != pair.rejected.ids[:1]
        for side in (pair.chosen, pair.rejected):
            check_side(pair, side, sampled | ({gold.ids} if gold and pair.source == "gold" else set()))
    accepted, report = gate({subject.id: found}, GateConfig(), END)
    assert len(accepted) + sum(report.refused.values()) == len(found)
    check_accepted(accepted)


def check_side(pair: PreferencePair, side: Side, answers: set[tuple[int, ...]]) -> None:
    ids = pair.prefix_ids + side.ids
    if pair.kind is PairKind.FULL:
        assert ids in answers
        assert ids[-1] == END_ID
    else:
        assert any(answer[: len(ids)] == ids for answer in answers)
        assert END_ID not in ids
        assert side.text == TEMPLATE.decode(side.ids)


def check_accepted(accepted: list[PreferencePair]) -> None:
    assert len({preference(pair) for pair in accepted}) == len(accepted) <= GateConfig().per_task
    for pair in accepted:
        assert pair.chosen.outcome.verdict.correct
        assert not pair.rejected.outcome.verdict.correct
        assert pair.margin >= GateConfig().min_margin


async def test_search_pairs_the_right_value_with_the_wrong_one() -> None:
    tree = await grown(SIMPLE, policy(WORLD), k=12)
    accepted, _ = gate({SIMPLE.id: pairs_of(tree, SIMPLE)}, GateConfig(per_task=20), END)
    texts = {(pair.chosen.text, pair.rejected.text) for pair in accepted if pair.kind is PairKind.FRAGMENT}
    assert any(chosen.startswith("3") and rejected.startswith("2") for chosen, rejected in texts)
    assert {pair.kind for pair in accepted} == {PairKind.FULL, PairKind.FRAGMENT}


async def test_what_is_said_most_often_is_rejected_though_what_is_beside_the_right_answer_is_worse() -> None:
    near = fenced(PARIS).replace('"days": 3', '"days": 4')
    bare, broken = fenced(PARIS)[8:-4], fenced(PARIS)[8:-4].replace(": 3", ": ")
    world = {str(SIMPLE.messages[0]["content"]): [(near, 5.0), (bare, 1.0), (broken, 2.0)]}
    tree = await grown(SIMPLE, policy(world), k=16)
    assert {leaf.outcome.text for leaf in tree.leaves() if leaf.outcome} >= {near, bare, broken}
    full = [pair for pair in pairs_of(tree, SIMPLE) if pair.kind is PairKind.FULL]
    accepted, _ = gate({SIMPLE.id: full}, GateConfig(), END)
    assert (bare, near) in {(pair.chosen.text, pair.rejected.text) for pair in accepted}
    assert all(pair.margin > 0 for pair in accepted)


async def test_a_pair_teaches_to_go_on_after_the_first_call() -> None:
    world = {
        "Weather in Paris and Rome for 3 days?": [
            fenced(PARIS, ROME),
            "```json\n[\n" + fenced(PARIS)[8:-4].replace("\n", "\n  ") + "\n]\n```",
        ]
    }
    tree = await grown(BOTH, policy(world), k=8)
    full = [pair for pair in pairs_of(tree, BOTH) if pair.kind is PairKind.FULL]
    assert full
    assert full[0].rejected.outcome.verdict.error is ErrorKind.MISSING_CALL


@pytest.mark.parametrize(
    ("use", "sources"),
    [(GoldUse.NEVER, set()), (GoldUse.UNSOLVED, {"gold"}), (GoldUse.ALWAYS, {"gold"})],
)
async def test_gold_is_chosen_where_nothing_sampled_is_right(use: GoldUse, sources: set[str]) -> None:
    mostly_one = {"Weather in Paris and Rome for 3 days?": [(fenced(PARIS), 6.0), (fenced(ROME), 1.0)]}
    tree = await grown(BOTH, policy(mostly_one), k=8)
    accepted, _ = gate({BOTH.id: pairs_of(tree, BOTH, use)}, GateConfig(), END)
    assert {pair.source for pair in accepted} == sources
    full = [pair for pair in accepted if pair.kind is PairKind.FULL]
    assert {pair.chosen.text for pair in full} == ({fenced(PARIS, ROME)} if sources else set())
    # What is written most often comes first.
    assert [pair.rejected.text for pair in full] == ([fenced(PARIS), fenced(ROME)] if sources else [])


async def test_gold_is_preferred_by_fragments_where_answers_leave_its_path() -> None:
    answers = [fenced(PARIS), fenced(PARIS, call("get_weather", city="Rome", days=4))]
    tree = await grown(BOTH, policy({"Weather in Paris and Rome for 3 days?": answers}), k=12)
    pairs = [pair for pair in pairs_of(tree, BOTH, GoldUse.UNSOLVED) if pair.source == "gold"]
    fragments = [pair for pair in pairs if pair.kind is PairKind.FRAGMENT]
    gold = gold_answer(BOTH, TEMPLATE)
    assert gold is not None
    written = {tree.prefix_ids(leaf) for leaf in tree.leaves()}
    for pair in fragments:
        assert gold.ids[: len(pair.prefix_ids + pair.chosen.ids)] == pair.prefix_ids + pair.chosen.ids
        begun = pair.prefix_ids + pair.rejected.ids
        assert any(ids[: len(begun)] == begun for ids in written)
    # One call where two are right parts at the bracket; the wrong number of days much later.
    texts = [(pair.chosen.text, pair.rejected.text) for pair in fragments]
    assert any(chosen.startswith("[") and rejected.startswith("{") for chosen, rejected in texts)
    assert any(chosen.startswith("3") and rejected.startswith("4") for chosen, rejected in texts)


async def test_a_pair_differs_in_what_is_said_and_not_in_how_it_is_laid_out() -> None:
    wrong = call("get_weather", city="Paris", days=2)
    layouts = [fenced(wrong), json.dumps(wrong), f"```json\n{json.dumps(wrong)}\n```"]
    tree = await grown(SIMPLE, policy({"Weather in Paris for 3 days?": layouts}), k=20)
    pair = pairs_of(tree, SIMPLE, GoldUse.UNSOLVED)[0]
    assert pair.rejected.text == fenced(wrong)
    assert TEMPLATE.decode(pair.prefix_ids).endswith('"days": ')


async def test_gold_is_not_needed_where_a_sample_is_right() -> None:
    tree = await grown(SIMPLE, policy(WORLD), k=12)
    assert {pair.source for pair in pairs_of(tree, SIMPLE, GoldUse.UNSOLVED)} == {"policy"}
    assert "gold" in {pair.source for pair in pairs_of(tree, SIMPLE, GoldUse.ALWAYS)}


async def test_prose_is_taken_from_the_policy_then_from_the_gold_or_not_at_all() -> None:
    question = "Tell me a joke."
    calls_only = {question: [fenced(call("get_time", city="here"))]}
    on_policy = pairs_of(await grown(NEITHER, policy(WORLD), k=8), NEITHER, GoldUse.UNSOLVED)
    assert {pair.chosen.text for pair in on_policy if pair.kind is PairKind.FULL} == {
        "A tool walks into a bar."
    }
    written = task(question, task_id="neither", response="No tool tells jokes.")
    by_gold = pairs_of(await grown(written, policy(calls_only)), written, GoldUse.UNSOLVED)
    assert {pair.chosen.text for pair in by_gold} == {"No tool tells jokes."}
    assert pairs_of(await grown(NEITHER, policy(calls_only)), NEITHER, GoldUse.UNSOLVED) == []


def outcome(*, correct: bool, text: str, complete: bool = True, calls: tuple[ToolCall, ...] = ()) -> Outcome:
    verdict = Verdict.right() if correct else Verdict.wrong(ErrorKind.WRONG_VALUE, "no")
    return Outcome(text, calls, verdict, 1.0 if correct else 0.4, complete=complete)


GOOD = PreferencePair(
    task_id="t",
    category="simple",
    kind=PairKind.FULL,
    prompt_ids=(1, 2),
    prefix_ids=(3,),
    chosen=Side((4, END_ID), "This one is right.", 1.0, 2, outcome(correct=True, text="This one is right.")),
    rejected=Side(
        (5, END_ID), "This one is wrong.", 0.4, 3, outcome(correct=False, text="This one is wrong.")
    ),
)
SWAPPED = replace(
    GOOD,
    chosen=replace(GOOD.rejected, value=1.0, outcome=outcome(correct=True, text="This one is wrong.")),
    rejected=replace(GOOD.chosen, value=0.4, outcome=outcome(correct=False, text="This one is right.")),
)


def refusals(*pairs: PreferencePair, config: GateConfig | None = None) -> Counter[str]:
    return gate({"t": pairs}, config or GateConfig(), END)[1].refused


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (replace(GOOD, chosen=replace(GOOD.chosen, ids=())), Refusal.EMPTY),
        (replace(GOOD, rejected=replace(GOOD.rejected, ids=(5,))), Refusal.INCOMPLETE),
        (
            replace(
                GOOD, rejected=replace(GOOD.rejected, outcome=outcome(correct=False, text="", complete=False))
            ),
            Refusal.INCOMPLETE,
        ),
        (
            replace(GOOD, chosen=replace(GOOD.chosen, outcome=outcome(correct=False, text="x"))),
            Refusal.CHOSEN_FAILS,
        ),
        (
            replace(GOOD, rejected=replace(GOOD.rejected, outcome=outcome(correct=True, text="x"))),
            Refusal.REJECTED_PASSES,
        ),
        (replace(GOOD, rejected=replace(GOOD.rejected, value=0.95)), Refusal.MARGIN),
        (
            replace(GOOD, chosen=replace(GOOD.chosen, outcome=outcome(correct=True, text="Marko"))),
            Refusal.TERSE,
        ),
        (replace(GOOD, prompt_ids=(1,) * 2048), Refusal.LENGTH),
    ],
)
def test_an_unsound_pair_is_refused_with_its_reason(pair: PreferencePair, reason: Refusal) -> None:
    assert refusals(GOOD) == {}
    assert refusals(pair) == {reason: 1}


def test_a_fragment_that_was_only_ever_cut_off_is_not_rejected() -> None:
    rambling = replace(GOOD.rejected, outcome=outcome(correct=False, text="So, ", complete=False))
    fragment = replace(GOOD, kind=PairKind.FRAGMENT, rejected=rambling)
    assert refusals(fragment) == {Refusal.INCOMPLETE: 1}


def opening(text: str, name: str, calls: int, *, correct: bool) -> Side:
    """One side of a fragment pair that ends with a tool's name."""
    made = tuple(ToolCall(name, {"n": number, "right": correct}) for number in range(calls))
    result = outcome(correct=correct, text=text, calls=made)
    return Side(tuple(text.encode()), text, 1.0 if correct else 0.4, 2, result, Joint.NAME)


@pytest.mark.parametrize(
    ("rejected", "alike"),
    [
        (opening('I will use f.\n{"name": "f"', "f", 1, correct=False), True),
        (opening('{"name": "g"', "g", 1, correct=False), False),
        (opening('[{"name": "f"', "f", 2, correct=False), False),
        (replace(opening("There is no tool.", "f", 0, correct=False), joint=Joint.END), False),
    ],
)
def test_another_way_to_open_the_same_call_is_no_preference(rejected: Side, alike: bool) -> None:
    chosen = opening('{"name": "f"', "f", 1, correct=True)
    pair = replace(GOOD, kind=PairKind.FRAGMENT, chosen=chosen, rejected=rejected)
    assert refusals(pair) == ({Refusal.ALIKE: 1} if alike else {})


def test_duplicates_conflicts_and_surplus_are_counted() -> None:
    other = replace(GOOD, prompt_ids=(7,))
    assert refusals(GOOD, GOOD) == {Refusal.DUPLICATE: 1}
    assert refusals(GOOD, SWAPPED) == {Refusal.CONFLICT: 2}
    assert refusals(GOOD, other, config=GateConfig(per_task=1)) == {Refusal.SURPLUS: 1}


async def test_a_candidate_that_is_refused_itself_makes_no_conflict() -> None:
    oslo = call("get_weather", city="Oslo")
    world = {"Weather in Paris and Rome for 3 days?": [fenced(PARIS), fenced(oslo, oslo, oslo)]}
    tree = await grown(BOTH, policy(world), k=8)
    found = pairs_of(tree, BOTH, GoldUse.UNSOLVED)
    said = [preference(pair) for pair in found]
    assert any(one.reversed in said for one in said)  # one call is better than three wrong ones, not than two
    accepted, report = gate({BOTH.id: found}, GateConfig(), END)
    assert report.refused == {Refusal.CHOSEN_FAILS: 1}
    assert any(
        pair.chosen.text.startswith("[") and pair.rejected.text.startswith("{")
        for pair in accepted
        if pair.kind is PairKind.FRAGMENT
    )


def test_the_same_call_written_differently_is_a_duplicate() -> None:
    spellings = [
        outcome(correct=True, text=text, calls=(ToolCall("f", arguments),))
        for text, arguments in (("a", {"x": 1, "y": 2}), ("b", {"y": 2.0, "x": 1}))
    ]
    pairs = [replace(GOOD, chosen=replace(GOOD.chosen, outcome=spelling)) for spelling in spellings]
    assert refusals(*pairs) == {Refusal.DUPLICATE: 1}


def test_a_task_whose_answers_are_worth_the_same_is_counted() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    for token in (5, 6):
        leaf = tree.graft(
            tree.root, [Fragment((token, END_ID), Joint.END, 0.0)], outcome(correct=False, text=str(token))
        )
        tree.backup(leaf)
    assert candidates(tree, TEMPLATE, None, GoldUse.ALWAYS) == []
    assert gate({"t": []}, GateConfig(), END)[1].empty_tasks == 1


async def test_a_row_has_what_trainers_read() -> None:
    tree = await grown(BOTH, policy(WORLD))
    row = pairs_of(tree, BOTH, GoldUse.ALWAYS)[0].to_json()
    assert set(row) == {
        "id", "task_id", "category", "kind", "prompt_ids", "prefix_ids", "chosen_ids", "rejected_ids",
        "chosen_text", "rejected_text", "thinking", "evidence",
    }  # fmt: skip
    assert set(row["evidence"]) == {
        "chosen_value", "rejected_value", "chosen_visits", "rejected_visits", "chosen_verdict",
        "rejected_verdict", "source", "first_divergence", "chosen_joint", "rejected_joint",
    }  # fmt: skip


def test_what_a_right_answer_lies_below_is_not_rejected_for_a_better_graded_wrong_one() -> None:
    """Rewards may be a judge's opinion; whether a side can still end right is not."""
    tree = SearchTree.rooted("t", "simple", TEMPLATE.encode("q"))
    for opening, rest, correct, reward in (
        ("A(", "1)", True, 0.9),
        ("B(", "1)", True, 0.3),
        ("B(", "2)", False, 0.6),
    ):
        made = (ToolCall(opening[0], {"a": rest[0]}),)
        worth = replace(outcome(correct=correct, text=opening + rest, calls=made), reward=reward)
        fragments = [
            Fragment(TEMPLATE.encode(opening), Joint.NAME, -1.0),
            Fragment(TEMPLATE.answer_ids(rest), Joint.END, -1.0),
        ]
        tree.backup(tree.graft(tree.root, fragments, worth))
    accepted, _ = gate({"t": candidates(tree, TEMPLATE, None, GoldUse.NEVER)}, GateConfig(), END)
    rejected = [TEMPLATE.decode(pair.prefix_ids + pair.rejected.ids) for pair in accepted]
    assert rejected
    assert all(text.startswith("B(2)") for text in rejected)


class Thinking(ScriptedTemplate):
    """Opens a thinking block for every answer, as the templates of some reasoning models do."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
        return (*super().prompt_ids(messages, tools), *self.encode("<think>\n"))


async def test_gold_comes_after_the_thoughts_that_the_prompt_has_opened() -> None:
    gold = gold_answer(SIMPLE, Thinking())
    assert gold is not None
    assert gold.outcome.text == f"\n</think>\n\n{fenced(PARIS)}"
    row = SftRow.from_task(SIMPLE, Thinking())
    assert row.answer_ids == gold.ids
    prompt = Thinking().prompt_ids(SIMPLE.messages, SIMPLE.tools)
    read = read_draft(Thinking(), prompt, Completion(gold.ids, FinishReason.STOP), SIMPLE.tools)
    assert [call.to_json() for call in read.calls] == [PARIS]
    assert read.content is None


async def test_pairs_of_a_policy_that_thinks_pass_their_audit(tmp_path: Path) -> None:
    """One answer leaves its thoughts, the other never does and makes no call."""
    question = SIMPLE.messages[-1]["content"]
    answers = [(f"<think>\n{question}?\n</think>\n{fenced(PARIS)}", 1.0), (f"<think>\n{fenced(PARIS)}", 1.0)]
    thinking = Policy(ScriptedEngine(lambda _ids: answers), Thinking())
    summary = await collect([SIMPLE], thinking, CollectConfig(samples=6), tmp_path)
    assert summary.pairs
    assert not audit_file(tmp_path, Thresholds(), tasks={SIMPLE.id: SIMPLE}).objections


def test_words_of_thoughts_are_no_answer() -> None:
    thoughts = "<think>\nNothing on offer can do that.\n</think>\n"
    for said, refused in (("No.", 1), ("", 1), ("None of the tools can do that.", 0)):
        chosen = replace(GOOD.chosen, outcome=outcome(correct=True, text=thoughts + said))
        assert refusals(replace(GOOD, chosen=chosen))[Refusal.TERSE] == refused
