"""Who gets which events, without a bus: rings and feeds, and what is too much."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.executor.core_topics import Wish
from muster.model import limits
from muster.model.errors import InvalidArgument, ResourceExhausted
from tests.unit.executor.topics_desk import Desk, entry, had, take


def test_an_event_stands_in_a_frame_once_for_all_agents_at_the_same_place() -> None:
    desk, session = Desk(), Desk().session()
    for name in "xyz":
        desk.subscribe(session, name, Wish("a", None))
    desk.ring().add([entry(5), entry(6)])
    assert had(session) == [(5, ["x", "y", "z"]), (6, ["x", "y", "z"])]
    assert desk.woken


def test_an_event_for_very_many_agents_is_divided() -> None:
    desk, session = Desk(), Desk().session()
    for number in range(600):
        desk.subscribe(session, f"agent-{number}", Wish("a", None))
    desk.ring().add([entry(5), entry(6)])
    found = had(session)
    assert [(number, len(agents)) for number, agents in found] == [
        (5, 256), (5, 256), (5, 88), (6, 256), (6, 256), (6, 88),
    ]  # fmt: skip
    for number in (5, 6):
        everybody = Counter(name for item, agents in found if item == number for name in agents)
        assert everybody == Counter(f"agent-{n}" for n in range(600))


def test_no_more_is_unacknowledged_than_the_window() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None, window=3))
    desk.subscribe(session, "y", Wish("a", None, window=5))
    desk.ring().add(map(entry, range(1, 11)))
    assert had(session) == [
        *((n, ["x", "y"]) for n in (1, 2, 3)),
        *((n, ["y"]) for n in (4, 5)),
    ]
    desk.topics.acknowledge(session, "x", "a", [2], failed=False)
    assert had(session) == [(4, ["x"])]
    desk.topics.acknowledge(session, "x", "a", [2, 99], failed=False)
    assert had(session) == []


def test_who_is_slower_than_the_ring_is_long_is_told_how_many_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EVENT_RING_EVENTS_MAX", 10)
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None, window=1))
    ring = desk.ring()
    ring.add([entry(1)])
    assert had(session) == [(1, ["x"])]
    ring.add(map(entry, range(2, 32)))
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    assert session.feed is not None
    taken = session.feed.take(1 << 20)
    assert [(gap.agents, gap.missing) for gap in taken.gaps] == [(["x"], 20)]
    assert [event.item for event in taken.events] == [22]


def test_a_ring_keeps_so_many_bytes_and_one_event_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EVENT_RING_BYTES_MAX", 1000)
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None))
    ring = desk.ring()
    ring.add(entry(n, 300) for n in range(1, 10))
    assert ring.next - ring.base == 3
    ring.add([entry(10, 5000)])
    assert ring.next - ring.base == 1


def test_what_everybody_has_had_is_let_go_but_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENT_RING_KEPT_EVENTS", 3)
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None, window=9))
    desk.subscribe(session, "y", Wish("a", None, window=5))
    ring = desk.ring()
    ring.add(map(entry, range(1, 11)))
    had(session)
    desk.topics.deserted(0.0)
    assert (ring.base, ring.next) == (5, 10), "one has not had the rest"
    desk.topics.acknowledge(session, "y", "a", range(1, 6), failed=False)
    assert had(session) == [(number, ["y"]) for number in range(6, 11)]
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    assert had(session) == [(10, ["x"])]
    desk.topics.deserted(0.0)
    assert (ring.base, ring.next) == (7, 10)
    assert ring.has_all_from(8)
    assert not ring.has_all_from(7)


def test_a_frame_closes_where_it_is_full_and_what_is_left_comes_next() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None))
    desk.ring().add(entry(n, 400) for n in range(1, 4))
    assert session.feed is not None
    assert [event.item for event in session.feed.take(1000).events] == [1, 2]
    assert [event.item for event in session.feed.take(100).events] == [3], "one at least"
    assert not session.feed.has_some


def test_who_comes_later_begins_with_what_comes_then() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None))
    desk.ring().add([entry(1), entry(2)])
    desk.subscribe(session, "y", Wish("a", None))
    desk.ring().add([entry(3)])
    assert had(session) == [(1, ["x"]), (3, ["y"]), (2, ["x"]), (3, ["x"])]


def test_who_comes_back_goes_on_within_the_ring() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None))
    desk.ring().add([entry(3), entry(5), entry(9)])
    desk.subscribe(session, "y", Wish("a", None, from_sequence=5))
    assert had(session) == [(3, ["x"]), (5, ["y", "x"]), (9, ["y", "x"])]
    assert not desk.behind()


def test_who_wants_what_is_past_catches_up_and_then_goes_on_with_the_others() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None))
    desk.ring().add([entry(7)])
    desk.subscribe(session, "y", Wish("a", None, from_sequence=4))
    desk.subscribe(session, "z", Wish("a", None, from_sequence=2))
    (ring,) = desk.behind()
    assert ring.from_sequence == 2
    ring.add(map(entry, range(2, 8)))
    assert take(desk, session, "y") == [4, 5, 6, 7]
    desk.topics.caught_up(ring)
    assert not ring.followers
    desk.ring().add([entry(8)])
    assert had(session)[-1][0] == 8
    assert ring in desk.topics.deserted(0.0)


def test_the_end_of_a_bus_that_has_begun_again_hides_nothing() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None, from_sequence=1000))
    (ring,) = desk.behind()
    desk.topics.caught_up(ring)
    desk.ring().add([entry(1), entry(2)])
    assert take(desk, session, "x") == [1, 2]
    desk.ring().add([entry(1)])
    assert take(desk, session, "x") == [1]


def test_sessions_that_end_leave_nothing_behind() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None), Wish("b", "g"))
    desk.topics.end(session)
    assert desk.topics.subscriptions == 0
    desk.ring().add([entry(1)])
    desk.topics.deserted(0.0)
    assert desk.topics.deserted(limits.EVENT_LINGER_SECONDS)
    assert not desk.topics.rings
    assert not desk.topics.groups


def test_what_an_agent_subscribes_to_no_longer_does_not_come() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", None), Wish("b", None))
    desk.ring().add([entry(1)])
    desk.subscribe(session, "x", Wish("b", None))
    assert had(session) == []
    desk.ring("b").add([entry(2)])
    assert had(session) == [(2, ["x"])]


# --- bounds ---------------------------------------------------------------------------------------


def test_what_is_too_much_is_refused_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EVENT_PATTERNS_PER_TENANT_MAX", 2)
    monkeypatch.setattr(limits, "EVENT_SUBSCRIPTIONS_PER_SESSION_MAX", 3)
    desk, session = Desk(), Desk().session()
    with pytest.raises(InvalidArgument, match="twice"):
        desk.subscribe(session, "x", Wish("a", None), Wish("a", "g"))
    with pytest.raises(ResourceExhausted, match="different patterns"):
        desk.subscribe(session, "x", Wish("a", None), Wish("b", None), Wish("c", None))
    desk.subscribe(session, "x", Wish("a", None), Wish("b", None))
    desk.subscribe(session, "y", Wish("a", None))
    with pytest.raises(ResourceExhausted, match="of a session"):
        desk.subscribe(session, "z", Wish("a", None))
    assert desk.topics.subscriptions == 3


def test_groups_that_the_bus_keeps_are_bounded_for_as_long_as_it_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EVENT_GROUPS_KEPT_PER_TENANT_MAX", 3)
    desk, session = Desk(), Desk().session()
    for number in range(3):
        desk.subscribe(session, "x", Wish("a", f"g{number}"))
    with pytest.raises(ResourceExhausted, match="different groups"):
        desk.subscribe(session, "x", Wish("a", "g3"))
    desk.subscribe(session, "x", Wish("a", "g0"))
    desk.subscribe(Desk().session(tenant="u"), "x", Wish("a", "g3"))
    desk.now = limits.EVENT_GROUP_FORGET_SECONDS
    desk.subscribe(session, "x", Wish("a", "g3"))


@given(st.data())
def test_everybody_gets_everything_in_order_or_is_told_how_much_is_missing(
    data: st.DataObject,
) -> None:
    """However slow each is, delivered and missing are together what was published."""
    desk, session = Desk(), Desk().session()
    windows = {name: data.draw(st.integers(1, 4), name) for name in "xyz"}
    for name, window in windows.items():
        desk.subscribe(session, name, Wish("a", None, window=window))
    got: dict[str, list[int]] = {name: [] for name in windows}
    missing = Counter[str]()
    unacked: dict[str, list[int]] = {name: [] for name in windows}
    published = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "EVENT_RING_EVENTS_MAX", 5)
        for step in data.draw(st.lists(st.integers(0, 3), max_size=60), "steps") + [1, 2, 3] * 40:
            if step == 0:
                published += 1
                desk.ring().add([entry(published)])
            elif step == 1 and session.feed is not None:
                taken = session.feed.take(data.draw(st.just(250)))
                for gap in taken.gaps:
                    missing.update(dict.fromkeys(gap.agents, gap.missing))
                for event in taken.events:
                    for name in event.agents:
                        got[name].append(event.item)
                        unacked[name].append(event.item)
                        assert len(unacked[name]) <= windows[name]
            else:
                for name, numbers in unacked.items():
                    if numbers:
                        number = numbers.pop(0)
                        desk.topics.acknowledge(session, name, "a", [number], failed=False)
    for name, numbers in got.items():
        assert numbers == sorted(set(numbers))
        assert len(numbers) + missing[name] == published
