"""Commits of a shard are numbered across its owners, so that whoever watches misses nothing."""

from __future__ import annotations

from muster.backends.ledger_base import Ledger
from tests.conformance.test_ledger_sharing import A, B, only_shared
from tests.support.ledger_rows import batch, contract


@only_shared
async def test_positions_of_a_shard_only_grow_from_owner_to_owner(
    two: tuple[Ledger, Ledger],
) -> None:
    first, second = two
    for count in range(5):
        await first.commit(batch(contracts=[contract(A + count)], events=[(A + count, 1)]))
    await first.release([3])
    await second.claim([3])
    await second.commit(batch(contracts=[contract(A + 5)], events=[(A + 5, 1)]))
    await second.release([3])
    await first.claim([3])
    await first.commit(batch(contracts=[contract(A + 6), contract(B)], events=[(A + 6, 1), (B, 1)]))
    commits = await second.shard_history({3: 0}, 100)
    assert [pair for each in commits for pair in each.events] == [(A + n, 1) for n in range(7)]
    positions = [each.position for each in commits]
    assert positions == sorted(set(positions))


@only_shared
async def test_positions_of_a_new_owner_are_beyond_all_that_the_last_one_told_of_other_shards(
    two: tuple[Ledger, Ledger],
) -> None:
    """One number says to a watcher how far it has come in all shards of an owner."""
    first, second = two
    await first.commit(batch(contracts=[contract(A)], events=[(A, 1)]))
    await first.release([3])
    for count in range(5):
        told = await first.commit(batch(contracts=[contract(B + count)], events=[(B + count, 1)]))
    opening = await second.claim([3])
    assert opening.position > told.position
    # It may not know yet, and commit to what it still has.
    late = await first.commit(batch(contracts=[contract(B + 9)], events=[(B + 9, 1)]))
    mine = await second.commit(batch(contracts=[contract(A + 1)], events=[(A + 1, 1)]))
    assert mine.position > late.position
