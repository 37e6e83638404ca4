"""Finds words in texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SNIPPET_BYTES_MAX = 240
_BEFORE = 60  # characters that are shown before what was found
_BEFORE_BYTES_MAX = 120
_AROUND = SNIPPET_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Found:
    """Where a word occurs: `offset` and `length` in bytes of `text`."""

    place: str
    text: str
    offset: int
    length: int


def words_of(text: str) -> tuple[str, ...]:
    """What is looked for: each word once, in lower case."""
    return tuple(dict.fromkeys(text.lower().split()))


def find(words: Sequence[str], places: Iterable[tuple[str, str]]) -> list[Found] | None:
    """Where words occur in (place, text) pairs, the first of each place; None unless all do."""
    missing, found = set(words), list[Found]()
    for place, text in places:
        lowered = text.lower()
        here = [word for word in words if word in lowered]
        if here:
            found.append(_snippet(place, text, lowered, min(here, key=lowered.index)))
            missing.difference_update(here)
    return None if missing else found


def _snippet(place: str, text: str, lowered: str, word: str) -> Found:
    at = lowered.index(word)
    if len(lowered) != len(text):
        # Lower case may be longer, as of "İ"; then the lowered text is what is shown.
        text = lowered
    start = max(0, at - _BEFORE)
    begins = ("…" if start else "") + _one_line(text[start:at])
    if len(begins.encode()) > _BEFORE_BYTES_MAX:
        begins = "…" + begins.encode()[-_BEFORE_BYTES_MAX + 3 :].decode(errors="ignore")
    hit = _one_line(text[at : at + len(word)])
    rest = _one_line(text[at + len(word) : at + _AROUND])
    room = SNIPPET_BYTES_MAX - len(begins.encode()) - 3
    hit = hit.encode()[: max(0, room)].decode(errors="ignore")
    ends = rest.encode()[: max(0, room - len(hit.encode()))].decode(errors="ignore")
    more = "…" if len(ends) < len(rest) or at + _AROUND < len(text) else ""
    return Found(place, begins + hit + ends + more, len(begins.encode()), len(hit.encode()))


def _one_line(text: str) -> str:
    """Each character that would break the line becomes a space."""
    return "".join(" " if each.isspace() else each for each in text)
