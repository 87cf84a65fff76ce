"""Cuts follow the call's structure, and depend only on what came before them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from strop.agent.engines.scripted_model import decode, encode
from strop.refine.joints import Joint, cuts
from tests.refine.worlds import call, fenced


def split(text: str, call_format: str = "fenced_json", depth: int = 99) -> list[tuple[str, Joint]]:
    ids = encode(text)
    places = cuts(ids, decode, call_format, depth=depth)
    starts = [0, *(place.end for place in places)]
    return [(decode(ids[a : c.end]), c.joint) for a, c in zip(starts, places, strict=False)]


def squeezed(text: str, call_format: str = "fenced_json") -> list[tuple[str, Joint]]:
    return [("".join(piece.split()), joint) for piece, joint in split(text, call_format)]


def test_a_fenced_call_is_cut_after_its_name_each_argument_and_itself() -> None:
    assert squeezed(fenced(call("f", a="x, y: {z}", b=[1, {"c": 2}], d=4))) == [
        ('```json{"name":"f"', Joint.NAME),
        (',"arguments":{"a":"x,y:{z}",', Joint.ARGUMENT),
        ('"b":[1,{"c":2}],', Joint.ARGUMENT),
        ('"d":4}}', Joint.CALL),
        ("```", Joint.END),
    ]


def test_several_calls_are_cut_one_by_one() -> None:
    joints = [joint for _, joint in split(fenced(call("f", a=1), call("g", b=2)))]
    assert joints == [Joint.NAME, Joint.CALL, Joint.NAME, Joint.CALL, Joint.END]


def test_a_nested_name_is_no_joint() -> None:
    joints = [joint for _, joint in split(fenced(call("f", person={"name": "Ada"})))]
    assert joints == [Joint.NAME, Joint.CALL, Joint.END]


def test_openai_form_and_tags_are_cut_too() -> None:
    text = f"<tool_call>\n{json.dumps({'type': 'function', 'function': call('f', a=1, b=2)})}\n</tool_call>"
    joints = [joint for _, joint in split(text, "hermes")]
    assert joints == [Joint.NAME, Joint.ARGUMENT, Joint.CALL, Joint.CALL, Joint.END]


def test_pythonic_calls() -> None:
    assert squeezed('[f(a="x, (y)", b=[1, 2]), g()]', "pythonic") == [
        ("[f(", Joint.NAME),
        ('a="x,(y)",', Joint.ARGUMENT),
        ("b=[1,2])", Joint.CALL),
        (",g(", Joint.NAME),
        (")", Joint.CALL),
        ("]", Joint.END),
    ]


def test_prose_is_one_fragment() -> None:
    text = "It's (probably) fine, isn't it? See: this, that."
    assert split(text) == split(text, "pythonic") == [(text, Joint.END)]


def test_depth_leaves_the_rest_in_one_piece() -> None:
    pieces = split(fenced(call("f", a=1, b=2, c=3)), depth=2)
    assert [joint for _, joint in pieces] == [Joint.NAME, Joint.END]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
calls_text = st.lists(
    st.builds(
        lambda n, a: {"name": n, "arguments": a},
        st.text(max_size=6),
        st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    ),
    min_size=1,
    max_size=3,
).map(lambda calls: fenced(*calls))
answers = calls_text | st.text(max_size=60) | st.text(alphabet='{}[]()",:\\ né=a\n', max_size=60)


@given(answers, st.sampled_from(["fenced_json", "pythonic"]))
def test_fragments_put_together_are_the_answer(text: str, call_format: str) -> None:
    ids = encode(text)
    places = cuts(ids, decode, call_format, depth=6)
    ends = [place.end for place in places]
    assert ends == sorted(set(ends)) or not ids
    assert ends[-1] == len(ids)
    assert len(places) <= 6
    assert [place.joint for place in places].count(Joint.END) == 1


@given(answers, answers, st.integers(0, 200), st.sampled_from(["fenced_json", "pythonic"]))
def test_cuts_depend_on_nothing_later(one: str, other: str, at: int, call_format: str) -> None:
    """Two answers that begin with the same ids are cut alike as far as both go on."""
    first = encode(one)
    second = (*first[:at], *encode(other))
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    inner = [
        [c for c in cuts(ids, decode, call_format, depth=50) if c.end <= same and c.joint is not Joint.END]
        for ids in (first, second)
    ]
    ends = (len(first), len(second))
    common = [[cut for cut in found if cut.end not in ends] for found in inner]
    assert common[0] == common[1]


@given(calls_text)
def test_every_call_has_a_name_joint_and_a_call_joint(text: str) -> None:
    """Decoding by single bytes, so that joints also fall beside characters of several bytes."""
    joints = [joint for _, joint in split(text)]
    written = json.loads(text.removeprefix("```json\n").removesuffix("\n```"))
    number = len(written) if isinstance(written, list) else 1
    assert joints.count(Joint.NAME) == joints.count(Joint.CALL) == number
