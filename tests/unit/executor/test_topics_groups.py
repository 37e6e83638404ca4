"""Events that agents share, without a bus: each goes to one of them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from muster.executor.core_groups import Group, Offered
from muster.executor.core_topics import Wish
from muster.model import limits
from tests.unit.executor.topics_desk import Desk, had


def offer(group: Group, *sequences: int, now: float = 0.0) -> None:
    for number in sequences:
        group.offer(Offered(number, 100, number, again=False), now)


def test_events_of_a_group_are_divided_and_no_more_are_fetched_than_fit() -> None:
    desk, session = Desk(), Desk().session()
    for name in "xyz":
        desk.subscribe(session, name, Wish("a", "g", window=2))
    group = desk.group()
    assert group.room == 6
    offer(group, 1, 2, 3, 4, 5, 6, 7)
    assert group.room == 0
    assert group.returned == [7]
    assert Counter(agents[0] for _, agents in had(session)) == {"x": 2, "y": 2, "z": 2}


def test_what_is_acknowledged_is_done_and_what_failed_goes_back() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", "g", window=2))
    group = desk.group()
    offer(group, 1, 2)
    had(session)
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    desk.topics.acknowledge(session, "x", "a", [2, 2, 3], failed=True)
    assert (group.done, group.returned) == ([1], [2])
    assert group.room == 2


def test_what_an_agent_holds_goes_back_when_it_leaves() -> None:
    desk, session, other = Desk(), Desk().session(), Desk().session("o")
    desk.subscribe(session, "x", Wish("a", "g"))
    desk.subscribe(other, "y", Wish("a", "g"))
    group = desk.group()
    offer(group, 1, 2, 3, 4)
    had(session)
    desk.topics.end(session)
    assert group.returned == [1, 3]
    assert [number for number, _ in had(other)] == [2, 4]
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    assert group.done == []


def test_an_event_that_takes_too_long_goes_back_and_its_late_ack_is_nothing() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", "g", window=1))
    group = desk.group()
    offer(group, 1)
    had(session)
    group.sweep(limits.EVENT_ACK_SECONDS - 1)
    assert group.returned == []
    group.sweep(limits.EVENT_ACK_SECONDS)
    assert group.returned == [1]
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    assert group.done == []
    assert group.room == 1


def test_an_agent_that_drains_gets_nothing_new_and_finishes_what_it_has() -> None:
    desk, session = Desk(), Desk().session()
    desk.subscribe(session, "x", Wish("a", "g", window=2))
    group = desk.group()
    offer(group, 1)
    desk.topics.close(session)
    assert group.room == 0
    offer(group, 2)
    assert group.returned == [2]
    assert had(session) == [(1, ["x"])]
    desk.topics.acknowledge(session, "x", "a", [1], failed=False)
    assert group.done == [1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=80))
def test_each_event_of_a_group_is_with_one_agent_or_done_or_given_back(
    steps: list[tuple[int, int]],
) -> None:
    desk, session = Desk(), Desk().session()
    names, now, offered = "xyz", 0.0, 0
    group: Group | None = None
    for step, which in [(0, 0), *steps]:
        name = names[which]
        if step == 0:
            desk.subscribe(session, name, Wish("a", "g", window=2))
            group = desk.group()
        assert group is not None
        if step == 1 and group.room:
            offered += 1
            offer(group, offered, now=now)
        elif step == 2:
            had(session)
        elif step == 3:
            for number in group.held[:2]:
                desk.topics.acknowledge(session, name, "a", [number], failed=which == 0)
        elif step == 4:
            desk.topics.unsubscribe(session, name)
        else:
            now += limits.EVENT_ACK_SECONDS / 2
            group.sweep(now)
        all_of_them = Counter([*group.held, *group.done, *group.returned])
        assert all_of_them == Counter(range(1, offered + 1))
        assert 0 <= group.room <= 6
        assert all(0 <= member.held <= 2 for member in group.members)
