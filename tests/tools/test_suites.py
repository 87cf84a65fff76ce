"""Suites that are judged call by call, from files in their native forms; and a suite of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.tools.errors import DataError, UsageError
from strop.tools.spec import ToolCall
from strop.tools.suite import Suite
from strop.tools.suites import SUITES, load_file

SHARED = Path(__file__).parents[3] / "shared" / "data"


def gold_is_right(suite: Suite) -> None:
    for case in suite.cases:
        assert case.task.gold is not None
        assert case.score(case.task.gold.calls).correct  # type: ignore[arg-type]


APIBANK = {
    "system": (
        "**Available Tools**\n1. Name: Find\nDescription: Finds,\nand more.\n"
        "Parameters: {'word': {'type': 'str', 'description': \"It's a word.\"}, "
        "'at': {'type': 'list(int)'}}\n"
        "2. Other: Does other things.\nParameters: {}\n\n**Steps**\n1. **Think:** well."
    ),
    "user": "**History**\n<user>Find it.</user>\n",
    "answer": {"name": "Find", "parameters": {"word": "it", "at": [1]}},
}


def test_apibank(tmp_path: Path) -> None:
    for level in (1, 2, 3):
        (tmp_path / f"some_level{level}.json").write_text(
            json.dumps([APIBANK, {**APIBANK, "answer": [APIBANK["answer"]]}])
        )
    suite = SUITES["apibank"].load([], limit=1, data=tmp_path)
    assert suite.sizes == {"level1": 2, "level2": 2, "level3": 2}
    assert [case.task.id for case in suite.cases] == ["level1_0", "level2_0", "level3_0"]
    find, other = suite.cases[0].task.tools
    assert (find.name, find.description, other.name) == ("Find", "Finds,\nand more.", "Other")
    assert find.properties == {
        "word": {"description": "It's a word.", "type": "string"},
        "at": {"description": "", "type": "array", "items": {"type": "integer"}},
    }
    gold_is_right(suite)
    (tmp_path / "some_level2.json").write_text(json.dumps([{**APIBANK, "answer": {"name": "No"}}]))
    with pytest.raises(DataError, match=r"level2\.json: row 0: no task of API-Bank .*parameters"):
        SUITES["apibank"].load([], limit=None, data=tmp_path)
    with pytest.raises(UsageError, match="--data"):
        SUITES["apibank"].load([], limit=None, data=None)
    with pytest.raises(DataError, match=r"level1\.json: no such API-Bank file: give a directory"):
        SUITES["apibank"].load(["level1"], limit=None, data=tmp_path / "nowhere")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample of API-Bank's data is not here")
def test_apibank_sample() -> None:
    suite = SUITES["apibank"].load([], limit=None, data=SHARED)
    assert suite.sizes == {"level1": 24, "level2": 8, "level3": 8}
    gold_is_right(suite)


OPENAPI: dict[str, Any] = {
    "paths": {
        "/find/{id}": {"get": {"operationId": "find", "description": "Finds.", "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"},
             "description": "Which."},
            {"$ref": "#/components/parameters/page"},
        ]}},
        "/add": {"post": {"summary": "Adds.", "requestBody": {"content": {"application/json": {"schema": {
            "$ref": "#/components/schemas/thing"
        }}}}}},
    },
    "components": {
        "parameters": {"page": {"name": "page", "in": "query", "schema": {"type": "integer"}}},
        "schemas": {"thing": {
            "properties": {"name": {"type": "string", "description": "Its name."}}, "required": ["name"],
        }},
    },
}  # fmt: skip


def test_toolalpaca(tmp_path: Path) -> None:
    service = {
        "Name": "My Things", "Documentation": json.dumps(OPENAPI), "Instructions": ["Find 3.", "Add a cup."],
        "Golden_Answers": [
            [{"Action": "find", "Action_Input": '{"id": 3, "page": ""}'}],
            [{"Action": "add_post", "Action_Input": '{"name": "cup"}'}],
        ],
    }  # fmt: skip
    (tmp_path / "eval_simulated.json").write_text(json.dumps([service]))
    suite = SUITES["toolalpaca"].load(["simulated"], limit=None, data=tmp_path)
    find, add = suite.cases[0].task.tools
    assert (find.name, find.required, list(find.properties)) == ("find", ("id",), ["id", "page"])
    assert (add.name, add.description, add.required) == ("add_post", "Adds.", ("name",))
    assert [case.task.id for case in suite.cases] == ["simulated_My_Things_0", "simulated_My_Things_1"]
    gold_is_right(suite)
    with pytest.raises(DataError, match=r"eval_real\.json: no such ToolAlpaca file: clone"):
        SUITES["toolalpaca"].load(["real"], limit=None, data=tmp_path)
    (tmp_path / "eval_real.json").write_text(json.dumps([{"Name": "Odd"}]))
    with pytest.raises(DataError, match=r"service 'Odd': KeyError"):
        SUITES["toolalpaca"].load(["real"], limit=None, data=tmp_path)


def test_toolalpacas_tools_have_the_golds_names_and_nobody_is_asked_for_a_key(tmp_path: Path) -> None:
    key = {"name": "key", "in": "query", "required": True, "schema": {"type": "string"}}
    place = {"name": "place", "in": "path", "required": True, "schema": {"type": "string"}}
    document = {
        "paths": {
            "/now/{place}": {"parameters": [place], "get": {"summary": "Now.", "parameters": [key]}},
            "/soon": {"get": {"summary": "Soon.", "parameters": [key]}},
        }
    }
    given = [json.dumps({"key": "secret", "place": "Oslo"}), "{}", '{"symbols": "symbols": []}']
    names = ["now_place_get", "later", "now_place_get"]
    service = {
        "Name": "Sky", "Documentation": json.dumps(document), "Authentication": {"key": "***"},
        "Function_Projection": {"later": ["/soon", "get"]}, "Instructions": ["Oslo?", "Soon?", "What?"],
        "Golden_Answers": [[{"Action": n, "Action_Input": a}] for n, a in zip(names, given, strict=True)],
    }  # fmt: skip
    (tmp_path / "eval_real.json").write_text(json.dumps([service]))
    with pytest.warns(UserWarning, match="real_Sky_2 is left out: its gold is no JSON"):
        suite = SUITES["toolalpaca"].load(["real"], limit=None, data=tmp_path)
    now, soon = suite.cases[0].task.tools
    assert (now.name, list(now.properties), now.required) == ("now_place_get", ["place"], ("place",))
    assert (soon.name, list(soon.properties)) == ("later", [])
    assert len(suite.cases) == 2
    gold_is_right(suite)


MALFORMED = {
    "apibank": ("level1", "a_level1.json", {"system": "", "user": None, "answer": []}),
    "toolalpaca": (
        "real",
        "eval_real.json",
        {"Name": "x", "Documentation": '{"paths": {"/": []}}', "Instructions": [], "Golden_Answers": []},
    ),
}


@pytest.mark.parametrize("suite", MALFORMED)
def test_what_is_malformed_is_named(suite: str, tmp_path: Path) -> None:
    category, file, row = MALFORMED[suite]
    (tmp_path / file).write_text(json.dumps([row]))
    with pytest.raises(DataError, match=file):
        SUITES[suite].load([category], limit=None, data=tmp_path)


def test_sealtools(tmp_path: Path) -> None:
    documents = [{
        "api_name": "getFilm", "api_description": "A film.", "required": ["title"],
        "parameters": {
            "title": {"type": "str", "description": "It's the title"},
            "year": {"type": "int"}, "old": {"type": "bool"},
        },
    }]  # fmt: skip
    calls = [
        {
            "api": "getFilm",
            "parameters": {"title": 'The "One"', "year": "2000", "old": "True"},
            "responses": ["API_call_0"],
        }
    ]
    asked = (
        f'Choose.\n\nInput:\napi_list = {documents!r}\ntask_instruction = "Get "The One" of 2000."\nOutput:\n'
    )
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": repr(calls)}]
    row = {"id": "easy-0", "conversations": turns}
    (tmp_path / "dev.json").write_text(json.dumps([row]))
    suite = SUITES["sealtools"].load(["dev"], limit=None, data=tmp_path)
    (case,) = suite.cases
    assert case.task.messages == ({"role": "user", "content": 'Get "The One" of 2000.'},)
    assert case.task.tools[0].required == ("title",)
    assert case.task.gold is not None
    assert case.task.gold.calls == (ToolCall("getFilm", {"title": 'The "One"', "year": 2000, "old": True}),)
    gold_is_right(suite)
    (tmp_path / "dev.json").write_text(json.dumps([row, {"id": "easy-1", "conversations": []}]))
    with pytest.raises(DataError, match=r"dev\.json: row 1: no task of Seal-Tools"):
        SUITES["sealtools"].load(["dev"], limit=None, data=tmp_path)


def test_a_suite_of_ones_own_is_one_file(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "05_own_benchmark.py"
    suite = load_file(example, ["sums"], limit=None, data=None)
    assert [case.task.category for case in suite.cases] == ["sums", "sums"]
    gold_is_right(suite)
    assert len(example.read_text().splitlines()) <= 52
    right = ToolCall("add", {"a": 17.0, "b": 25.0})
    case: Any = suite.cases[0]
    assert case.score([replace(right, arguments={"b": 17, "a": 25})]).correct
    for wrong in (
        [],
        [right, right],
        [replace(right, name="plus")],
        [ToolCall("add", {"numbers": [17.0, 25.0]})],
    ):
        assert not case.score(wrong).correct
    with pytest.raises(UsageError, match="no category 'nope'; it has sums, stories"):
        load_file(example, ["nope"], limit=None, data=None)
    broken = tmp_path / "broken.py"
    broken.write_text("load_suite = 5\n")
    with pytest.raises(UsageError, match="no function load_suite"):
        load_file(broken, [], limit=None, data=None)
    broken.write_text("def load_suite(categories, *, limit, data): return []\n")
    with pytest.raises(UsageError, match="returned list"):
        load_file(broken, [], limit=None, data=None)
    with pytest.raises(UsageError, match="no such file"):
        load_file(tmp_path / "nowhere.py", [], limit=None, data=None)
