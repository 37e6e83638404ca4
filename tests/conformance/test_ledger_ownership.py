"""Who owns a ledger, what an owner finds when it opens it, and a ledger that is full."""

from __future__ import annotations

import asyncio

import pytest

from muster.backends.ledger_base import Ledger, LedgerBusy, OwnershipLost
from muster.model.ledger import (
    ITEM_PROGRESS,
    Batch,
    CommitResult,
    StoredContract,
)
from muster.model.limits import SHARDS
from muster.model.states import ContractState
from tests.conformance.conftest import MakeLedger
from tests.conformance.records import Record
from tests.support.ledger_rows import (
    ONE,
    T0,
    THREE,
    TWO,
    batch,
    contract,
    item,
    leased,
    response,
)


async def one(ledger: Ledger, number: int = ONE) -> StoredContract:
    (found,) = await ledger.load([number])
    return found


def refused(result: CommitResult) -> list[tuple[str, int, int]]:
    """(kind, contract id, epoch) of what was not taken."""
    return [(each.kind, each.row[0], each.row[1]) for each in result.refused]


# --- ownership ------------------------------------------------------------------------------------


async def test_a_restart_raises_the_generation_and_finds_what_is_open(
    make_ledger: MakeLedger,
) -> None:
    ledger = make_ledger()
    first = await ledger.open()
    assert (first.last_id, list(first.open_contracts), first.position) == (0, [], 0)
    rows = [leased(ONE, 5), contract(TWO, tenant="other"), leased(THREE, 5)]
    await ledger.commit(batch(contracts=rows, events=[(ONE, 1)]))
    items = [item(n, epoch=5) for n in (1, 2)] + [item(3, ITEM_PROGRESS, epoch=5)]
    started = [ONE, 5, T0 + 7]
    result = await ledger.commit(
        batch(starts=[started], items=items, responses=[response(5, THREE)], events=[(ONE, 3)])
    )
    capability = ["acme", "echo", "1.0.0", 1, T0, b"capability"]
    made = Batch(empty=False, capabilities=[capability])
    await ledger.commit(made)
    before = await ledger.load([ONE, TWO])
    await ledger.close()

    ledger = make_ledger()
    second = await ledger.open()
    assert set(second.generations) == set(first.generations) == set(range(SHARDS))
    assert all(second.generations[shard] > first.generations[shard] for shard in range(SHARDS))
    assert second.last_id == THREE
    assert second.position >= result.position
    assert list(second.open_contracts) == before
    assert before[0].state is ContractState.RUNNING
    assert second.output_chunks == {(ONE, 5): (3, 2)}
    counted = await ledger.ended(range(SHARDS), second.last_id, [ONE, TWO])
    assert counted == {(0, "acme", ContractState.SUCCEEDED): 1}
    (row,) = second.catalogue
    assert (row.tenant, row.name, row.version, row.revision) == ("acme", "echo", "1.0.0", 1)
    assert row.capability == b"capability"
    await ledger.close()


async def test_a_second_owner_is_refused_until_the_first_has_left(make_ledger: MakeLedger) -> None:
    first, second = make_ledger(), make_ledger()
    await first.open()
    async with asyncio.timeout(5):
        with pytest.raises(LedgerBusy, match="owner 0"):
            await second.open()
    await second.close()
    assert not (await first.commit(batch(contracts=[contract()]))).refused
    await first.close()
    third = make_ledger()
    assert [each.id for each in (await third.open()).open_contracts] == [ONE]
    await third.close()


async def test_an_owner_that_was_overtaken_writes_nothing(
    make_ledger: MakeLedger, record: Record
) -> None:
    """Were the lock to fail, the generation still fences."""
    first = make_ledger()
    await first.open()
    await record.lose_lock()
    second = make_ledger()
    await second.open()
    with pytest.raises(OwnershipLost):
        await first.commit(batch(contracts=[contract(ONE)]))
    assert not (await second.commit(batch(contracts=[contract(TWO)]))).refused
    assert [each.id for each in await second.load([ONE, TWO])] == [TWO]
    await first.close()
    await second.close()


async def test_closing_is_safe_twice_and_before_opening(make_ledger: MakeLedger) -> None:
    unopened = make_ledger()
    await unopened.close()
    await unopened.close()
    ledger = make_ledger()
    await ledger.open()
    await ledger.close()
    await ledger.close()
