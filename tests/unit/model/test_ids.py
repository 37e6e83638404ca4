"""Contract ids, shards and epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model.ids import (
    ID_EPOCH_MS,
    EpochMaker,
    EpochsExhausted,
    IdMaker,
    first_id_at,
    format_id,
    generation_of_epoch,
    parse_id,
    shard_of_id,
    shard_of_scope,
    time_ms_of_id,
)
from muster.model.limits import EPOCH_COUNT_BITS, EPOCH_GENERATION_BITS, SHARDS

IDS_PER_MS = 32_768

shards = st.integers(0, SHARDS - 1)
# Until 2100; the wall clock may go anywhere in it between two ids, back as well as on.
clocks = st.integers(ID_EPOCH_MS + 1, 4_102_444_800_000)
ids = st.integers(0, 2**63 - 1)


@given(ids)
def test_an_id_stands_on_the_wire_as_16_hex_digits_and_comes_back(number: int) -> None:
    text = format_id(number)
    assert len(text) == 16
    assert parse_id(text) == number


@given(ids, ids)
def test_ids_are_ordered_on_the_wire_as_they_are_in_the_ledger(one: int, other: int) -> None:
    assert (format_id(one) < format_id(other)) is (one < other)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0653b29afc8c800", "0653b29afc8c80000", "0653B29AFC8C8000", "0x53b29afc8c8000"),
        *(" 653b29afc8c8000", "0653b29afc8c_000", "+653b29afc8c8000", "-653b29afc8c8000"),
        *("f653b29afc8c8000", "\u0660653b29afc8c800", "0653b29afc8c800g"),
    ],
)
def test_nothing_else_is_an_id(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_id(text)


@given(st.lists(st.tuples(shards, clocks), min_size=1, max_size=50))
def test_ids_of_a_shard_grow_whatever_the_clock_does(calls: list[tuple[int, int]]) -> None:
    maker, last = IdMaker(), dict.fromkeys(range(SHARDS), -1)
    for shard, wall_ms in calls:
        number = maker.make(shard, wall_ms)
        assert shard_of_id(number) == shard
        assert number > last[shard]
        assert time_ms_of_id(number) >= wall_ms
        last[shard] = number
    assert len(set(last.values()) - {-1}) == len({shard for shard, _ in calls})


@given(shards, clocks, st.integers(-(10**9), 10**9))
def test_after_a_restart_ids_go_on_above_the_ledgers_largest(
    shard: int, wall_ms: int, drift_ms: int
) -> None:
    largest = IdMaker().make(shard, wall_ms)
    again = IdMaker(largest)
    for each in range(SHARDS):
        number = again.make(each, max(ID_EPOCH_MS + 1, wall_ms + drift_ms))
        assert number > largest
        assert shard_of_id(number) == each


@given(clocks, st.lists(st.integers(0, 3), max_size=50))
def test_an_id_says_when_it_was_made_unless_the_clock_went_back(
    wall_ms: int, steps: list[int]
) -> None:
    maker = IdMaker()
    for step in steps:
        wall_ms += step
        assert time_ms_of_id(maker.make(5, wall_ms)) == wall_ms


def test_a_full_millisecond_borrows_the_next() -> None:
    maker = IdMaker()
    numbers = [maker.make(7, ID_EPOCH_MS + 10) for _ in range(IDS_PER_MS + 1)]
    assert numbers == sorted(set(numbers))
    assert [time_ms_of_id(number) - ID_EPOCH_MS for number in (numbers[-2], numbers[-1])] == [
        10,
        11,
    ]
    assert all(shard_of_id(number) == 7 for number in numbers)
    assert maker.make(7, ID_EPOCH_MS + 10) > numbers[-1]


@given(shards, clocks)
def test_a_range_of_time_holds_just_the_ids_made_in_it(shard: int, wall_ms: int) -> None:
    number = IdMaker().make(shard, wall_ms)
    assert first_id_at(wall_ms) <= number < first_id_at(wall_ms + 1)


def test_a_time_before_all_ids_holds_none() -> None:
    assert first_id_at(0) == first_id_at(ID_EPOCH_MS) == 0


def test_a_time_after_all_ids_is_one_that_the_ledger_can_hold() -> None:
    assert first_id_at(253_402_300_799_000) == 2**63 - 1


# --- shards ---------------------------------------------------------------------------------------

names = st.text(max_size=20)


def test_a_scope_keeps_its_shard_for_ever() -> None:
    # Written down: another answer from another version would look for trees where they are not.
    scopes = [("default", "local", f"r{number}") for number in range(4)]
    assert [shard_of_scope(*scope) for scope in scopes] == [18, 4, 62, 40]


@given(names, names, names)
def test_every_scope_has_a_shard(tenant: str, principal: str, request_id: str) -> None:
    assert shard_of_scope(tenant, principal, request_id) in range(SHARDS)


def test_scopes_spread_over_the_shards() -> None:
    found = [0] * SHARDS
    for number in range(100 * SHARDS):
        found[shard_of_scope("default", "local", f"request-{number}")] += 1
    assert min(found) > 50
    assert max(found) < 200


# --- epochs ---------------------------------------------------------------------------------------

generations = st.integers(1, 2**EPOCH_GENERATION_BITS - 1)


@given(generations, st.integers(1, 50))
def test_epochs_grow_and_name_their_generation(generation: int, count: int) -> None:
    maker = EpochMaker(generation)
    made = [maker.make() for _ in range(count)]
    assert made == sorted(set(made))
    assert {generation_of_epoch(epoch) for epoch in made} == {generation}
    assert all(0 < epoch == int(float(epoch)) for epoch in made)


@given(generations, generations, st.integers(0, 2**EPOCH_COUNT_BITS - 2))
def test_a_later_generations_first_epoch_is_above_all_earlier_ones(
    one: int, other: int, made: int
) -> None:
    earlier, later = sorted((one, other))
    if earlier == later:
        return
    before = EpochMaker(earlier)
    before._count = made
    assert EpochMaker(later).make() > before.make()


def test_a_generation_ends_before_its_count_overflows() -> None:
    maker = EpochMaker(1)
    maker._count = 2**EPOCH_COUNT_BITS - 2
    last = maker.make()
    assert generation_of_epoch(last) == 1
    with pytest.raises(EpochsExhausted):
        maker.make()


@pytest.mark.parametrize("generation", [0, -1, 2**EPOCH_GENERATION_BITS])
def test_a_generation_out_of_range_is_refused(generation: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        EpochMaker(generation)
