"""Requests of one family differ in what they ask, and in nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.tools.errors import UsageError
from strop.tools.judge import judge, validate_call
from strop.training.catalogue import load_catalogue
from strop.training.catalogue.variation import OPTIONS, varied
from strop.training.families import families

MADE = families(40, 3)


def test_a_family_offers_the_same_tools_and_asks_for_different_things() -> None:
    for start in range(0, len(MADE), 6):
        family = MADE[start : start + 6]
        assert all(task.tools == family[0].tools for task in family)
        assert family[0].category in ("simple", "multiple")
        assert len({task.messages[0]["content"] for task in family}) == 6
    assert len({task.messages[0]["content"] for task in MADE}) == len(MADE)


def test_every_gold_is_right_by_its_own_schema_and_silent_about_what_nobody_mentions() -> None:
    for task in MADE:
        assert task.gold is not None
        assert judge(task.gold.calls, None, task).correct
        for call in task.gold.calls:
            assert validate_call(call, task.tools) == []
        assert bool(task.gold.calls) != bool(task.gold.response)


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
