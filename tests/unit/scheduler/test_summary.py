"""The summarizer that is built in: the same text for the same contracts, of bounded size."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from muster.model.states import TERMINAL, ContractState
from muster.scheduler.conversations.excerpts import cut, plain
from muster.scheduler.conversations.summary import (
    BYTES_MIN,
    LINE_BYTES_MAX,
    Answered,
    Piece,
    Spent,
    extract,
    summarize,
)

T0 = 1_700_000_000_000
ROOM = 8_192

PIECE = Piece(
    id=0x1000,
    capability="report.write",
    principal="ann",
    actor="",
    agent="writer",
    state=ContractState.SUCCEEDED,
    accepted_ms=T0,
    ended_ms=T0 + 5_000,
    asked="topic: wind",
    produced="It blows.",
    attempts=1,
)

words = st.text(max_size=60)
pieces = st.builds(
    Piece,
    id=st.integers(1, 2**63 - 1),
    capability=st.text(max_size=128),
    principal=st.text(max_size=128),
    actor=st.text(max_size=20),
    agent=st.text(max_size=128),
    state=st.sampled_from(sorted(TERMINAL)),
    accepted_ms=st.integers(0, 2**45),
    ended_ms=st.integers(0, 2**45),
    asked=st.text(max_size=1_000),
    produced=st.text(max_size=1_000),
    decisions=st.lists(st.text(max_size=300), max_size=3).map(tuple),
    code=words,
    message=words,
    attempts=st.integers(0, 9),
)
answers = st.lists(
    st.builds(Answered, contract_id=st.integers(1, 2**63 - 1), text=words, answer=words, by=words),
    max_size=5,
)


@given(
    found=st.lists(pieces, max_size=40, unique_by=lambda piece: piece.id),
    answered=answers,
    room=st.integers(BYTES_MIN, ROOM),
    shuffled=st.randoms(),
)
def test_it_keeps_within_its_room_and_depends_on_no_order(found, answered, room, shuffled) -> None:
    text = summarize(found, answered, Spent(), room)
    assert len(text.encode()) <= room
    again, others = list(found), list(answered)
    shuffled.shuffle(again)
    shuffled.shuffle(others)
    assert summarize(again, others, Spent(), room) == text


def test_it_keeps_within_its_room_where_a_section_fills_its_share_to_the_byte() -> None:
    # What went wrong takes all that is left.
    found = [
        replace(PIECE, id=n, asked="", produced="", code="E", message="x" * (n % 50))
        for n in range(1, 100)
    ]
    for room in range(BYTES_MIN, BYTES_MIN + 200):
        assert len(summarize(found, [], Spent(), room).encode()) <= room


@given(text=st.text(max_size=2_000), room=st.integers(3, 400))
def test_an_extract_keeps_within_its_room_and_on_one_line(text: str, room: int) -> None:
    made = extract(text, room, {})
    assert len(made.encode()) <= room
    assert "\n" not in made


def test_it_says_what_was_asked_decided_produced_and_what_went_wrong() -> None:
    failed = replace(
        PIECE,
        id=0x2000,
        state=ContractState.FAILED,
        asked="topic: nothing",
        produced="",
        code="NO_TOPIC",
        message="there is none",
    )
    decided = replace(PIECE, decisions=("verdict: accepted",))
    answered = Answered(0x1000, "Publish it?", "yes", "bob")
    text = summarize([decided, failed], [answered], Spent(1_200, 300, 12_345, 2.5), ROOM)
    assert text.splitlines() == [
        "2 contracts, 2023-11-14 22:13:20 to 2023-11-14 22:13:25: 1 succeeded, 1 failed. "
        "Took part: ann (asked 2), writer (worked on 2).",
        "Asked:",
        "- report.write by ann: topic: wind [0000000000001000]",
        "- report.write by ann: topic: nothing [0000000000002000]",
        "Decided:",
        '- "Publish it?" bob answered: yes',
        "- report.write by writer: verdict: accepted [0000000000001000]",
        "Produced:",
        "- report.write by writer: It blows. [0000000000001000]",
        "Went wrong:",
        "- report.write by writer: NO_TOPIC: there is none [0000000000002000]",
        "Spent: 2 attempts, 1200 tokens read and 300 written, cost 0.012345, 2.5 s of CPU.",
    ]


def test_roots_stay_where_there_is_no_room_for_all() -> None:
    children = [replace(PIECE, id=number, actor="lead") for number in range(1, 100)]
    root = replace(PIECE, id=1_000, asked="the root's question")
    text = summarize([*children, root], [], Spent(), BYTES_MIN)
    assert "the root's question" in text
    assert "- 9" in text  # … more


def test_of_long_texts_the_sentences_stay_that_say_what_all_of_them_are_about() -> None:
    filler = "A remark beside it. " * 30
    text = f"{filler}Turbines need steady wind. {filler}"
    weights = {"turbines": 9.0, "need": 9.0, "steady": 9.0, "wind": 9.0, "remark": 1.0}
    made = extract(text, 60, weights)
    assert "Turbines need steady wind." in made
    assert len(made.encode()) <= 60


def test_a_line_is_no_longer_than_it_may_be() -> None:
    piece = replace(PIECE, asked="word " * 500, produced="é" * 1_000)
    for line in summarize([piece], [], Spent(), ROOM).splitlines()[1:-1]:
        assert len(line.encode()) <= LINE_BYTES_MAX


@given(text=st.text(max_size=500), room=st.integers(0, 300))
def test_a_cut_text_fits(text: str, room: int) -> None:
    made = cut(text, room)
    assert len(made.encode()) <= room
    assert made == " ".join(text.split()) or made.endswith("…") or room < 3


def test_json_is_said_in_words() -> None:
    assert plain('{"city":"Rome","days":[1,2],"by":{"rail":true},"no":null}') == (
        "city: Rome; days: [1, 2]; by: {rail: true}; no: null"
    )
    assert plain('"just text"') == "just text"
    assert plain("[1,2]") == "1, 2"
    assert plain("no json") == "no json"
