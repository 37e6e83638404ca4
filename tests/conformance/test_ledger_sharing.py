"""Schedulers that share a ledger: who is there, who has which shards, and what moves with them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from muster.backends.ledger_base import Ledger, OwnershipLost
from muster.backends.postgres import retention, writer
from muster.model.ids import SHARD_SHIFT, shard_of_id
from muster.model.limits import SHARDS
from muster.model.states import ContractState
from tests.conformance.conftest import MakeLedger
from tests.conformance.records import EVERY, LEASE_SECONDS, PostgresRecord, member, waiting_in
from tests.support.ledger_rows import batch, contract, ending, id_at, item, lease, leased, response
from tests.support.processes import until

SHORT_SECONDS = 0.2

only_shared = pytest.mark.parametrize("record", ["postgres"], indirect=True)


def id_in(shard: int, second: int = 1) -> int:
    return id_at(second) | shard << SHARD_SHIFT


A, B = id_in(3), id_in(40)


async def dead(ledger: Ledger) -> bool:
    """Whether any member's lease has run out."""
    return not all(each.live for each in await ledger.members())


async def fall_silent(record: PostgresRecord, owner: str) -> None:
    """Its lease has run out, however fast this machine is."""
    async with record.admin() as admin:
        await admin.execute("UPDATE members SET expires_at = now() WHERE owner = $1", owner)


# --- what every ledger does, also one that cannot be shared ---------------------------------------


async def test_whoever_is_alone_joins_claims_everything_and_stays(make_ledger: MakeLedger) -> None:
    ledger = await member(make_ledger())
    assert [(each.owner, each.address, each.live) for each in await ledger.members()] == [
        ("owner 0", "127.0.0.1:7173", True)
    ]
    opening = await ledger.claim(EVERY)
    assert sorted(opening.generations) == list(EVERY)
    assert set(opening.generations.values()) == {opening.generation}
    assert await ledger.renew()
    owned = await ledger.ownership()
    assert [(each.shard, each.owner, each.live) for each in owned] == [
        (shard, "owner 0", True) for shard in EVERY
    ]
    assert not (await ledger.commit(batch(contracts=[contract(A), contract(B)]))).refused
    again = await ledger.claim(EVERY)
    assert again.generation > opening.generation
    assert [each.id for each in again.open_contracts] == [A, B]
    assert not (await ledger.commit(batch(responses=[response(0, A, author=2)]))).refused
    await ledger.close()


async def test_changes_are_told_at_once_so_that_one_looks(make_ledger: MakeLedger) -> None:
    ledger = await member(make_ledger())
    async with asyncio.timeout(5):
        async for _ in ledger.changes():
            break
    await ledger.close()


async def test_history_by_shard_has_each_shards_events_in_order(make_ledger: MakeLedger) -> None:
    ledger = await member(make_ledger())
    await ledger.claim(EVERY)
    first = await ledger.commit(
        batch(contracts=[leased(A), contract(B)], events=[(A, 1), (B, 1), (A, 2)])
    )
    second = await ledger.commit(batch(responses=[response(1, A)], events=[(A, 3)]))
    everything = await ledger.shard_history({3: 0, 40: 0, 5: 0}, 10)
    assert everything == [
        (3, first.position, [(A, 1), (A, 2)]),
        (3, second.position, [(A, 3)]),
        (40, first.position, [(B, 1)]),
    ]
    assert await ledger.shard_history({3: 0, 40: 0}, 1) == [everything[0], everything[2]]
    assert await ledger.shard_history({3: first.position, 40: first.position}, 9) == everything[1:2]
    assert [each.position for each in await ledger.history(0, 10)] == [
        first.position,
        second.position,
    ]
    assert {pair for each in await ledger.history(0, 1) for pair in each.events} == {
        (A, 1),
        (A, 2),
        (B, 1),
    }
    await ledger.close()


# --- what moves -----------------------------------------------------------------------------------


@only_shared
async def test_nobody_takes_what_a_live_member_has(two: tuple[Ledger, Ledger]) -> None:
    first, second = two
    opening = await second.claim(EVERY)
    assert (opening.generations, opening.generation) == ({}, 0)
    assert list(opening.open_contracts) == []
    with pytest.raises(OwnershipLost):
        await second.commit(batch(contracts=[contract(A)]))
    assert not (await first.commit(batch(contracts=[contract(A)]))).refused


@only_shared
async def test_what_is_released_moves_with_everything_in_it_and_the_rest_stays(
    two: tuple[Ledger, Ledger],
) -> None:
    first, second = two
    ended = id_in(3, 2)
    rows = [leased(A, 5), leased(ended, 6), contract(B)]
    done = await first.commit(
        batch(
            contracts=rows,
            items=[item(1, epoch=5, number=A), item(1, epoch=5, number=B)],
            responses=[response(6, ended)],
            events=[(A, 1), (B, 1)],
        )
    )
    before = {each.shard: each.generation for each in await first.ownership()}
    await first.release([3])
    assert [each.shard for each in await first.ownership() if not each.owner] == [3]
    opening = await second.claim(EVERY)
    assert opening.generations == {3: before[3] + 1}
    assert [each.id for each in opening.open_contracts] == [A]
    counted = await second.ended([3], opening.last_id, [A])
    assert counted == {(3, "acme", ContractState.SUCCEEDED): 1}
    assert opening.output_chunks == {(A, 5): (1, 1)}
    assert opening.last_id == max(A, B, ended)
    assert opening.position >= done.position
    for ledger, mine, others in ((first, B, A), (second, A, B)):
        assert not (await ledger.commit(batch(responses=[response(0, mine, author=2)]))).refused
        with pytest.raises(OwnershipLost):
            await ledger.commit(batch(responses=[response(0, others, author=2)]))


@only_shared
async def test_shards_of_a_member_that_fell_silent_can_be_taken_and_its_commits_are_refused(
    two: tuple[Ledger, Ledger], record: PostgresRecord
) -> None:
    silent, other = two
    await silent.commit(batch(contracts=[leased(A, 1)]))
    await fall_silent(record, "owner 0")
    opening = await other.claim(EVERY)
    assert sorted(opening.generations) == list(EVERY)
    with pytest.raises(OwnershipLost):
        await silent.commit(batch(responses=[response(1, A)]))
    with pytest.raises(OwnershipLost):
        await silent.commit(batch(contracts=[contract(B)]))
    (found,) = await other.load([A, B])
    assert found.response is None
    await silent.close()
    assert not (await other.commit(batch(responses=[response(1, A)]))).refused


@only_shared
async def test_a_member_whose_lease_has_run_out_claims_nothing_until_it_renews(
    make_ledger: MakeLedger,
) -> None:
    ledger = await member(make_ledger(), SHORT_SECONDS)
    await until(lambda: dead(ledger), 5, "the lease runs out")
    assert (await ledger.claim(EVERY)).generations == {}
    await ledger.join("127.0.0.1:7173", LEASE_SECONDS)
    assert len((await ledger.claim(EVERY)).generations) == SHARDS
    await ledger.close()


@only_shared
async def test_of_two_with_one_name_the_newer_one_stays(
    make_ledger: MakeLedger, record: PostgresRecord
) -> None:
    older = await member(make_ledger())
    await older.claim(EVERY)
    newer = record.make("owner 0")
    await newer.connect()
    await newer.join("127.0.0.1:7273", LEASE_SECONDS)
    assert not await older.renew()
    assert await newer.renew()
    # It need not wait for its own predecessor's lease to run out.
    assert len((await newer.claim(EVERY)).generations) == SHARDS
    with pytest.raises(OwnershipLost):
        await older.commit(batch(contracts=[contract(A)]))
    assert (await older.claim(EVERY)).generations == {}
    await older.close()
    assert [(each.owner, each.address) for each in await newer.members()] == [
        ("owner 0", "127.0.0.1:7273")
    ]
    assert {each.owner for each in await newer.ownership()} == {"owner 0"}
    await newer.close()


@only_shared
async def test_two_claim_at_once_and_each_shard_has_one_owner(make_ledger: MakeLedger) -> None:
    ledgers = [await member(make_ledger()) for _ in range(4)]
    for _ in range(5):
        openings = await asyncio.gather(*(each.claim(EVERY) for each in ledgers))
        taken = [shard for opening in openings for shard in opening.generations]
        assert sorted(taken) == list(EVERY)
        for ledger, opening in zip(ledgers, openings, strict=True):
            await ledger.release(opening.generations)
    for ledger in ledgers:
        await ledger.close()


@only_shared
async def test_whoever_leaves_leaves_its_shards_and_everybody_hears_of_it(
    two: tuple[Ledger, Ledger],
) -> None:
    first, second = two
    changes = second.changes()
    async with asyncio.timeout(5):
        await anext(changes)
        await first.release([7])
        await anext(changes)
        await first.claim([7])
        await anext(changes)
        await first.close()
        await anext(changes)
    assert [each.owner for each in await second.members()] == ["owner 1"]
    assert len((await second.claim(EVERY)).generations) == SHARDS


# --- commits and claims at the same time ----------------------------------------------------------


@only_shared
async def test_a_claim_waits_for_what_the_owner_before_is_committing(
    two: tuple[Ledger, Ledger], record: PostgresRecord
) -> None:
    silent, other = two
    await fall_silent(record, "owner 0")

    async def waiting(count: int) -> bool:
        async with record.admin() as admin:
            return await waiting_in(admin) == count

    async with record.admin() as blocker:
        blocking = blocker.transaction()
        await blocking.start()
        await blocker.execute("LOCK TABLE shard_outbox IN EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as tasks:
            row = batch(contracts=[contract(A)], events=[(A, 1)])
            commit = tasks.create_task(silent.commit(row))
            await until(lambda: waiting(1), 2, "the commit is under way")
            claim = tasks.create_task(other.claim(EVERY))
            await until(lambda: waiting(2), 2, "the claim waits for it")
            await blocking.rollback()
    assert not commit.result().refused
    assert [each.id for each in claim.result().open_contracts] == [A]
    assert claim.result().position >= commit.result().position


@only_shared
async def test_nothing_of_the_owner_before_appears_after_a_claim(
    make_ledger: MakeLedger, record: PostgresRecord
) -> None:
    """Two take each other's shards while both write to them as fast as they can."""
    ledgers = [await member(make_ledger()) for _ in range(2)]
    writer_of: dict[int, Ledger] = {}
    stop = asyncio.Event()

    async def write(ledger: Ledger) -> None:
        while not stop.is_set():
            ids = [id_in(shard, 2) + len(writer_of) for shard in range(4)]
            writer_of.update(dict.fromkeys(ids, ledger))
            events = [(each, 1) for each in ids]
            with suppress(OwnershipLost):
                await ledger.commit(batch(contracts=[contract(n) for n in ids], events=events))

    async def take(admin: asyncpg.Connection[asyncpg.Record], turn: int) -> int:
        """Returns how much there was to take."""
        taker = ledgers[turn % 2]
        await admin.execute(
            "UPDATE members SET expires_at = now() + interval '1 h' * "
            "CASE owner WHEN $1 THEN 1 ELSE -1 END",
            f"owner {turn % 2}",
        )
        opening = await taker.claim(range(4))
        assert sorted(opening.generations) == [0, 1, 2, 3]
        taken = {each.id for each in opening.open_contracts}
        await asyncio.sleep(0.02)  # for what must not come
        commits = await taker.shard_history(dict.fromkeys(range(4), 0), 1_000_000)
        there = {number for each in commits for number, _ in each.events}
        assert {n for n in there - taken if writer_of[n] is not taker} == set()
        return len(taken)

    async with record.admin() as admin, asyncio.TaskGroup() as tasks:
        for each in ledgers:
            tasks.create_task(write(each))
        sizes = [await take(admin, turn) for turn in range(10)]
        stop.set()
    assert sizes == sorted(set(sizes)), "each wrote something while it could"
    for ledger in ledgers:
        await ledger.close()


@only_shared
async def test_several_start_at_once_on_an_empty_database(make_ledger: MakeLedger) -> None:
    ledgers = [make_ledger() for _ in range(4)]
    await asyncio.gather(*(each.connect() for each in ledgers))
    for number, each in enumerate(ledgers):
        await each.join(f"127.0.0.1:{number + 1}", LEASE_SECONDS)
    assert len(await ledgers[0].members()) == len(ledgers)
    for each in ledgers:
        await each.close()


@only_shared
async def test_a_scheduler_forgets_old_contracts_of_its_own_shards_only(
    two: tuple[Ledger, Ledger],
) -> None:
    first, second = two
    await first.commit(
        batch(contracts=[leased(A), leased(B)], responses=[response(1, A), response(1, B)])
    )
    await first.release([3])
    await second.claim([3])
    late = 2**50
    assert await second.trim(late, 10) == {(3, "acme", ContractState.SUCCEEDED): 1}
    assert [shard_of_id(each.id) for each in await first.load([A, B])] == [40]
    assert await second.trim(late, 10) == {}
    assert await first.trim(late, 10) == {(40, "acme", ContractState.SUCCEEDED): 1}


@only_shared
async def test_rows_of_one_contract_in_one_segment_are_judged_one_after_the_other(
    two: tuple[Ledger, Ledger],
) -> None:
    """One statement writes all rows of a kind, and does not see what it writes itself."""
    first, _ = two
    await first.commit(batch(contracts=[contract(A)]))
    result = await first.commit(batch(leases=[lease(5, A), lease(6, A)]))
    assert [each.row[1] for each in result.refused] == [6]
    result = await first.commit(batch(endings=[ending(5, A), ending(5, A), ending(6, A)]))
    assert [each.row[1] for each in result.refused] == [6]
    (found,) = await first.load([A])
    assert [each.epoch for each in found.attempts] == [5]


@only_shared
async def test_history_that_is_long_ago_goes_and_it_is_known_from_where_on_it_is_whole(
    two: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    monkeypatch.setattr(writer, "OUTBOX_TRIM_EVERY", 1)
    monkeypatch.setattr(writer, "OUTBOX_COMMITS_KEPT_MAX", 2)
    rows = [batch(contracts=[contract(A + n)], events=[(A + n, 1)]) for n in range(5)]
    positions = [(await first.commit(each)).position for each in rows]
    await first.trim(0, 10)
    everything = await second.shard_history({3: 0}, 10)
    assert [each.position for each in everything] == positions, "nothing is old yet"
    monkeypatch.setattr(retention, "OUTBOX_SECONDS_KEPT_MIN", -3600.0)
    await first.commit(batch(contracts=[contract(B)], events=[(B, 1)]))
    await first.trim(0, 10)
    assert await second.shard_history({3: 0, 40: 0}, 10) == [
        everything[-1],
        (40, positions[-1] + 1, [(B, 1)]),
    ]
    trimmed = {each.shard: each.trimmed for each in await second.ownership()}
    assert (trimmed[3], trimmed[40]) == (positions[3], 0)
