"""Format sensitivity: prompts in the benchmark's words, answers read strictly and never evaluated."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.tools.bfcl.answers import FORMS, NoCallsError, UnreadableError, read_answer
from strop.tools.bfcl.overall import overalls
from strop.tools.bfcl.suite import load_suite
from strop.tools.bfcl.variations import VARIATIONS, VariedCase
from strop.tools.spec import ToolCall
from strop.tools.suite import is_text_case
from strop.tools.verdict import ErrorKind

needs_bfcl = pytest.mark.skipif(util.find_spec("bfcl_eval") is None, reason="bfcl-eval is not installed")


@pytest.mark.parametrize(
    ("text", "form", "tagged", "calls"),
    [
        ("[a.f(x=1, y='b'), g()]", "python", False, [("a.f", {"x": 1, "y": "b"}), ("g", {})]),
        ("`f(x=-1.5)`", "python", False, [("f", {"x": -1.5})]),
        ("f(x=y, z=[1, {'a': None}], t=(1,))", "python", False,
         [("f", {"x": "y", "z": [1, {"a": None}], "t": (1,)})]),
        ("[f(x=2 * 3 + 2 ** 3, y='a' + 'b')]", "python", False, [("f", {"x": 14, "y": "ab"})]),
        ("[f(x=g(y=1), z=h(1), w=a[0])]", "python", False,
         [("f", {"x": {"g": {"y": 1}}, "z": "h(1)", "w": "a[0]"})]),
        ("so: <TOOLCALL>[f(x=1)]</TOOLCALL>!", "python", True, [("f", {"x": 1})]),
        ('```json\n[{"function": "f", "parameters": {"x": 1}}]\n```', "json", False, [("f", {"x": 1})]),
        ("I cannot", "json", False, []),
        ('<functions><function name="f"><params><param name="x" value="[1]" type="array"/></params>'
         "</function></functions>", "verbose_xml", False, [("f", {"x": [1]})]),
        ('<functions><function name="f"><param name="x" type="boolean"> True </param></function></functions>',
         "concise_xml", False, [("f", {"x": True})]),
    ],
)  # fmt: skip
def test_an_answer(text: str, form: str, tagged: bool, calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert read_answer(text, form, tagged) == [ToolCall(name, arguments) for name, arguments in calls]


@pytest.mark.parametrize(
    ("text", "form", "tagged"),
    [
        ("I would call f.", "python", False),
        ("[1, 2]", "python", False),
        ("[f(x=1)]", "python", True),
        ("[f(x=lambda: 0)]", "python", False),
        ("[f(x=open('a') + 1)]", "python", False),
        ("[f(x=9 ** 9 ** 9)]", "python", False),
        ("[f(x='a' * 10 ** 9)]", "python", False),
        ("[f(x=1 / 0)]", "python", False),
        ('[{"name": "f", "parameters": {}}]', "json", False),
        ("<function/>", "verbose_xml", False),
        ('<functions><function name="f"><param name="x" type="integer">one</param></function></functions>',
         "concise_xml", False),
        ("<functions><function></functions>", "concise_xml", False),
    ],
)  # fmt: skip
def test_what_is_no_answer_in_its_form(text: str, form: str, tagged: bool) -> None:
    with pytest.raises(UnreadableError):
        read_answer(text, form, tagged)


def test_something_else_than_calls_has_a_name_of_its_own() -> None:
    with pytest.raises(NoCallsError):
        read_answer('[{"function": "f", "parameters": [1]}]', "json", False)


def test_nothing_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for text in (
        f"[f(x=__import__('pathlib').Path({str(trap)!r}).touch() + 1)]",
        f"[f(x=open({str(trap)!r}, 'w') + 1)]",
    ):
        with pytest.raises(UnreadableError):
            read_answer(text, "python", False)
    assert not trap.exists()


@given(st.text(max_size=80), st.sampled_from(FORMS), st.booleans())
def test_any_text_is_read_or_refused(text: str, form: str, tagged: bool) -> None:
    with suppress(UnreadableError):
        read_answer(text, form, tagged)


@needs_bfcl
def test_every_task_is_asked_in_every_way_and_its_gold_is_right() -> None:
    suite = load_suite(["format_sensitivity"])
    assert suite.sizes == {"format_sensitivity": 5200}
    assert len(VARIATIONS) == len(set(map(str, VARIATIONS))) == 26
    for case in suite.cases[:52]:
        assert isinstance(case, VariedCase)
        assert is_text_case(case)
        system = case.task.messages[0]["content"]
        assert case.base.functions[0]["name"] in system
        assert ("<TOOLCALL>" in system) == case.variation.tagged
        gold = case.base.task.gold
        assert gold is not None
        if case.variation.form == "python" and not case.variation.tagged:
            call = gold.calls[0]
            text = (
                f"[{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})]"
            )
            assert case.score_text(text).correct
            assert case.score_text("Let me see.").error is ErrorKind.UNPARSABLE


@needs_bfcl
def test_ids_and_prompts_are_those_that_were_compared_with_the_official_ones() -> None:
    cases = load_suite(["format_sensitivity"]).cases
    ids = [case.task.id for case in cases]
    assert [ids[place].rpartition(":")[2] for place in (0, 779, 780)] == [
        "simple_python_19", "simple_python_393", "parallel_9",
    ]  # fmt: skip
    assert all(task_id.startswith(f"format_sensitivity_{place}:") for place, task_id in enumerate(ids))
    told = hashlib.sha256()
    for case in cases:
        told.update(json.dumps([case.task.id, case.task.messages]).encode())
    # benchmarks/bfcl_prompts_agreement.py found no difference in these.
    assert told.hexdigest() == "d4b53d5c0d9e5ff349783fb7da9bd4c38f0fd83ce408092ca17ceae70770a254"


def test_the_score_is_how_much_the_ways_differ() -> None:
    verdicts = {f"format_sensitivity_{n}:way{n % 2}:simple_{n}": float(n % 2 and n != 3) for n in range(8)}
    greatest, deviation = overalls({"format_sensitivity": verdicts}, {"format_sensitivity": 8})
    assert greatest.accuracy == pytest.approx(0.75)
    assert deviation.accuracy == pytest.approx(0.75 / 2**0.5)
    assert not greatest.partial
    assert overalls({"format_sensitivity": verdicts}, {"format_sensitivity": 5200})[0].partial
