"""What is planted in a file of pairs is found, each defect as itself, and nothing is found in a clean one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from strop.agent.cli.pairs import app
from strop.agent.engines.scripted_model import END_ID, encode
from strop.refine.audit import Audit, Knowledge, Thresholds, audit, audit_file, read_sampled
from strop.refine.collect import CollectConfig, collect
from strop.refine.defects import Defect
from strop.refine.gate import GateConfig
from strop.refine.record import PairRecord, read_records
from strop.refine.search import SearchConfig
from strop.tools.errors import DataError, UsageError
from strop.tools.files import write_json, write_jsonl
from strop.tools.task import Task, tasks_to_rows
from tests.refine.worlds import TASKS, WORLD, call, fenced, policy, task

Row = dict[str, Any]


def question(number: int) -> Task:
    return task(f"Weather in Paris for {number} days?", call("get_weather", city="Paris", days=number))


def evidence(**changes: Any) -> Row:
    return {
        "chosen_value": 1.0, "rejected_value": 0.4, "chosen_visits": 2, "rejected_visits": 3,
        "chosen_verdict": "correct", "rejected_verdict": "wrong_value", "source": "policy",
    } | changes  # fmt: skip


def full(number: int, chosen: str | None = None, rejected: str | None = None) -> Row:
    """A sound pair of whole answers to `question(number)`."""
    right, wrong = (fenced(call("get_weather", city="Paris", days=days)) for days in (number, number + 1))
    texts = (chosen or right, rejected or wrong)
    sides = [(*encode(text), END_ID) for text in texts]
    shared = next(place for place in range(999) if sides[0][place] != sides[1][place])
    return {
        "id": f"full{number}", "task_id": question(number).id, "category": "simple", "kind": "full",
        "prompt_ids": [1000 + number], "prefix_ids": list(sides[0][:shared]),
        "chosen_ids": list(sides[0][shared:]), "rejected_ids": list(sides[1][shared:]),
        "chosen_text": texts[0], "rejected_text": texts[1], "evidence": evidence(),
    }  # fmt: skip


def fragment(number: int) -> Row:
    """A sound pair of fragments; even ones have the longer side chosen."""
    chosen, rejected = (f'{number}00"', "7, ") if number % 2 == 0 else ("8,", f'{number}, "')
    return {
        "id": f"fragment{number}", "task_id": question(number).id, "category": "simple", "kind": "fragment",
        "prompt_ids": [1000 + number], "prefix_ids": [1],
        "chosen_ids": list(encode(chosen)), "rejected_ids": list(encode(rejected)),
        "chosen_text": chosen, "rejected_text": rejected, "evidence": evidence(),
    }  # fmt: skip


def audited(rows: list[Row], thresholds: Thresholds | None = None, *, tasks: bool = True) -> Audit:
    known = {question(number).id: question(number) for number in range(100)} if tasks else None
    records, bad = [], []
    for line, row in enumerate(rows, start=1):
        try:
            records.append(PairRecord.from_json(row, line))
        except DataError as error:
            bad.append((line, str(error)))
    assert not bad
    return audit(records, [], thresholds or Thresholds(), Knowledge(known, {}, (END_ID,)))


def found(rows: list[Row], *, tasks: bool = True) -> set[tuple[int, Defect]]:
    return {(one.line, one.defect) for one in audited(rows, tasks=tasks).findings}


numbers = st.lists(st.integers(1, 40), min_size=2, max_size=6, unique=True)


def clean(chosen: list[int]) -> list[Row]:
    return [make(number) for number in chosen for make in (full, fragment)]


def changed(row: Row, **changes: Any) -> Row:
    return row | changes


def with_evidence(row: Row, **changes: Any) -> Row:
    return row | {"evidence": row["evidence"] | changes}


def swapped(row: Row) -> Row:
    """The opposite, its evidence made to fit."""
    sides = {f"{a}_{what}": row[f"{b}_{what}"] for a, b in (("chosen", "rejected"), ("rejected", "chosen"))
             for what in ("ids", "text")}  # fmt: skip
    return row | sides | {"id": row["id"] + "-opposite"}


def respelled(row: Row) -> Row:
    """The same pair of calls, its chosen side with its keys in another order and a float."""
    number = int(row["id"].removeprefix("full"))
    text = json.dumps({"arguments": {"days": float(number), "city": "Paris"}, "name": "get_weather"})
    return full(number, chosen=text) | {"id": row["id"] + "-respelled"}


ON_A_FULL: dict[Defect, Callable[[Row], Row]] = {
    Defect.UNKNOWN_TASK: lambda row: changed(row, task_id="nobody's"),
    Defect.INCOMPLETE: lambda row: changed(row, rejected_ids=row["rejected_ids"][:-1]),
    Defect.END_INSIDE: lambda row: changed(row, chosen_ids=[*row["chosen_ids"][:-2], END_ID, END_ID]),
    Defect.MARGIN: lambda row: with_evidence(row, rejected_value=0.95),
    Defect.LENGTH: lambda row: changed(row, prompt_ids=row["prompt_ids"] * 2048),
    Defect.STALE: lambda row: with_evidence(row, rejected_verdict="wrong_name"),
}
ON_ANY: dict[Defect, Callable[[Row], Row]] = {
    Defect.CHOSEN_FAILS: lambda row: with_evidence(row, chosen_verdict="wrong_type"),
    Defect.REJECTED_PASSES: lambda row: with_evidence(row, rejected_verdict="correct"),
    Defect.MARGIN: lambda row: with_evidence(row, chosen_value=0.1),
}
ON_A_FRAGMENT: dict[Defect, Callable[[Row], Row]] = {
    Defect.END_INSIDE: lambda row: changed(row, rejected_ids=[*row["rejected_ids"], END_ID]),
    Defect.NESTED: lambda row: changed(row, rejected_ids=[*row["chosen_ids"], 3]),
    Defect.SAME: lambda row: changed(row, rejected_text=row["chosen_text"] + " \n"),
}


@settings(deadline=None, max_examples=40)
@given(numbers)
def test_a_clean_file_has_no_defect(chosen: list[int]) -> None:
    for tasks in (True, False):
        report = audited(clean(chosen), tasks=tasks)
        assert report.findings == ()
        assert report.rejudged == (len(chosen) if tasks else 0)


@settings(deadline=None, max_examples=150)
@given(numbers, st.data())
def test_a_planted_defect_is_found_where_it_is(chosen: list[int], data: st.DataObject) -> None:
    rows = clean(chosen)
    place = data.draw(st.integers(0, len(rows) - 1))
    is_full = rows[place]["kind"] == "full"
    ways = (ON_A_FULL | ON_ANY) if is_full else (ON_A_FRAGMENT | ON_ANY)
    defect = data.draw(st.sampled_from(list(ways)))
    rows[place] = ways[defect](rows[place])
    # With tasks, evidence that is wrong is also evidence that is stale; without, no task is unknown.
    tasks = defect in (Defect.STALE, Defect.UNKNOWN_TASK)
    assert found(rows, tasks=tasks) == {(place + 1, defect)}


@settings(deadline=None, max_examples=40)
@given(numbers, st.data())
def test_rows_that_collide_are_found(chosen: list[int], data: st.DataObject) -> None:
    rows = clean(chosen)
    place = 2 * data.draw(st.integers(0, len(chosen) - 1))  # a full pair
    row, last = rows[place], len(rows) + 1
    assert found([*rows, row], tasks=False) == {(last, Defect.REPEATED)}
    assert found([*rows, respelled(row)]) == {(last, Defect.DUPLICATE)}
    opposite = {(place + 1, Defect.CONFLICT), (last, Defect.CONFLICT)}
    assert found([*rows, swapped(row)], tasks=False) == opposite
    assert found([*rows, swapped(rows[place + 1])]) == {
        (place + 2, Defect.CONFLICT),
        (last, Defect.CONFLICT),
    }


def test_a_row_with_a_defect_of_its_own_speaks_neither_for_nor_against_others() -> None:
    weak = with_evidence(full(3), chosen_value=0.41)
    assert found([weak, full(3)]) == {(1, Defect.MARGIN)}
    wrong = swapped(full(3))
    assert {line for line, _ in found([wrong, full(3)])} == {1}


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), -(10**400)])
def test_a_value_that_cannot_be_compared_makes_no_row(value: float, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", [with_evidence(full(3), chosen_value=value), full(4)])
    records, [bad] = read_records(tmp_path)
    assert [record.id for record in records] == ["full4"]
    assert (bad.line, "'chosen_value' must be a finite number" in bad.reason) == (1, True)


def test_a_row_says_whether_its_prompt_opens_a_thinking_block() -> None:
    right, wrong = (fenced(call("get_weather", city="Paris", days=days)) for days in (3, 4))
    thought = full(3, chosen=f"Three.\n</think>\n{right}", rejected=right)  # all of the other is a thought
    assert (
        found([{**thought, "thinking": True, "evidence": evidence(rejected_verdict="missing_call")}]) == set()
    )
    assert (1, Defect.REJECTED_PASSES) in found([{**thought, "thinking": False}])
    assert found([full(3, chosen=right, rejected=wrong)]) == set()


def test_texts_are_judged_and_not_believed() -> None:
    lies = swapped(full(3))  # prefers the wrong answer; its evidence says otherwise
    assert found([lies], tasks=False) == set()
    assert {defect for _, defect in found([lies])} == {
        Defect.CHOSEN_FAILS,
        Defect.REJECTED_PASSES,
        Defect.STALE,
    }


def test_answers_are_read_as_their_policy_writes_calls(tmp_path: Path) -> None:
    wrong, right = (fenced(call("get_weather", city="Paris", days=days)) for days in (4, 3))
    both = f"{wrong}\n<tool_call>\n{right[8:-4]}\n</tool_call>"
    write_jsonl(tmp_path / "pairs.jsonl", [full(3, chosen=both, rejected=wrong)])
    tasks = {question(3).id: question(3)}
    write_json(tmp_path / "settings.json", {"model": "m", "call_format": "hermes"})
    assert not audit_file(tmp_path, Thresholds(), tasks=tasks).findings
    (tmp_path / "settings.json").unlink()
    found = audit_file(tmp_path, Thresholds(), tasks=tasks).findings
    assert Defect.CHOSEN_FAILS in {one.defect for one in found}


def test_without_end_ids_the_usual_ones_are_looked_for() -> None:
    rows = [full(number) for number in (1, 2, 3)]
    rows[1]["chosen_ids"][-1:] = []
    records = [PairRecord.from_json(row, line) for line, row in enumerate(rows)]
    report = audit(records, [], Thresholds(), Knowledge())
    assert report.end_ids == (END_ID,)
    assert [(one.line, one.defect) for one in report.findings] == [(1, Defect.INCOMPLETE)]


@given(st.floats(0, 0.9), st.floats(0, 1))
def test_a_margin_that_the_gate_accepts_is_not_too_small_for_its_row(low: float, high: float) -> None:
    row = with_evidence(fragment(2), chosen_value=round(high, 6), rejected_value=round(low, 6))
    assert high - low < 0.1 or found([row], tasks=False) == set()


def bias(count: int, *, verdict: str = "wrong_value") -> list[Row]:
    """Fragment pairs, all with the longer side chosen."""
    return [with_evidence(fragment(2 * number), rejected_verdict=verdict) for number in range(1, count + 1)]


def test_shares_refuse_only_where_there_are_enough_pairs() -> None:
    strict = Thresholds(max_bias=0.8)
    assert [one.threshold for one in audited(bias(40), strict).objections] == ["max_bias"]
    assert audited(bias(10), strict).accepted
    assert audited(bias(40, verdict="missing_call"), strict).accepted  # a second call is longer
    assert audited(bias(40), strict).lengths["all"].longer == 40


@pytest.mark.parametrize(("verdict", "objections"), [("wrong_name", ["max_far"]), ("missing_call", [])])
def test_a_call_has_nothing_in_common_with_prose(verdict: str, objections: list[str]) -> None:
    rows = [full(number, rejected=f"{number} days? No.") for number in range(1, 41)]
    rows = [with_evidence(row, rejected_verdict=verdict) for row in rows]
    report = audited(rows, Thresholds(max_far=0.5, far=0.8, max_bias=1), tasks=False)
    assert report.distances["all"].far == 40
    assert [one.threshold for one in report.objections] == objections


def test_nearly_the_same_is_refused_where_nearly_all_pairs_are() -> None:
    near = audited([full(number) for number in range(1, 41)], Thresholds(max_near=0.5))
    assert [one.threshold for one in near.objections] == ["max_near"]


def test_samples_that_were_cut_off_are_no_errors_a_pair_could_reject(tmp_path: Path) -> None:
    attempts = [
        {"ids": [7, 2], "error": "wrong_name", "complete": True},
        {"ids": [7, 3], "error": None, "complete": True},
        {"ids": [7, 9], "error": "unparsable", "complete": False},
    ]
    row = {"errors": {"wrong_name": 1, "unparsable": 1}, "attempts": attempts}
    write_jsonl(tmp_path / "d.jsonl", [row, {"errors": {"wrong_value": 2}}])
    errors, ends = read_sampled(tmp_path / "d.jsonl")
    assert errors == {"wrong_name": 1, "wrong_value": 2}
    assert sorted(ends) == [2, 3]


def test_drift_is_measured_against_the_deficiency_report() -> None:
    records = [PairRecord.from_json(fragment(number), number) for number in range(1, 41)]
    same = audit(records, [], Thresholds(), Knowledge(errors={"wrong_value": 7}))
    other = audit(records, [], Thresholds(), Knowledge(errors={"wrong_value": 10, "missing_call": 30}))
    assert same.drift is not None
    assert other.drift is not None
    assert same.drift.variation == 0
    assert other.drift.variation == pytest.approx(0.75)
    assert other.drift.errors["missing_call"].ratio == 0
    assert [one.threshold for one in other.objections] == ["max_drift"]
    few = audit(records[:2], [], Thresholds(max_drift=0.6), Knowledge(errors=dict.fromkeys("abcdefgh", 1)))
    assert few.drift is not None
    assert few.drift.variation == 1
    assert few.drift.chance > 0.3


def test_what_a_cut_takes() -> None:
    row = changed(fragment(2), prompt_ids=[7] * 100)  # 101 of context, sides of 4 and 3
    assert audited([row], Thresholds(max_length=104)).cut.loss_ids == 1
    cut = audited([row], Thresholds(max_length=50)).cut
    assert (cut.rows, cut.ids, cut.loss_ids, cut.without_loss) == (1, 55, 4, 1)
    assert audited([row], Thresholds(max_length=105)).cut.rows == 0


def test_some_defects_may_be_allowed() -> None:
    rows = [*clean([1, 2, 3, 4, 5]), full(1)]
    assert not audited(rows).accepted
    allowing = audited(rows, Thresholds(allow=0.1))
    assert allowing.accepted
    assert allowing.defects == {"repeated": 1}
    with pytest.raises(UsageError, match="allow"):
        Thresholds(allow=2)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    config = CollectConfig(
        samples=12, search=SearchConfig(simulations=6, max_tokens=400), gate=GateConfig(per_task=20)
    )
    asyncio.run(collect(TASKS, policy(WORLD), config, tmp_path / "c"))
    write_jsonl(tmp_path / "tasks.jsonl", tasks_to_rows(TASKS))
    return tmp_path / "c"


def test_what_is_collected_passes(collection: Path) -> None:
    known = {one.id: one for one in TASKS}
    report = audit_file(collection, Thresholds(), tasks=known)
    assert report.findings == ()
    assert report.accepted
    assert report.rows > 4
    assert report.end_ids == (END_ID,)
    errors, _ = read_sampled(collection / "deficiencies.jsonl")
    assert report.drift is not None
    assert {name for name, one in report.drift.errors.items() if one.samples} == set(errors)


def check(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, words)], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_accepts_and_refuses_with_reasons(collection: Path, tmp_path: Path) -> None:
    code, text = check(collection, "--tasks", tmp_path / "tasks.jsonl")
    assert (code, "accepted" in text) == (0, True)
    lines = (collection / "pairs.jsonl").read_text().splitlines()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([lines[0], "nonsense", "", lines[1], lines[0]]) + "\n")
    code, text = check(broken, "--write-clean", tmp_path / "clean.jsonl")
    assert code == 1
    assert "unreadable: 1 of 4 rows" in text
    assert "line 2" in text
    assert "line 5" in text
    assert "the ids of line 1" in text
    assert (tmp_path / "clean.jsonl").read_text().splitlines() == [lines[0], lines[1]]
    assert check(tmp_path / "clean.jsonl")[0] == 0


def test_the_command_prints_json(collection: Path) -> None:
    code, text = check(collection, "--json", "--max-length", 100)
    report = json.loads(text)
    assert code == 1
    assert report["accepted"] is False
    assert report["defects"] == {"length": report["rows"]}
    assert report["objections"][0]["findings"][0]["line"] == 1


def test_nothing_is_written_in_place(collection: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(collection), "--write-clean", f"{collection}/pairs.jsonl"])
    assert isinstance(result.exception, UsageError)
    empty = collection / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(DataError, match="holds no preference pair"):
        audit_file(empty, Thresholds())
    empty.write_text('{"task_id": "a"}\n')
    with pytest.raises(DataError, match=r"empty\.jsonl:1: not a row of a deficiency report"):
        read_sampled(empty)


def test_a_record_holds_what_the_row_says(collection: Path) -> None:
    records, bad = read_records(collection)
    rows = [json.loads(line) for line in (collection / "pairs.jsonl").read_text().splitlines()]
    assert bad == []
    for record, row in zip(records, rows, strict=True):
        assert record.id == row["id"]
        assert list(record.context_ids) == row["prompt_ids"] + row["prefix_ids"]
        assert list(record.rejected.ids) == row["rejected_ids"]
        assert record.margin == row["evidence"]["chosen_value"] - row["evidence"]["rejected_value"]
    assert replace(records[0], chosen=replace(records[0].chosen, value=None)).margin is None
