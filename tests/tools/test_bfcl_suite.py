"""Reading BFCL's files: made-up ones of the same form, and the installed ones where there are any."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from strop.tools.bfcl.files import find_data
from strop.tools.bfcl.results import write_results
from strop.tools.bfcl.schema import json_schema, tool_of
from strop.tools.bfcl.single import BfclCase
from strop.tools.bfcl.suite import CATEGORIES, GROUPS, LIVE, SINGLE_TURN, load_suite
from strop.tools.errors import DataError, UsageError
from strop.tools.local_suite import Categories
from strop.tools.spec import ToolCall
from strop.tools.suite import Suite
from strop.tools.verdict import ErrorKind

needs_data = pytest.mark.skipif(
    find_spec("bfcl_eval") is None, reason="bfcl-eval, whose data these tests read, is not installed"
)

ORDER = {
    "name": "shop.order",
    "description": "Orders.",
    "parameters": {
        "type": "dict",
        "required": ["item"],
        "properties": {
            "item": {"type": "string", "description": "What."},
            "count": {"type": "integer", "default": 1},
            "price": {"type": "float"},
            "sizes": {"type": "tuple", "items": {"type": "float"}},
            "type": {"type": "any"},
            "to": {"type": "dict", "properties": {"zip": {"type": "integer"}}, "required": ["zip"]},
        },
    },
}


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two categories in the benchmark's form."""
    question = {"question": [[{"role": "user", "content": "Two cups."}]], "function": [ORDER]}
    answer = {"shop.order": {"item": ["cup"], "count": [2, ""], "to": ["", {"zip": [1, 2]}]}}
    write(
        tmp_path / "BFCL_v4_simple_python.json", *({"id": f"simple_python_{n}", **question} for n in range(3))
    )
    answers = ({"id": f"simple_python_{n}", "ground_truth": [answer]} for n in range(3))
    write(tmp_path / "possible_answer" / "BFCL_v4_simple_python.json", *answers)
    write(tmp_path / "BFCL_v4_irrelevance.json", {"id": "irrelevance_0", **question})
    return tmp_path


def single(suite: Suite, place: int = 0) -> BfclCase:
    case = suite.cases[place]
    assert isinstance(case, BfclCase)
    return case


def test_entries_become_tasks(data: Path) -> None:
    suite = load_suite(["irrelevance", "simple_python"], limit=2, data=data)
    assert [case.task.id for case in suite.cases] == ["simple_python_0", "simple_python_1", "irrelevance_0"]
    assert suite.sizes == {"simple_python": 3, "irrelevance": 1}
    task = suite.cases[0].task
    assert task.messages == ({"role": "user", "content": "Two cups."},)
    assert task.gold is not None
    assert task.gold.calls == (ToolCall("shop.order", {"item": "cup", "count": 2, "to": {"zip": 1}}),)
    assert single(suite, 0).score(task.gold.calls).correct
    assert single(suite, 2).score(()).correct


def test_types_become_json_schema_at_every_depth(data: Path) -> None:
    tool = load_suite(["irrelevance"], data=data).cases[0].task.tools[0]
    assert tool.name == "shop.order"
    assert tool.required == ("item",)
    assert tool.parameters["type"] == "object"
    assert tool.properties == {
        "item": {"type": "string", "description": "What."},
        "count": {"type": "integer", "default": 1},
        "price": {"type": "number"},
        "sizes": {"type": "array", "items": {"type": "number"}},
        "type": {"type": "string"},
        "to": {"type": "object", "properties": {"zip": {"type": "integer"}}, "required": ["zip"]},
    }
    assert json_schema({}) == {"type": "string"}


def test_arguments_in_java_are_strings_that_say_what_of() -> None:
    function = {
        "name": "f", "description": "Does it.",
        "parameters": {"type": "dict", "required": ["x"], "properties": {
            "x": {"type": "ArrayList", "items": {"type": "String"}, "description": "Names."},
            "y": {"type": "any"},
        }},
    }  # fmt: skip
    tool = tool_of(function, "java")
    assert tool.required == ("x",)
    assert tool.properties == {
        "x": {"type": "string", "description": "Names. (Java source text: ArrayList of String.)"},
        "y": {"type": "string", "description": "(Java source text: any value.)"},
    }


def test_prose_and_what_cannot_be_read_are_wrong_in_different_ways(data: Path) -> None:
    case = single(load_suite(["simple_python"], data=data))
    assert case.score((), "Which cup?").error is ErrorKind.MISSING_CALL
    assert case.score((), None).error is ErrorKind.MISSING_CALL
    unreadable = case.score((), '{"name": ', "cut off")
    assert unreadable.error is ErrorKind.UNPARSABLE
    assert "ast_decoder:decoder_failed" in unreadable.detail
    assert single(load_suite(["irrelevance"], data=data)).score((), '{"name": ', "cut off").correct


def test_the_version_is_the_datas_and_no_choice_of_categories(data: Path) -> None:
    one, both = (
        load_suite(["irrelevance"], data=data),
        load_suite(["irrelevance", "simple_python"], data=data),
    )
    assert one.version == both.version
    with (data / "BFCL_v4_simple_python.json").open("a") as file:
        file.write("\n")
    assert load_suite(["irrelevance"], data=data).version != one.version


def test_what_is_missing_or_malformed_is_named(data: Path) -> None:
    with pytest.raises(UsageError, match="no BFCL category 'simple'; there are simple_python"):
        load_suite(["simple"], data=data)
    with pytest.raises(UsageError, match="at least 1"):
        load_suite(["irrelevance"], limit=0, data=data)
    with pytest.raises(DataError, match=r"BFCL_v4_multiple\.json: .*pip install --no-deps bfcl-eval=="):
        load_suite(["multiple"], data=data)
    write(
        data / "possible_answer" / "BFCL_v4_simple_python.json", {"id": "simple_python_0", "ground_truth": []}
    )
    with pytest.raises(DataError, match="no answer to 'simple_python_1'"):
        load_suite(["simple_python"], data=data)
    (data / "BFCL_v4_irrelevance.json").write_text('{"id": 1}\n{"id": \n')
    with pytest.raises(DataError, match=r"irrelevance\.json:2: not JSON"):
        load_suite(["irrelevance"], data=data)
    write(data / "BFCL_v4_irrelevance.json", {"id": "irrelevance_0", "function": []})
    with pytest.raises(DataError, match=r"irrelevance\.json:1: no .question"):
        load_suite(["irrelevance"], data=data)


def test_results_are_filed_by_group(tmp_path: Path) -> None:
    row = {
        "id": "live_simple_0-0-0", "category": "live_simple", "content": None, "seconds": 0.5,
        "calls": [{"name": "a.b", "arguments": {"ü": 1}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }  # fmt: skip
    write_results(tmp_path, "org/model", [row])
    (path,) = (tmp_path / "result").rglob("*.json")
    assert path == tmp_path / "result/org_model/live/BFCL_v4_live_simple_result.json"
    assert json.loads(path.read_text()) == {
        "id": "live_simple_0-0-0", "result": [{"a.b": '{"ü": 1}'}],
        "input_token_count": 3, "output_token_count": 2, "latency": 0.5,
    }  # fmt: skip


@needs_data
def test_the_installed_data_are_whole() -> None:
    suite = load_suite(data=find_data())
    assert list(suite.sizes) == list(CATEGORIES)
    assert sum(suite.sizes.values()) == len(suite.cases) == 4441
    assert len({case.task.id for case in suite.cases}) == 4441
    wrong = [
        case.task.id for case in suite.cases
        if isinstance(case, BfclCase) and case.task.gold and not case.score(case.task.gold.calls).correct
    ]  # fmt: skip
    # Their allowed answers contradict their own function documents: no answer satisfies the official checker.
    assert wrong == [
        "simple_java_36", "simple_java_65", "parallel_multiple_12", "parallel_multiple_26",
        "live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3", "live_multiple_964-207-0",
    ]  # fmt: skip


def test_groups_stand_for_their_categories_and_what_is_elsewhere_says_why(data: Path) -> None:
    names = Categories("BFCL", CATEGORIES, GROUPS)
    assert names.resolve(["live", "simple_java"]) == ("simple_java", *LIVE)
    assert names.resolve(["all"]) == CATEGORIES
    with pytest.raises(UsageError, match=r"web_search_base.*over the internet"):
        load_suite(["web_search_base"], data=data)


@needs_data
def test_verdicts_and_reasons_equal_the_official_checkers_on_a_sample() -> None:
    script = import_module("bfcl_agreement")
    suite = load_suite(["single_turn"])
    tally = script.compare(suite.cases[::7], script.load_official(), seed=1, every=40)
    assert tally.differences == []
    assert sum(tally.answers.values()) > 1500
    assert len(tally.answers) == len(SINGLE_TURN)
    assert len(tally.verdicts) > 12
