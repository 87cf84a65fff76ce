"""Synthesised tasks: the gold is stated in the request, valid by the schema, and the same for a seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from strop.tools.errors import UsageError
from strop.tools.judge import judge
from strop.tools.task import Gold, Task
from strop.training.catalogue import CatalogueTool, Unmet, load_catalogue
from strop.training.difficulty import Level, difficulty
from strop.training.offers import can_serve
from strop.training.synth import ALL_CATEGORIES, CATEGORIES, SOURCE, synthesise
from tests.training.arguments import leaves_of

TASKS = synthesise(1500, 7)
OPT_IN = synthesise(600, 7, ["missing_parameters", "follow_up"])
"""What has to be asked for; every law below that is not about the mix holds for these, too."""
EVERY = [*TASKS, *OPT_IN]


def question(task: Task) -> str:
    """All that the user says."""
    return "\n".join(str(turn["content"]) for turn in task.messages if turn["role"] == "user")


def gold(task: Task) -> Gold:
    assert task.gold is not None
    return task.gold


def leaves(value: Any) -> Iterator[Any]:
    """Strings and numbers inside an argument; booleans are said by the words around them."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif not isinstance(value, bool):
        yield value


def sayings() -> dict[str, set[str]]:
    """Every way of saying a value that is not said as it is, over the whole catalogue."""
    found: dict[str, set[str]] = {}
    pools = load_catalogue().pools
    rows = [entry for entries in pools.values() for entry in entries if not isinstance(entry, str)]
    rows += [["celsius", "Celsius"], ["fahrenheit", "Fahrenheit"], ["kelvin", "Kelvin"]]
    rows += [["male", "male", "man"], ["female", "female", "woman"]]
    rows += [["pm2.5", "PM2.5"], ["pm10", "PM10"], ["no2", "NO2"], ["smog", "SMOG"], ["fog", "Fog"]]
    for value, *said in rows:
        found.setdefault(value, set()).update(said)
    return found


SAYINGS = sayings()


def is_stated(value: Any, text: str) -> bool:
    if isinstance(value, str):
        return any(said in text for said in {value, *SAYINGS.get(value, ())})
    percent = f"{value * 100:g}"
    return f"{value}" in text or any(f"{percent}{mark}" in text for mark in ("%", " percent"))


def test_the_categories_come_in_equal_numbers() -> None:
    assert Counter(task.category for task in TASKS) == dict.fromkeys(CATEGORIES, 300)
    assert {task.source for task in TASKS} == {SOURCE}
    assert TASKS[0].id == "synth/simple/00000"


def test_no_two_tasks_are_alike() -> None:
    assert len({question(task) for task in EVERY}) == len(EVERY)
    assert len({task.id for task in EVERY}) == len(EVERY)


def test_calls_and_tools_are_as_many_as_the_category_says() -> None:
    for task in EVERY:
        calls, tools = len(gold(task).calls), len(task.tools)
        assert len({tool.name for tool in task.tools}) == tools, task.id
        match task.category:
            case "simple":
                assert (tools, calls) == (1, 1), task.id
            case "multiple":
                assert (2 <= tools <= 4, calls) == (True, 1), task.id
            case "parallel":
                assert (tools, 2 <= calls <= 6) == (1, True), task.id
            case "parallel_multiple":
                assert 2 <= tools <= 4, task.id
                assert 2 <= len({call.name for call in gold(task).calls}) <= calls <= 5, task.id
            case "follow_up":
                assert (1 <= tools <= 3, calls) == (True, 1), task.id
            case _:
                assert (1 <= tools <= 3, calls) == (True, 0), task.id


def test_gold_calls_are_valid_by_their_tools_schema() -> None:
    for task in EVERY:
        tools = {tool.name: tool for tool in task.tools}
        for call in gold(task).calls:
            schema = {**tools[call.name].parameters, "additionalProperties": False}
            assert list(Draft202012Validator(schema).iter_errors(dict(call.arguments))) == [], task.id


def test_the_judge_finds_the_gold_right_and_an_empty_answer_wrong() -> None:
    for task in EVERY:
        assert judge(gold(task).calls, None, task).correct, task.id
        assert judge((), None, task).correct == (not gold(task).calls), task.id


def test_every_value_of_a_gold_call_is_stated_in_the_question() -> None:
    for task in EVERY:
        for call in gold(task).calls:
            for value in leaves(call.arguments):
                assert is_stated(value, question(task)), (task.id, question(task), value)


def test_no_call_is_asked_for_twice() -> None:
    for task in EVERY:
        calls = [json.dumps(call.to_json()) for call in gold(task).calls]
        assert len(set(calls)) == len(calls), task.id


def test_every_combination_is_wanted_only_where_the_request_says_so_and_nothing_is_set_twice() -> None:
    acting = {tool.name for tool in load_catalogue().tools if tool.acts}
    combined = 0
    for task in synthesise(600, 5, ["parallel"]):
        text = question(task).lower()
        if is_product([dict(leaves_of(call.arguments)) for call in gold(task).calls]):
            combined += "combin" in text
            # Items and sentences of their own may happen to be all combinations, and say each of them.
            assert "combin" in text or any(mark in text[:-1] for mark in (":", ";", "\n", ". ", "? ")), text
        if gold(task).calls[0].name in acting:
            assert "combin" not in text
    assert combined > 30


def is_product(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these are all combinations of the values of two arguments."""
    counts = [len({str(row.get(path)) for row in rows}) for path in rows[0]]
    varying = [count for count in counts if count > 1]
    return len(varying) == 2 and len(rows) == varying[0] * varying[1]


def test_a_refusal_is_prose_that_names_what_is_missing() -> None:
    refusals = [gold(task).response for task in TASKS if task.category == "irrelevance"]
    assert all(text is not None and text.endswith(".") and "{" not in text for text in refusals)
    assert len({text.split(" ")[0] for text in refusals if text}) >= 5
    assert all(gold(task).response is None for task in TASKS if task.category != "irrelevance")


def test_the_tool_that_is_missing_or_overlaps_is_not_on_offer() -> None:
    catalogue = {tool.name: tool for tool in load_catalogue().tools}
    for task in EVERY:
        offered = {tool.name for tool in task.tools}
        for name in offered:
            assert not offered & set(catalogue[name].overlaps), task.id
        if task.category == "irrelevance":
            response = gold(task).response or ""
            for name in offered:
                assert f"can {catalogue[name].does}" not in response, task.id


def asked_for(task: Task) -> CatalogueTool | Unmet:
    """What a refusal says is missing."""
    catalogue = load_catalogue()
    missing: dict[str, CatalogueTool | Unmet] = {tool.does: tool for tool in catalogue.tools}
    missing |= {unmet.missing: unmet for unmet in catalogue.unmet}
    leads = ("can", "cannot", "able to", "have to")
    response = gold(task).response or ""
    said = [text for text in missing if any(f"{lead} {text}" in response for lead in leads)]
    return missing[max(said, key=len)]


def test_no_tool_on_offer_could_meet_what_is_refused() -> None:
    catalogue = {tool.name: tool for tool in load_catalogue().tools}
    for task in synthesise(3000, 11, ["irrelevance"]):
        absent = asked_for(task)
        able = [tool.name for tool in task.tools if can_serve(catalogue[tool.name], absent)]
        assert not able, (question(task), able)


def test_most_refusals_stand_beside_tools_of_what_was_asked() -> None:
    catalogue = {tool.name: tool for tool in load_catalogue().tools}
    refused = [task for task in TASKS if task.category == "irrelevance"]
    near = sum(
        asked_for(task).domain in {catalogue[tool.name].domain for tool in task.tools} for task in refused
    )
    single = sum(len(task.tools) == 1 for task in refused)
    assert 0.6 < near / len(refused) < 0.9
    assert 0.4 < single / len(refused) < 0.75


def test_text_has_no_leftover_markup() -> None:
    for task in EVERY:
        text = question(task)
        assert not set("{}[]<>") & set(text), text
        assert ".." not in text, text
        assert "  " not in text, text
        assert text[0].isupper() or not text[0].isalpha(), text
        assert text.count('"') % 2 == 0, text


def test_prompts_stay_small() -> None:
    """About 4 characters a token: under 900 tokens at most, under 400 on average."""
    sizes = [
        len(json.dumps([tool.to_openai() for tool in task.tools])) + len(question(task)) for task in TASKS
    ]
    assert max(sizes) < 3600
    assert sum(sizes) / len(sizes) < 1600


def test_tasks_survive_a_file() -> None:
    for task in EVERY[::30]:
        again = Task.from_json(json.loads(json.dumps(task.to_json())))
        assert again.to_json() == task.to_json()


@settings(max_examples=15, deadline=None)
@given(st.integers(), st.integers(0, 60), st.integers(0, 60))
def test_a_seed_decides_everything_and_more_tasks_only_add(seed: int, few: int, more: int) -> None:
    assert synthesise(few, seed, ALL_CATEGORIES) == synthesise(few + more, seed, ALL_CATEGORIES)[:few]


def test_seeds_differ() -> None:
    assert [question(task) for task in synthesise(50, 1)] != [question(task) for task in synthesise(50, 2)]


def test_only_the_categories_asked_for_are_made() -> None:
    assert {task.category for task in synthesise(10, 0, ["parallel", "simple"])} == {"parallel", "simple"}


@pytest.mark.parametrize(("n", "categories"), [(5, ["sequential"]), (5, []), (-1, None)])
def test_nonsense_is_refused(n: int, categories: list[str] | None) -> None:
    with pytest.raises(UsageError, match="categories are simple"):
        synthesise(n, 0, categories)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 9), st.integers(0, 20), st.integers(0, 20))
def test_levels_are_kept_and_more_tasks_only_add(seed: int, few: int, more: int) -> None:
    tasks = synthesise(few + more, seed, None, ["medium", "hard"])
    assert synthesise(few, seed, None, ["medium", "hard"]) == tasks[:few]
    assert all(difficulty(task).level in (Level.MEDIUM, Level.HARD) for task in tasks)


def test_categories_without_such_tasks_are_left_out_or_refused() -> None:
    hard = {task.category for task in synthesise(20, 0, None, ["hard"])}
    assert {"parallel", "parallel_multiple"} <= hard <= {"multiple", "parallel", "parallel_multiple"}
    with pytest.raises(UsageError, match="no hard tasks are made of irrelevance"):
        synthesise(20, 0, ["parallel", "irrelevance"], ["hard"])
    with pytest.raises(UsageError, match="no level 'brutal'; there are easy, medium, hard"):
        synthesise(20, 0, None, ["brutal"])


def test_a_list_keeps_quotation_marks_around_every_item() -> None:
    looked_up = [call for task in TASKS for call in gold(task).calls if call.name == "dictionary_lookup"]
    asked = " ".join(question(task) for task in TASKS)
    assert looked_up
    assert all(f'"{call.arguments["word"]}"' in asked for call in looked_up)
    assert not any(f'"{call.arguments["word"]},' in asked for call in looked_up)
