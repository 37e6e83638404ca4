"""Shards are divided among schedulers: each has its share, and few move."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from muster.model.limits import SHARDS
from muster.scheduler.ownership import decide

ALL = range(SHARDS)


def settle(live: set[str], owners: dict[int, str], rounds: int = 10) -> dict[int, str]:
    """Every scheduler decides in turn, as often as it takes; what is released has no owner."""
    owners = dict(owners)
    for _ in range(rounds):
        before = dict(owners)
        for name in sorted(live):
            move = decide(name, live, owners)
            assert all(owners.get(shard, "") not in live for shard in move.claim)
            assert all(owners[shard] == name for shard in move.release)
            owners |= dict.fromkeys(move.claim, name)
            owners |= dict.fromkeys(move.release, "")
        if owners == before:
            return owners
    raise AssertionError(f"still moving after {rounds} rounds")


def test_one_scheduler_owns_everything() -> None:
    assert settle({"a"}, {}) == dict.fromkeys(ALL, "a")


def test_a_newcomer_gets_its_share_and_nothing_else_moves() -> None:
    owners = settle({"a", "b"}, dict.fromkeys(ALL, "a"))
    assert Counter(owners.values()) == {"a": 32, "b": 32}
    three = settle({"a", "b", "c"}, owners)
    assert Counter(three.values()) == {"a": 22, "b": 22, "c": 20}
    assert sum(owners[shard] != three[shard] for shard in ALL) == 20


def test_the_shards_of_a_dead_one_go_to_the_others() -> None:
    owners = settle({"a", "b", "c"}, {})
    left = settle({"a", "c"}, owners)
    assert Counter(left.values()) == {"a": 32, "c": 32}
    kept = [shard for shard in ALL if owners[shard] != "b"]
    assert sum(owners[shard] != left[shard] for shard in kept) == 0


def test_a_scheduler_that_was_restarted_keeps_what_it_had() -> None:
    owners = settle({"a", "b"}, {})
    assert decide("a", {"a", "b"}, owners) == ([], [])


names = st.sampled_from("abcdefgh")


@given(st.sets(names, min_size=1), st.dictionaries(st.integers(0, SHARDS - 1), names))
def test_whatever_came_before_every_shard_finds_one_live_owner(
    live: set[str], owners: dict[int, str]
) -> None:
    settled = settle(live, owners)
    assert set(settled) == set(ALL)
    counts = Counter(settled.values())
    assert set(counts) <= live
    assert max(counts.values()) <= -(-SHARDS // len(live))
