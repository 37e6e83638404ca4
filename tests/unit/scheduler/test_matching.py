"""Words are found where they are, and shown with what is around them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muster.scheduler.conversations.matching import SNIPPET_BYTES_MAX, find, words_of


def test_all_words_must_occur_wherever() -> None:
    places = [("request", "Wind and rain"), ("response", "Snow")]
    assert find(words_of("SNOW wind"), places) is not None
    assert find(words_of("wind hail"), places) is None
    assert find(words_of(""), places) == []


def test_each_place_is_shown_once_at_its_first_word() -> None:
    found = find(words_of("rain wind"), [("request", "the wind brings rain"), ("labels", "a=b")])
    assert found is not None
    ((one),) = found
    assert (one.place, one.text) == ("request", "the wind brings rain")
    assert one.text.encode()[one.offset : one.offset + one.length] == b"wind"


def test_what_is_far_from_it_is_left_out() -> None:
    found = find(("needle",), [("request", "ä" * 500 + " needle " + "ö" * 500)])
    assert found is not None
    text = found[0].text
    assert text.startswith("…")
    assert text.endswith("…")
    assert len(text.encode()) <= SNIPPET_BYTES_MAX


@given(before=st.text(max_size=300), word=st.text(min_size=1, max_size=300), after=st.text())
def test_a_snippet_fits_and_shows_the_word(before: str, word: str, after: str) -> None:
    words = words_of(word)
    found = find(words, [("request", before + word + after)])
    if found is None or not words:
        return
    for each in found:
        raw = each.text.encode()
        assert len(raw) <= SNIPPET_BYTES_MAX
        shown = raw[each.offset : each.offset + each.length].decode()
        assert shown
        assert any(word.startswith(shown.lower()[:1]) for word in words)
