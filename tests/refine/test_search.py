"""The tree's laws hold for any policy, and search finds what sampling alone does not."""

from __future__ import annotations

import asyncio
import json
import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import Entry
from strop.agent.engines.scripted_model import END_ID
from strop.agent.policy import Policy
from strop.refine.joints import Joint, cuts
from strop.refine.sample import UNKNOWN_LOGPROB, Outcome, Sample, sample_of
from strop.refine.search import SearchConfig, choose, claim_wave, grow, is_expandable, puct, search
from strop.refine.tree import Fragment, Node, SearchTree, violations
from strop.tools.formats import read_calls
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict
from tests.refine.worlds import BOTH, NEITHER, PARIS, SIMPLE, WORLD, call, fenced, policy

CONFIG = SearchConfig(simulations=6, width=3, max_tokens=400)


async def grown(
    task: Task, model: Policy, config: SearchConfig = CONFIG, *, k: int = 3, seed: int = 0
) -> SearchTree:
    sampling = Sampling(max_tokens=config.max_tokens, temperature=1.0, n=k, seed=seed, logprobs=True)
    drafts = await model.sample(task, sampling)
    return await search(task, model, [sample_of(task, draft) for draft in drafts], config, seed=seed)


arguments = st.fixed_dictionaries(
    {"city": st.sampled_from(["Paris", "Pariß", "Rome"])},
    optional={"days": st.integers(1, 30), "unit": st.sampled_from(["celsius", "fahrenheit", "kelvin"])},
)
answer_texts = (
    st.lists(
        st.builds(lambda n, a: call(n, **a), st.sampled_from(["get_weather", "get_time"]), arguments),
        min_size=1,
        max_size=3,
    ).map(lambda calls: fenced(*calls))
) | st.text(alphabet="abé, .{}[]\"'", min_size=1, max_size=30)
mixtures = st.lists(st.tuples(answer_texts, st.floats(0.1, 5)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(mixtures, st.integers(0, 5), st.sampled_from([SIMPLE, BOTH, NEITHER]), st.sampled_from([40, 400]))
def test_the_laws_hold_whatever_the_policy_writes(
    mixture: list[tuple[str, float]], seed: int, task: Task, max_tokens: int
) -> None:
    model = policy({str(task.messages[0]["content"]): mixture})
    config = replace(CONFIG, max_tokens=max_tokens, depth=5)
    tree = asyncio.run(grown(task, model, config, seed=seed))
    assert violations(tree) == []
    assert max(len(tree.path(leaf)) - 1 for leaf in tree.leaves()) <= 5
    for leaf in tree.leaves():
        check_leaf(tree, leaf, model)
    assert tree.root.visits == sum(leaf.visits for leaf in tree.leaves())


def check_leaf(tree: SearchTree, leaf: Node, model: Policy) -> None:
    """A leaf's ids are its text, and its text reads as its calls."""
    outcome = leaf.outcome
    assert outcome is not None
    ids = tree.prefix_ids(leaf)
    assert outcome.complete == (ids[-1] == END_ID)
    assert model.template.decode(ids).removesuffix("\ufffd") == outcome.text.removesuffix("\ufffd")
    assert read_calls(outcome.text).calls == outcome.calls
    assert outcome.verdict.correct == (outcome.reward == 1.0)
    inner = tree.path(leaf)[1:]
    places = cuts(ids, model.template.decode, "fenced_json", depth=5)
    ends = [len(tree.prefix_ids(node)) for node in inner]
    assert ends == [place.end for place in places]


async def test_equal_prefixes_share_nodes() -> None:
    tree = await grown(SIMPLE, policy(WORLD), k=40)
    starts = [tuple(child.ids) for child in tree.children(tree.root)]
    assert len(starts) == len(set(starts)) <= 3  # get_weather, get_time, prose
    named = [child for child in tree.children(tree.root) if child.joint is Joint.NAME]
    assert len(named) == 2
    assert all(child.visits > 1 for child in named)


async def test_the_same_seed_grows_the_same_tree() -> None:
    one = await grown(SIMPLE, policy(WORLD))
    other = await grown(SIMPLE, policy(WORLD))
    another = await grown(SIMPLE, policy(WORLD), seed=1)
    assert one.to_json() == other.to_json() != another.to_json()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 20), st.integers(1, 5), st.integers(0, 6))
def test_waves_leave_no_virtual_loss_and_keep_to_the_budget(seed: int, wave: int, simulations: int) -> None:
    config = replace(CONFIG, wave=wave, simulations=simulations)
    tree = asyncio.run(grown(SIMPLE, policy(WORLD), config, k=4, seed=seed))
    assert violations(tree) == []
    assert {node.pending for node in tree.nodes} == {0}
    assert sum(node.expanded for node in tree.nodes) <= 1 + simulations
    assert tree.root.visits <= 4 + simulations * config.width


def test_a_wave_spreads_over_the_tree() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    for start, reward in ((5, 0.8), (6, 0.7)):  # two beginnings, each gone on with in two ways
        for end in (7, 8):
            path = [
                Fragment((start,), Joint.NAME, -1.0),
                Fragment((end,), Joint.ARGUMENT, -1.0),
                Fragment((END_ID,), Joint.END, -1.0),
            ]
            tree.backup(tree.graft(tree.root, path, leaf_outcome(reward)))
    tree.root.expanded = True
    config = replace(CONFIG, wave=2, width=4, root_noise=0.0, c_puct=0.1)

    def beginnings(wave: list[tuple[Node, int]]) -> list[int]:
        return [tree.path(node)[1].ids[0] for node, _ in wave]

    assert beginnings(claim_wave(tree, config, random.Random(0))) == [5, 6]
    assert tree.root.pending == 8
    for node in tree.nodes:
        node.pending = 0
    # Without the losses of the first expansion the better beginning is chosen again.
    assert beginnings(claim_wave(tree, replace(config, wave=1), random.Random(0))) == [5]


async def test_the_tree_does_not_depend_on_which_expansion_of_a_wave_is_sampled_first() -> None:
    model, slow = policy(WORLD), policy(WORLD)
    generate, calls = slow.engine.generate, 0

    async def delayed(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01 * (5 - calls % 5))
        return await generate(*args, **options)

    slow.engine.generate = delayed  # type: ignore[method-assign]  # the same engine, in another order
    config = replace(CONFIG, wave=4, simulations=8)
    assert (await grown(BOTH, slow, config)).to_json() == (await grown(BOTH, model, config)).to_json()


async def test_a_tree_survives_its_file() -> None:
    tree = await grown(BOTH, policy(WORLD))
    again = SearchTree.from_json(json.loads(json.dumps(tree.to_json())))
    assert again == tree
    assert violations(again) == []


async def test_every_request_continues_the_prompt_by_a_prefix_of_the_tree() -> None:
    model = policy(WORLD)
    tree = await grown(SIMPLE, model)
    prefixes = {tree.prompt_ids + tree.prefix_ids(node) for node in tree.nodes}
    requests = [request.prompt_ids for request in model.engine.requests]  # type: ignore[attr-defined]  # scripted
    assert len(requests) > 1
    assert set(requests) <= prefixes


async def test_search_from_prefixes_finds_the_rare_right_answer() -> None:
    """The right continuation is one in twenty; search samples it at the joint, where it is one in two."""
    wrong = [(f"I do not know {number}.", 1.0) for number in range(17)]
    world: dict[str, Entry] = {
        "Weather in Paris for 3 days?": [
            (fenced(PARIS), 1.0),
            (fenced(call("get_weather", city="Paris", days=9)), 1.0),
            *wrong,
        ]
    }
    model = policy(world)
    config = SearchConfig(simulations=12, width=2, root_noise=0.0)
    start = await model.engine.generate(
        model.prompt_ids(SIMPLE), Sampling(n=60, temperature=1.0, seed=0, logprobs=True)
    )
    drafts = [model.draft_of(model.prompt_ids(SIMPLE), done, SIMPLE.tools) for done in start]
    wrong_calls = [draft for draft in drafts if draft.calls and draft.calls[0].arguments["days"] == 9]
    samples = [
        sample_of(SIMPLE, draft) for draft in (wrong_calls[0], *[d for d in drafts if not d.calls][:3])
    ]
    tree = await search(SIMPLE, model, samples, config, seed=0)
    assert any(leaf.outcome and leaf.outcome.verdict.correct for leaf in tree.leaves())


async def test_nothing_is_sampled_where_it_would_only_be_repeated() -> None:
    model = policy({"Weather in Paris for 3 days?": [(fenced(PARIS), 99.0), ("No.", 1.0)]})
    tree = await grown(SIMPLE, model)
    assert [node.expanded for node in tree.nodes] == [True, *([False] * (len(tree.nodes) - 1))]
    assert tree.covered(tree.root) > 0.98


def leaf_outcome(reward: float) -> Outcome:
    verdict = Verdict.right() if reward == 1 else Verdict.wrong(ErrorKind.WRONG_VALUE, "no")
    return Outcome("", (), verdict, reward, complete=True)


def node_with(visits: int, value: float, *, logprob: float = 0.0) -> Node:
    return Node(1, 0, (1,), Joint.NAME, logprob, visits=visits, value_sum=value * visits)


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1), st.integers(1, 500))
def test_puct_grows_with_prior_and_value_and_falls_with_visits(
    visits: int, value: float, prior: float, parent: int
) -> None:
    node = node_with(visits, value)
    assert puct(node, prior, parent, 1.0) >= puct(node_with(visits + 1, value), prior, parent, 1.0) - 1e-9
    assert puct(node, min(1.0, prior + 0.1), parent, 1.0) >= puct(node, prior, parent, 1.0)
    assert puct(node, prior, parent, 0.0) == pytest.approx(value)


def test_the_prior_is_the_mean_probability_of_an_id() -> None:
    node = Node(1, 0, (1, 2, 3), Joint.NAME, 3 * math.log(0.5))
    assert node.prior == pytest.approx(0.5)


def test_nothing_is_left_to_choose_once_every_answer_is_followed() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    leaf = Sample((5, END_ID), (0.0, 0.0), leaf_outcome(1.0))
    grow(tree, tree.root, [leaf, leaf], lambda ids: cuts(ids, lambda _: "x", "fenced_json", depth=3))
    assert choose(tree, CONFIG, random.Random(0)) is None
    assert [node.visits for node in tree.nodes] == [2, 2]


def test_a_cut_off_answer_never_merges_with_a_place_to_go_on_from() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    name, rest = Fragment((5,), Joint.NAME, 0.0), Fragment((6,), Joint.END, 0.0)
    cut_off = Outcome("", (), Verdict.wrong(ErrorKind.UNPARSABLE, "cut off"), 0.0, complete=False)
    for fragments, outcome in (
        ([name, rest], leaf_outcome(1.0)),
        ([replace(name, joint=Joint.END)], cut_off),
    ):
        tree.backup(tree.graft(tree.root, fragments, outcome))
    assert violations(tree) == []
    assert len(tree.children(tree.root)) == 2


def test_a_broken_tree_is_noticed() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    leaf = tree.graft(tree.root, [Fragment((5,), Joint.END, 0.0)], leaf_outcome(1.0))
    tree.backup(leaf)
    leaf.visits += 1
    assert violations(tree) == ["node 0: 1 visits, its children's do not add up to it"]


def test_nothing_is_covered_by_answers_whose_log_probabilities_nobody_knows() -> None:
    tree = SearchTree.rooted("t", "", (1,))
    for number in (5, 6, 7):
        ids = ((number,), (9,))
        fragments = [Fragment(one, Joint.NAME, UNKNOWN_LOGPROB) for one in ids]
        tree.backup(tree.graft(tree.root, fragments, leaf_outcome(1.0)))
    assert tree.covered(tree.root) == 0
    assert is_expandable(tree, tree.root, SearchConfig())
