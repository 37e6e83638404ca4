"""The inbox: what waits, in order, and what watchers of it are told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.errors import InvalidArgument, MusterError, ResourceExhausted
from muster.model.ids import SHARD_SHIFT
from muster.scheduler.answers import check_answer, same_value
from muster.scheduler.inbox import Entry, Inbox, InboxWatcher
from muster.scheduler.inbox_messages import (
    merged_page,
    message_of,
    place_of,
    place_of_text,
    text_of_place,
)
from muster.v1.inbox_service_pb2 import ListQuestionsResponse
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Answer, Question


def entry(number: int, asked_ms: int = 5, tenant: str = "t", name: str = "q") -> Entry:
    return Entry(number, tenant, Question(id=name, text="?"), asked_ms, 0, "echo", "a1")


entries = st.builds(
    entry,
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from(["t", "u"]),
    st.sampled_from(["q", "r", "a/b"]),
)


@given(st.lists(entries, unique_by=lambda each: each.key), st.data())
def test_what_waits_is_listed_in_its_order_whatever_comes_and_goes(
    added: list[Entry], data: st.DataObject
) -> None:
    inbox = Inbox()
    for each in added:
        inbox.add(each)
    keys = [each.key for each in added]
    gone = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    for key in gone:
        inbox.close(key, None)
        inbox.close(key, None)
    left = sorted((each for each in added if each.key not in gone), key=lambda each: each.place)
    assert len(inbox) == len(left)
    for tenant in ("t", "u"):
        mine = [each for each in left if each.tenant == tenant]
        assert list(inbox.after(tenant, None)) == mine
        for at, each in enumerate(mine):
            assert list(inbox.after(tenant, each.place)) == mine[at + 1 :]
        for number in range(1, 10):
            of_it = [each for each in mine if each.subject_id == number]
            assert list(inbox.after(tenant, None, number)) == of_it


@given(st.lists(entries, unique_by=lambda each: each.key), st.integers(1, 3), st.integers(1, 3))
def test_pages_of_several_schedulers_have_each_question_once_and_in_order(
    added: list[Entry], schedulers: int, size: int
) -> None:
    added = [each for each in added if each.tenant == "t"]
    inboxes = [Inbox() for _ in range(schedulers)]
    for each in added:
        inboxes[each.subject_id % schedulers].add(each)
    found: list[Entry] = []
    place = None
    while True:
        pages = []
        for inbox in inboxes:
            mine = list(inbox.after("t", place))
            page = ListQuestionsResponse(entries=map(message_of, mine[:size]))
            page.next_page_token = "more" if len(mine) > size else ""
            pages.append(page)
        page_entries, more = merged_page(pages, size)
        assert len(page_entries) <= size
        found += [
            entry(int(x.subject_id, 16), place_of(x)[0], "t", x.question.id) for x in page_entries
        ]
        if not more:
            break
        place = place_of_text(text_of_place(place_of(page_entries[-1])))
    assert [each.place for each in found] == sorted(each.place for each in added)


def test_shards_that_are_given_up_take_their_questions_with_them() -> None:
    inbox = Inbox()
    kept, gone = entry(1 << SHARD_SHIFT), entry(2 << SHARD_SHIFT)
    inbox.add(kept)
    inbox.add(gone)
    inbox.disown({2})
    assert list(inbox.after("t", None)) == [kept]


async def test_a_watcher_is_told_the_last_of_each_question() -> None:
    inbox, watcher, of_two = Inbox(), InboxWatcher("t", 0), InboxWatcher("t", 2)
    inbox.watch(watcher)
    inbox.watch(of_two)
    one, answer = entry(1), Answer(question_id="q")
    inbox.add(one)
    inbox.add(entry(2))
    inbox.add(entry(3, tenant="u"))
    assert await watcher.take() == {(1, "q"): one, (2, "q"): entry(2)}
    inbox.close(one.key, answer)
    assert await watcher.take() == {(1, "q"): answer}
    assert await of_two.take() == {(2, "q"): entry(2)}
    inbox.unwatch(watcher)
    inbox.close((2, "q"), None)
    assert await of_two.take() == {(2, "q"): None}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await watcher.take()


async def test_a_watcher_that_is_too_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INBOX_BACKLOG_MAX", 3)
    inbox, watcher = Inbox(), InboxWatcher("t", 0)
    inbox.watch(watcher)
    for number in range(1, 6):
        inbox.add(entry(number))
    with pytest.raises(ResourceExhausted, match="too slow"):
        await watcher.take()


async def test_watchers_ask_again_when_shards_move() -> None:
    inbox, watcher = Inbox(), InboxWatcher("t", 0)
    inbox.watch(watcher)
    inbox.moved(MusterError("moved", reason="NOT_READY"))
    with pytest.raises(MusterError, match="moved"):
        await watcher.take()


def test_only_so_many_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHERS_MAX", 1)
    inbox = Inbox()
    inbox.watch(InboxWatcher("t", 0))
    with pytest.raises(ResourceExhausted):
        inbox.watch(InboxWatcher("t", 0))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}', True),
        ("1", "1.0", False),
        ("true", "1", False),
        ('"x"', '"\\u0078"', True),
    ],
)
def test_answers_are_the_same_however_their_json_is_spelled(
    one: str, other: str, same: bool
) -> None:
    assert same_value(Payload(json=one), Payload(json=other)) is same


@pytest.mark.parametrize(
    ("question", "value", "why"),
    [
        (Question(), Payload(), "is empty"),
        (Question(), Payload(json="5"), "is not of type"),
        (Question(), Payload(json="{"), "is not JSON"),
        (Question(choices=[Payload(json="1")]), Payload(json="2"), "none of the choices: 1"),
        (Question(), Payload(json='"' + "x" * limits.ANSWER_BYTES_MAX + '"'), "send it as a blob"),
    ],
)
def test_an_answer_that_is_none_is_refused(question: Question, value: Payload, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as refused:
        check_answer(question, value)
    assert refused.value.reason == "ANSWER_MISMATCH"
    assert refused.value.violations[0].field == "value"
