"""Text that arrives in pieces is the text that arrives whole, for every way of cutting it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from strop.agent.engines.scripted import ScriptedTemplate
from strop.agent.engines.scripted_model import END_ID
from strop.agent.server.text import Detokenizer, StopFilter, cut

TEXTS = st.text(st.sampled_from("ab☀é🙂\ufffd"), max_size=12)
STOPS = st.lists(st.text(st.sampled_from("ab☀"), min_size=1, max_size=4), max_size=3)
CUTS = st.lists(st.integers(0, 60), max_size=8)


def bounds(length: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    ends = sorted({min(at, length) for at in cuts})
    return list(zip([0, *ends], [*ends, length], strict=True))


@given(TEXTS, CUTS, st.booleans())
def test_ids_in_pieces_are_the_text(text: str, cuts: list[int], ends: bool) -> None:
    template = ScriptedTemplate()
    ids = (*template.encode(text), END_ID) if ends else template.encode(text)
    detokenizer = Detokenizer(template)
    sent = [detokenizer.feed(ids[start:end]) for start, end in bounds(len(ids), cuts)]
    assert "".join(sent) + detokenizer.finish() == text


@given(st.lists(st.integers(0, 257), max_size=20), CUTS)
def test_bytes_that_are_no_text_are_sent_as_the_whole_is_decoded(ids: list[int], cuts: list[int]) -> None:
    template = ScriptedTemplate()
    detokenizer = Detokenizer(template)
    sent = "".join(detokenizer.feed(ids[start:end]) for start, end in bounds(len(ids), cuts))
    body = list(ids)
    while body and body[-1] == END_ID:
        body.pop()
    assert sent + detokenizer.finish() == template.decode(body, skip_special=False)


def test_half_a_character_waits_for_its_other_half() -> None:
    template = ScriptedTemplate()
    detokenizer = Detokenizer(template)
    ids = template.encode("a☀b")
    assert [detokenizer.feed((index,)) for index in ids] == ["a", "", "", "☀", "b"]
    assert detokenizer.finish() == ""


@given(TEXTS, STOPS, CUTS)
def test_stop_texts_cut_pieces_as_they_cut_the_whole(text: str, stops: list[str], cuts: list[int]) -> None:
    stop = StopFilter(stops)
    sent = "".join(stop.feed(text[start:end]) for start, end in bounds(len(text), cuts))
    assert sent + stop.finish() == cut(text, stops)
    assert stop.stopped == any(found in text for found in stops)


@given(TEXTS, STOPS)
def test_nothing_before_the_cut_holds_a_stop_text(text: str, stops: list[str]) -> None:
    kept = cut(text, stops)
    assert text.startswith(kept)
    assert not any(stop in kept for stop in stops)


def test_text_goes_out_as_soon_as_no_stop_text_can_begin_in_it() -> None:
    stop = StopFilter(["\n\n"])
    assert [stop.feed(text) for text in ("one\n", "two", "\n", "\nthree")] == ["one", "\ntwo", "", ""]
    assert stop.stopped
    assert stop.finish() == ""


def test_the_stop_text_that_is_complete_first_counts() -> None:
    assert cut("xabcx", ["abc", "b"]) == "xa"
    assert cut("xabx", ["b", "ab"]) == "x"
