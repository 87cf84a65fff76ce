"""Which tasks each strategy keeps, what a row of them comes to, and how they are written."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.refine.clusters import clusters
from strop.refine.deficiency import Deficiency, Selection, select
from strop.refine.selection import (
    Selected,
    band,
    diverse,
    drawn,
    grew,
    hardest,
    main_error,
    needs_perplexity,
    parse_selection,
    quota,
    select_tasks,
)
from strop.tools.errors import UsageError
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind
from tests.refine.worlds import PARIS, task

K = 4


def deficiency(
    task_id: str,
    passes: int = 0,
    *,
    error: ErrorKind = ErrorKind.WRONG_VALUE,
    calls: bool = True,
    perplexity: float | None = None,
) -> Deficiency:
    return Deficiency(
        task_id=task_id,
        category="",
        samples=K,
        passes=passes,
        errors={str(error): K - passes} if passes < K else {},
        mean_reward=passes / K,
        selection=select(passes, K),
        tools=("get_weather",) if calls else (),
        perplexity=perplexity,
    )


def named(rows: list[Deficiency]) -> list[Deficiency]:
    """With ids of their own."""
    made = []
    for index, row in enumerate(rows):
        made.append(
            Deficiency.from_json({**row.to_json(), "task_id": f"t{index}"}),
        )
    return made


rows_of = st.lists(
    st.builds(
        deficiency,
        st.just(""),
        st.integers(0, K),
        error=st.sampled_from(list(ErrorKind)),
        calls=st.booleans(),
        perplexity=st.none() | st.floats(1, 1e6),
    ),
    max_size=24,
).map(named)
steps = st.lists(
    st.sampled_from(
        ["band", "perplexity:0.5", "quota:wrong_value=3,other=2", "random:5", "diverse:4"],
    ),
    min_size=1,
    unique=True,
)


def tasks_for(rows: list[Deficiency]) -> list[Task]:
    return [task(row.task_id, PARIS) for row in rows]


def embed(tasks: object) -> list[list[float]]:
    assert isinstance(tasks, list)
    return [[1.0, float(len(one.id) + ord(one.id[-1]))] for one in tasks]


def selected(rows: list[Deficiency], *selection: str, seed: int = 0) -> Selected:
    return select_tasks(tasks_for(rows), rows, selection, seed=seed, embed=embed)


@given(rows_of)
def test_the_band_is_what_is_searched_by_default(rows: list[Deficiency]) -> None:
    assert list(band(rows)) == [row.task_id for row in rows if row.selection.searched]
    assert list(band(rows, solvable=True)) == [r.task_id for r in rows if r.selection is Selection.BAND]


@given(rows_of, st.floats(0.01, 1))
def test_the_hardest_are_harder_than_the_rest_calls_and_no_calls_apart(
    rows: list[Deficiency], share: float
) -> None:
    known = [row for row in rows if row.perplexity is not None]
    if rows and not known:
        with pytest.raises(UsageError, match="no gold was scored"):
            hardest(rows, share)
        return
    kept = hardest(rows, share)
    for calls in (True, False):
        group = {r.task_id: r.perplexity or 0.0 for r in known if bool(r.tools) is calls}
        inside = [value for name, value in group.items() if name in kept]
        outside = [value for name, value in group.items() if name not in kept]
        assert not group or share * len(group) <= len(inside) + 1e-6 < share * len(group) + 1.01
        assert not outside or min(inside) >= max(outside)


@given(rows_of, st.integers(1, 5), st.integers(1, 5), st.integers(0, 9))
def test_quotas_are_filled_and_not_exceeded(
    rows: list[Deficiency], named_most: int, other_most: int, seed: int
) -> None:
    kept = quota(rows, {"wrong_value": named_most, "other": other_most}, seed)
    of = Counter(main_error(row) == "wrong_value" for row in rows)
    got = Counter(main_error(row) == "wrong_value" for row in rows if row.task_id in kept)
    assert got[True] == min(named_most, of[True])
    assert got[False] == min(other_most, of[False])


def test_errors_without_a_quota_are_not_kept() -> None:
    rows = [deficiency("a", error=ErrorKind.MISSING_CALL), deficiency("b"), deficiency("c", K)]
    assert quota(rows, {"missing_call": 9}, 0) == {"a": "missing_call, one of at most 9"}


@given(rows_of, st.integers(1, 30), st.integers(0, 9))
def test_a_draw_is_of_the_seed_and_not_of_the_order(rows: list[Deficiency], count: int, seed: int) -> None:
    kept = drawn(rows, count, seed)
    assert len(kept) == min(count, len(rows))
    assert set(kept) == set(drawn(rows[::-1], count, seed))
    fewer = drawn(rows, max(1, count - 1), seed)
    assert set(fewer) <= set(kept)


def test_seeds_draw_differently() -> None:
    rows = [deficiency(f"t{n}") for n in range(50)]
    assert set(drawn(rows, 10, 0)) != set(drawn(rows, 10, 1))


def test_diversity_takes_from_every_cluster_in_turn() -> None:
    directions = {"a": (1.0, 0.0), "b": (0.0, 1.0), "c": (-1.0, 0.0)}
    sizes = {"a": 12, "b": 4, "c": 4}
    rows = [deficiency(f"{name}{n}") for name, size in sizes.items() for n in range(size)]
    vectors = [
        [directions[r.task_id[0]][0] + 0.01 * place, directions[r.task_id[0]][1]]
        for place, r in zip([n % 4 for n in range(len(rows))], rows, strict=True)
    ]
    kept = diverse(rows, 9, vectors, seed=0)
    assert Counter(task_id[0] for task_id in kept) == {"a": 3, "b": 3, "c": 3}
    assert kept == diverse(rows, 9, vectors, seed=0)


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(0, 5),
)
def test_clusters_are_a_partition(points: list[list[int]], count: int, seed: int) -> None:
    groups = clusters([[float(x) for x in point] for point in points], count, seed)
    assert sorted(place for group in groups for place in group) == list(range(len(points)))
    assert 1 <= len(groups) <= count
    assert [len(group) for group in groups] == sorted(map(len, groups), reverse=True)


@given(rows_of, steps)
def test_each_strategy_keeps_some_of_what_the_one_before_kept(
    rows: list[Deficiency], selection: list[str]
) -> None:
    try:
        whole = selected(rows, *selection)
    except UsageError as error:
        assert "no gold was scored" in str(error)  # noqa: PT017  # an answer, too
        return
    assert [step.strategy for step in whole.steps] == selection
    for one, following in zip(whole.steps, whole.steps[1:], strict=False):
        assert one.kept == following.given
    assert all(0 <= step.kept <= step.given for step in whole.steps)
    assert len(whole.reasons) == whole.steps[-1].kept
    assert all(len(why) == len(selection) for why in whole.reasons.values())
    order = [row.task_id for row in rows]
    assert [task_id for task_id in order if task_id in whole.reasons] == list(whole.reasons)


def test_the_order_of_strategies_matters() -> None:
    rows = [deficiency(f"t{n}", passes=K * (n % 2)) for n in range(20)]
    assert len(selected(rows, "band", "random:10").reasons) == 10
    assert len(selected(rows, "random:10", "band").reasons) < 10


def test_what_was_not_sampled_is_never_kept() -> None:
    rows = [deficiency("a"), Deficiency("b", "", 0, 0, {}, 0.0, Selection.NO_GOLD)]
    for selection in ("band", "random:9", "quota:other=9,wrong_value=9"):
        assert list(selected(rows, selection).reasons) == ["a"]


def test_only_what_is_left_is_embedded() -> None:
    rows = [deficiency("a", K), deficiency("b"), deficiency("c")]
    seen: list[str] = []

    def watched(tasks: object) -> list[list[float]]:
        assert isinstance(tasks, list)
        seen.extend(one.id for one in tasks)
        return embed(tasks)

    select_tasks(tasks_for(rows), rows, ["band", "diverse:1"], seed=0, embed=watched)
    assert seen == ["b", "c"]
    with pytest.raises(UsageError, match="diverse:1: there is no model"):
        select_tasks(tasks_for(rows), rows, ["diverse:1"], seed=0)


def test_a_selection_says_why() -> None:
    rows = [deficiency("a", 1, perplexity=3.0), deficiency("b", 0, perplexity=2.0)]
    whole = selected(rows, "band", "perplexity:0.5")
    assert whole.to_json() == {
        "steps": [
            {"strategy": "band", "given": 2, "kept": 2},
            {"strategy": "perplexity:0.5", "given": 2, "kept": 1},
        ],
        "tasks": {"a": ["solved by 1 of 4 samples", "gold perplexity 3, of the hardest 50% with calls"]},
    }


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ((), "select is empty"),
        (("bnad",), "unknown selection 'bnad'"),
        (("band:all",), "band takes nothing"),
        (("band:",), "band takes nothing"),
        (("perplexity",), r"share in \(0, 1\]"),
        (("perplexity:30",), r"share in \(0, 1\]"),
        (("perplexity:nan",), r"share in \(0, 1\]"),
        (("quota",), "'' is no error"),
        (("quota:missing_cal=4",), "'missing_cal' is no error"),
        (("quota:missing_call",), "whole number above 0"),
        (("quota:missing_call=4,missing_call=5",), "missing_call is there twice"),
        (("random:0",), "whole number above 0"),
        (("diverse:-3",), "whole number above 0"),
        (("random:²",), "whole number above 0"),
        (("quota:wrong_value=1", "quota:missing_call=1"), "names quota twice; give its errors in one"),
    ],
)
def test_a_mistake_is_named(selection: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_selection(selection)


def test_golds_are_scored_where_they_are_asked_for() -> None:
    assert needs_perplexity(["band", "perplexity:0.3"])
    assert not needs_perplexity(["band"])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a"}, {"a", "b"}, True),
        ({"a", "b"}, {"a"}, False),
        ({"a", "b"}, {"b", "c"}, True),
        ({"a"}, set(), False),
        (set(), set(), False),
    ],
)
def test_a_selection_grows_by_what_is_new(before: set[str], after: set[str], expected: bool) -> None:
    assert grew(before, after) is expected
