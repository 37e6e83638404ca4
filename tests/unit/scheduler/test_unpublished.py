"""Order on the way to the bus: per contract always, whatever the bus refuses, loses or keeps."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from muster.model.ledger import LifecycleEvent
from muster.model.states import ContractState, EventType
from muster.scheduler.unpublished import Entry, Unpublished


def event(contract: int, sequence: int = 1, time_ms: int = 1000) -> LifecycleEvent:
    return LifecycleEvent(
        contract, "t", sequence, EventType.ACCEPTED, ContractState.QUEUED, time_ms,
        "c", 0, "", "", "", contract, "",
    )  # fmt: skip


def ids(entries: list[Entry]) -> list[tuple[int, int]]:
    return [(each.event.contract_id, each.event.sequence) for each in entries]


def begun(*keys: int) -> Unpublished:
    made = Unpublished()
    for key in keys:
        made.begin(key, 0)
    return made


def test_of_a_contract_only_the_oldest_event_is_under_way() -> None:
    events = begun(0)
    events.add(0, 1, [event(7, 1), event(7, 2), event(8, 1)])
    first = events.take(10)
    assert ids(first) == [(7, 1), (8, 1)]
    assert events.take(10) == []
    events.settle(first, [True, True])
    assert ids(events.take(10)) == [(7, 2)]


def test_what_the_bus_did_not_take_comes_again_before_anything_else() -> None:
    events = begun(0)
    events.add(0, 1, [event(7), event(8), event(9)])
    events.settle(events.take(2), [False, False])
    assert ids(events.take(10)) == [(7, 1), (8, 1), (9, 1)]


def test_a_shard_is_published_up_to_what_is_left_of_it() -> None:
    events = begun(3, 4)
    events.add(3, 5, [event(7, 1), event(7, 2)])
    events.add(3, 9, [event(8)])
    events.add(4, 9, [event(9)])
    events.settle(events.take(10), [True, True, True])
    assert events.marks() == {3: 4, 4: 9}, "of the commit at 5 a part is left"
    events.settle(events.take(10), [True])
    assert events.marks() == {3: 9, 4: 9}
    assert len(events) == 0


def test_a_commit_without_events_counts_as_published() -> None:
    events = begun(0)
    events.add(0, 5, [])
    assert events.marks() == {0: 5}
    events.add(0, 6, [event(7)])
    events.add(0, 7, [])
    assert events.marks() == {0: 5}


def test_a_shard_that_is_given_up_is_forgotten_with_what_is_under_way() -> None:
    events = begun(3, 4)
    events.add(3, 1, [event(7, 1), event(7, 2)])
    events.add(4, 1, [event(8)])
    taken = events.take(1)
    events.forget([3, 5])
    assert (len(events), events.marks()) == (1, {4: 0})
    events.settle(taken, [True])
    assert ids(events.take(10)) == [(8, 1)]


def test_a_shard_that_comes_back_begins_anew() -> None:
    events = begun(3)
    events.add(3, 1, [event(7, 1), event(7, 2)])
    taken = events.take(1)
    events.begin(3, 1)
    events.add(3, 2, [event(7, 2)])
    events.settle(taken, [True])
    assert events.marks() == {3: 1}
    assert ids(events.take(10)) == [(7, 2)]


def test_the_oldest_event_tells_how_late_the_bus_is() -> None:
    events = begun(3, 4)
    assert events.oldest_ms == 0
    events.add(3, 1, [event(7, time_ms=2000)])
    events.add(4, 1, [event(8, time_ms=1500)])
    assert events.oldest_ms == 1500


# What happens to a message: acknowledged; stored, but the answer is lost; not stored.
FATES = ("acknowledged", "unanswered", "lost")


@given(
    commits=st.lists(
        st.lists(st.integers(0, 5), max_size=6),  # contracts, each of which gets its next event
        max_size=20,
    ),
    steps=st.lists(st.tuples(st.integers(0, 5), st.lists(st.sampled_from(FATES))), max_size=40),
)
def test_whatever_becomes_of_messages_each_contracts_events_arrive_in_order_and_all(
    commits: list[list[int]], steps: list[tuple[int, list[str]]]
) -> None:
    events = begun(0, 1)
    stored: list[tuple[int, int]] = []  # as the bus has it: each id once
    position_of: dict[tuple[int, int], int] = {}
    told: Counter[int] = Counter()
    waiting = list(enumerate(commits, 1))

    def step(count: int, fates: list[str]) -> None:
        if waiting:
            position, contracts = waiting.pop(0)
            by_key: dict[int, list[LifecycleEvent]] = defaultdict(list)
            for contract in contracts:
                told[contract] += 1
                by_key[contract % 2].append(event(contract, told[contract]))
                position_of[contract, told[contract]] = position
            for key, found in by_key.items():
                events.add(key, position, found)
        taken = events.take(count)
        became = [fates[n] if n < len(fates) else "acknowledged" for n in range(len(taken))]
        for each, fate in zip(ids(taken), became, strict=True):
            if fate != "lost" and each not in stored:
                stored.append(each)
        events.settle(taken, [fate == "acknowledged" for fate in became])
        for each, position in position_of.items():
            assert each in stored or events.marks()[each[0] % 2] < position

    for count, fates in steps:
        step(count, fates)
    while waiting or len(events):
        step(6, [])
    assert sorted(stored) == sorted(position_of)
    for contract in told:
        sequences = [sequence for number, sequence in stored if number == contract]
        assert sequences == list(range(1, told[contract] + 1))
