"""What is changed in a directory, from what there should be and what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from muster.model import limits
from muster.model.directory import (
    Change,
    Entry,
    Probe,
    Put,
    Remove,
    Renew,
    State,
    TimeToLive,
    Upkeep,
    meta_list,
    meta_text,
    share_of,
)

ALL = 1_000
PERIOD = limits.DIRECTORY_TTL_SECONDS / limits.DIRECTORY_RENEWALS_PER_TTL


def agent(number: int, **more: str) -> Entry:
    return Entry(f"agent:{number}", "agent", "me", TimeToLive(), meta=more)


SERVICE = Entry("service:1", "registry", "me", Probe("muster.v1.RegistryService"), "127.0.0.1:1")


class There:
    """A directory, as far as one owner sees it."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.taken: list[Change] = []

    def read(self, owner: str = "me") -> dict[str, str]:
        return {at: each.digest for at, each in self.entries.items() if each.owner == owner}

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.taken.append(change)
            if isinstance(change, Remove):
                self.entries.pop(change.id, None)
            elif isinstance(change, Put):
                self.entries[change.entry.id] = change.entry
            else:
                known = self.entries[change.entry.id]
                self.entries[change.entry.id] = replace(known, state=change.entry.state)

    def mend(self, upkeep: Upkeep, now: float, at_once: int = ALL) -> list[Change]:
        """Takes every step that is due; returns them."""
        before = len(self.taken)
        while changes := upkeep.due(now, at_once):
            self.apply(changes)
            upkeep.done(changes, now)
        return self.taken[before:]


def test_nothing_is_changed_before_it_is_known_what_is_there() -> None:
    upkeep = Upkeep()
    upkeep.want(agent(1))
    assert upkeep.due(0, ALL) == []
    upkeep.read({})
    assert upkeep.due(0, ALL) == [Put(agent(1))]


def test_what_is_there_is_not_put_again_but_renewed_for_nobody_knows_how_it_is() -> None:
    upkeep, there = Upkeep(), There()
    there.entries = {each.id: each for each in (agent(1), SERVICE)}
    upkeep.want(agent(1))
    upkeep.want(SERVICE)
    upkeep.read(there.read())
    assert there.mend(upkeep, 0) == [Renew(agent(1))]


def test_only_what_differs_is_changed() -> None:
    upkeep, there = Upkeep(), There()
    for number in range(3):
        upkeep.want(agent(number))
    upkeep.read({})
    there.mend(upkeep, 0)
    upkeep.want(agent(0))
    upkeep.want(agent(1, zone="b"))
    upkeep.want(replace(agent(2), state=State.WARNING))
    changed = [Put(agent(1, zone="b")), Renew(replace(agent(2), state=State.WARNING))]
    assert there.mend(upkeep, 0) == changed
    upkeep.drop("agent:0")
    assert there.mend(upkeep, 0) == [Remove("agent:0")]


def test_renewals_are_spread_and_none_comes_late() -> None:
    upkeep, there = Upkeep(), There()
    for number in range(600):
        upkeep.want(agent(number))
    upkeep.read({})
    there.mend(upkeep, 0)
    last = dict.fromkeys(there.entries, 0.0)
    for second in range(1, 181):
        renewed = there.mend(upkeep, second)
        assert len(renewed) <= 3 * 600 / PERIOD
        for change in renewed:
            assert isinstance(change, Renew)
            assert second - last[change.entry.id] <= PERIOD + 1
            last[change.entry.id] = second
    assert len(there.taken) <= 600 * (1 + 180 / (0.9 * PERIOD) + 1)


def test_a_directory_that_comes_back_empty_is_filled_again() -> None:
    upkeep, there = Upkeep(), There()
    wanted = [SERVICE, *(agent(number) for number in range(20))]
    for entry in wanted:
        upkeep.want(entry)
    upkeep.read({})
    there.mend(upkeep, 0)
    there.entries.clear()
    upkeep.lost()
    assert upkeep.due(1, ALL) == []
    upkeep.read(there.read())
    assert there.mend(upkeep, 1, at_once=3) == [Put(entry) for entry in wanted]


def test_after_it_was_away_everything_is_renewed_at_once() -> None:
    upkeep, there = Upkeep(), There()
    for number in range(20):
        upkeep.want(agent(number))
    upkeep.read({})
    there.mend(upkeep, 0)
    upkeep.lost()
    upkeep.read(there.read())
    assert there.mend(upkeep, 1) == [Renew(agent(number)) for number in range(20)]


def test_what_an_earlier_life_left_may_be_wanted_again_for_a_while() -> None:
    upkeep, there = Upkeep(adopt_until=10), There()
    there.entries = {each.id: each for each in (agent(1), agent(2), agent(3))}
    upkeep.read(there.read())
    assert there.mend(upkeep, 5) == []
    upkeep.want(agent(1))
    upkeep.want(agent(2))
    assert there.mend(upkeep, 5) == [Renew(agent(1)), Renew(agent(2))]
    upkeep.drop("agent:2")
    assert there.mend(upkeep, 5) == [Remove("agent:2")]
    upkeep.read(there.read())
    assert there.mend(upkeep, 11) == [Remove("agent:3")]


def test_what_is_handed_over_is_let_be_until_the_other_has_had_time() -> None:
    upkeep, there = Upkeep(), There()
    for number in (1, 2):
        upkeep.want(agent(number))
    upkeep.read({})
    there.mend(upkeep, 0)
    upkeep.hand_over("agent:1")
    upkeep.hand_over("agent:2")
    upkeep.read(there.read())
    assert there.mend(upkeep, 1) == []
    there.entries["agent:1"] = replace(agent(1), owner="other")
    upkeep.read(there.read())
    assert there.mend(upkeep, 2) == [Remove("agent:2")]
    assert there.entries.keys() == {"agent:1"}


def test_who_leaves_takes_everything_out_unless_others_take_it_over() -> None:
    for has_heirs in (False, True):
        upkeep, there = Upkeep(), There()
        for entry in (SERVICE, agent(1)):
            upkeep.want(entry)
        upkeep.read({})
        there.mend(upkeep, 0)
        upkeep.has_heirs = has_heirs
        upkeep.leave()
        there.mend(upkeep, 0)
        assert list(there.entries) == (["agent:1"] if has_heirs else [])


@settings(max_examples=200)
@given(st.data())
def test_whatever_happened_there_is_what_is_wanted_in_the_end(data: st.DataObject) -> None:
    upkeep, there, wanted = Upkeep(), There(), dict[str, Entry]()
    numbers, zones = st.integers(0, 4), st.sampled_from(["a", "b"])
    for now in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from("want drop change lose forget read mend partly".split()))
        entry = replace(
            agent(data.draw(numbers), zone=data.draw(zones)),
            state=data.draw(st.sampled_from(list(State))),
        )
        if step == "want":
            upkeep.want(entry)
            wanted[entry.id] = entry
        elif step == "drop":
            upkeep.drop(entry.id)
            wanted.pop(entry.id, None)
        elif step == "change":  # somebody else did
            there.entries[entry.id] = entry
            upkeep.lost()
        elif step == "lose":
            upkeep.lost()
        elif step == "forget":
            there.entries.pop(entry.id, None)
            upkeep.lost()
        elif step == "read":
            upkeep.read(there.read())
        elif step == "mend":
            there.mend(upkeep, now)
        else:
            there.apply(upkeep.due(now, 2)[:1])  # and the answer was lost
            upkeep.lost()
    upkeep.read(there.read())
    there.mend(upkeep, 30)
    assert there.entries == wanted
    assert there.mend(upkeep, 30) == []


@given(st.sets(st.text(min_size=1), min_size=1, max_size=5), st.text())
def test_each_entry_falls_to_exactly_one_member(members: set[str], entry_id: str) -> None:
    assert sum(share_of(each, members, entry_id) for each in members) == 1


def test_a_member_that_goes_moves_only_what_it_kept() -> None:
    def keeper(entry_id: str, members: Collection[str]) -> str:
        return next(each for each in members if share_of(each, members, entry_id))

    ids = [f"agent:{number}" for number in range(300)]
    before = {at: keeper(at, ("a", "b", "c")) for at in ids}
    after = {at: keeper(at, ("a", "b")) for at in ids}
    assert all(after[at] == before[at] for at in ids if before[at] != "c")
    assert all(60 < list(before.values()).count(member) < 140 for member in "abc")


def test_values_that_are_too_long_are_cut_where_it_does_not_hurt() -> None:
    assert meta_list(["a.b@1.0.0", "c@2.0.0"]) == "a.b@1.0.0,c@2.0.0"
    long = meta_list(f"capability.number{number}@1.0.0" for number in range(100))
    assert len(long) <= limits.DIRECTORY_META_BYTES_MAX
    names = long.split(",")
    assert names[-1] == f"+{100 - len(names) + 1}"
    assert len(meta_text("ü" * 600).encode()) == limits.DIRECTORY_META_BYTES_MAX
