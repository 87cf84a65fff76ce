"""Requests of one family differ in what they ask, and in nothing else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from strop.tools.errors import UsageError
from strop.tools.judge import judge, validate_call
from strop.training.catalogue import load_catalogue
from strop.training.catalogue.variation import OPTIONS, WISHES, varied
from strop.training.families import families
from strop.training.wording import crossed
from tests.training.arguments import leaves_of

MADE = families(40, 3)


def test_a_family_offers_the_same_tools_and_asks_for_different_things() -> None:
    for start in range(0, len(MADE), 6):
        family = MADE[start : start + 6]
        assert all(task.tools == family[0].tools for task in family)
        assert family[0].category in ("simple", "multiple")
        assert len({task.messages[0]["content"] for task in family}) == 6
    assert len({task.messages[0]["content"] for task in MADE}) == len(MADE)


def test_every_gold_is_right_by_its_own_schema() -> None:
    for task in MADE:
        assert task.gold is not None
        assert judge(task.gold.calls, None, task).correct
        for call in task.gold.calls:
            assert validate_call(call, task.tools) == []
        assert bool(task.gold.calls) != bool(task.gold.response)


def test_an_added_option_is_given_where_the_request_asks_for_it_and_nowhere_else() -> None:
    own = {name for tool in load_catalogue().tools for name in tool.spec.properties}
    asked = 0
    for task in MADE:
        assert task.gold is not None
        question = task.messages[0]["content"]
        wishes = {name for name, ways in WISHES.items() for said, _ in ways if said in question}
        given = {name for call in task.gold.calls for name in call.arguments if name not in own}
        assert given <= wishes
        asked += bool(given)
        for call in task.gold.calls:
            for name in given:
                assert call.arguments[name] in [value for said, value in WISHES[name] if said in question]
    assert len(MADE) / 12 < asked < len(MADE) / 4


def test_a_wish_is_a_value_that_its_option_takes() -> None:
    for name, ways in WISHES.items():
        schema = Draft202012Validator(dict(OPTIONS[name]))
        assert all(schema.is_valid(value) and said.endswith(".") for said, value in ways), name
        assert len({said for said, _ in ways}) == len(ways)


@given(st.integers(0, 10**6), st.sampled_from([(2, 2), (2, 3), (3, 2)]))
@settings(max_examples=30)
def test_combined_lists_want_a_call_for_every_pair_of_their_values(
    seed: int, counts: tuple[int, int]
) -> None:
    rng, part = Random(seed), None
    while part is None:
        part = crossed(rng.choice(load_catalogue().tools), counts, rng)
    leaves = [dict(leaves_of(call.arguments)) for call in part.calls]
    varying = [path for path in leaves[0] if len({str(row[path]) for row in leaves}) > 1]
    assert len(part.calls) == len({str(row) for row in leaves}) == counts[0] * counts[1]
    assert sorted(len({str(row[path]) for row in leaves}) for path in varying) == sorted(counts)
    assert "combin" in part.text.lower()


def test_what_acts_is_never_asked_for_in_combinations() -> None:
    """Nobody wants a room at two temperatures."""
    for tool in load_catalogue().tools:
        if tool.acts:
            assert all(crossed(tool, (2, 2), Random(seed)) is None for seed in range(30)), tool.name


def test_no_tool_of_a_family_could_meet_what_is_refused() -> None:
    catalogue = load_catalogue()
    able = {unmet.missing: set(unmet.served_by) for unmet in catalogue.unmet if unmet.served_by}
    does = {tool.spec.description: tool.name for tool in catalogue.tools}
    for task in families(150, 8):
        if task.category == "irrelevance" and task.gold is not None:
            leads = ("can", "cannot", "able to", "have to")
            said = [text for text in able for lead in leads if f"{lead} {text}" in (task.gold.response or "")]
            offered = {does[tool.description] for tool in task.tools}
            assert not any(able[text] & offered for text in said), task.gold.response


def test_all_kinds_are_there() -> None:
    kinds = {task.category for task in MADE}
    assert kinds >= {
        "simple",
        "multiple",
        "parallel",
        "parallel_multiple",
        "irrelevance",
        "missing_parameters",
    }


@given(st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=10)
def test_the_same_seed_gives_the_same_families_and_more_only_add(n: int, seed: int) -> None:
    assert families(n + 2, seed)[: 6 * n] == families(n, seed)


@pytest.mark.parametrize(("n", "size"), [(-1, 4), (3, 0)])
def test_impossible_numbers_are_refused(n: int, size: int) -> None:
    with pytest.raises(UsageError, match="cannot make"):
        families(n, 0, size)


@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
def test_a_varied_tool_takes_the_same_arguments_and_more(rng: object, at: int) -> None:
    catalogue = load_catalogue()
    tool = catalogue.tools[at % len(catalogue.tools)]
    shown = varied(tool, rng)  # type: ignore[arg-type]
    assert shown.spec.required == tool.spec.required
    assert shown.spec.properties.keys() >= tool.spec.properties.keys()
    added = shown.spec.properties.keys() - tool.spec.properties.keys()
    assert added <= OPTIONS.keys()
    assert load_catalogue().tools[at % len(catalogue.tools)].spec == tool.spec
    told = {name for name, declared in shown.spec.properties.items() if "efault" in str(declared)}
    assert told >= {name for name, declared in tool.spec.properties.items() if "default" in declared}
