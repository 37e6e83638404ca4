"""How far back a ledger looks for what is open, and how it counts what is not."""

from __future__ import annotations

import pytest

from muster.backends.ledger_base import Ledger, OwnershipLost
from muster.backends.sql import reads
from muster.model.ledger import Settled
from muster.model.limits import SHARDS
from muster.model.states import ContractState
from tests.conformance.conftest import MakeLedger
from tests.conformance.records import Record
from tests.support.ledger_rows import (
    FIVE,
    FOUR,
    ONE,
    THREE,
    TWO,
    batch,
    contract,
    item,
    leased,
    response,
)

SUCCEEDED = (0, "acme", ContractState.SUCCEEDED)  # of shard 0, as all ids here are


async def opened_again(ledger: Ledger, make_ledger: MakeLedger) -> list[int]:
    """What the next owner finds open."""
    await ledger.close()
    made = make_ledger()
    try:
        return [each.id for each in (await made.open()).open_contracts]
    finally:
        await made.close()


async def mark(ledger: Ledger, before: int, *open_ids: int) -> None:
    generations = {each.shard: each.generation for each in await ledger.ownership()}
    await ledger.mark_settled(generations, {0: Settled(before, open_ids)})


async def test_nobody_looks_for_open_contracts_before_a_mark_but_for_those_it_names(
    ledger: Ledger, make_ledger: MakeLedger
) -> None:
    ids = [ONE, TWO, THREE, FOUR, FIVE]
    await ledger.commit(
        batch(contracts=[leased(each) for each in ids], responses=[response(1, FIVE)])
    )
    # ONE is open, and the mark denies it: what is not found was not looked for.
    await mark(ledger, FOUR, TWO, THREE)
    await ledger.commit(batch(responses=[response(1, THREE)]))
    assert await opened_again(ledger, make_ledger) == [TWO, FOUR]


async def test_the_last_mark_counts(ledger: Ledger, make_ledger: MakeLedger) -> None:
    await ledger.commit(batch(contracts=[contract(ONE), contract(TWO)]))
    await mark(ledger, THREE)
    await mark(ledger, TWO, ONE)
    assert await opened_again(ledger, make_ledger) == [ONE, TWO]


async def test_ids_to_come_are_beyond_every_mark(ledger: Ledger, make_ledger: MakeLedger) -> None:
    await ledger.commit(batch(contracts=[contract(ONE)]))
    await mark(ledger, FIVE, ONE)
    await ledger.close()
    made = make_ledger()
    assert (await made.open()).last_id == FIVE
    await made.close()


async def test_items_of_what_is_open_are_found_on_either_side_of_a_mark(
    ledger: Ledger, make_ledger: MakeLedger
) -> None:
    rows = [leased(ONE), leased(TWO), leased(THREE)]
    items = [item(1), item(1, number=TWO), item(1, number=THREE), item(2, number=THREE)]
    await ledger.commit(batch(contracts=rows, items=items, responses=[response(1, TWO)]))
    await mark(ledger, THREE, ONE)
    await ledger.close()
    made = make_ledger()
    assert (await made.open()).output_chunks == {(ONE, 1): (1, 1), (THREE, 1): (2, 2)}
    await made.close()


async def test_whoever_was_overtaken_leaves_no_mark(
    ledger: Ledger, make_ledger: MakeLedger, record: Record
) -> None:
    await ledger.commit(batch(contracts=[contract(ONE)]))
    generations = {each.shard: each.generation for each in await ledger.ownership()}
    await record.lose_lock()
    other = make_ledger()
    await other.open()
    with pytest.raises(OwnershipLost):
        await ledger.mark_settled(generations, {0: Settled(FIVE)})
    assert await opened_again(other, make_ledger) == [ONE]


@pytest.mark.parametrize("record", ["postgres"], indirect=True)
async def test_what_is_not_of_that_generation_any_more_is_left_alone(
    two: tuple[Ledger, Ledger], record: Record
) -> None:
    first, second = two
    await first.commit(batch(contracts=[contract(ONE)]))
    generations = {each.shard: each.generation for each in await first.ownership()}
    await first.release([0])
    await first.mark_settled(generations, {0: Settled(FIVE), 1: Settled(FIVE)})
    assert [each.id for each in (await second.claim([0])).open_contracts] == [ONE]


async def test_what_has_ended_is_counted_up_to_an_id_and_without_what_was_open(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "CHUNK", 2)
    ids = [ONE, TWO, THREE, FOUR, FIVE]
    await ledger.commit(
        batch(
            contracts=[leased(each) for each in ids],
            responses=[response(1, each) for each in ids],
        )
    )
    everything = range(SHARDS)
    assert await ledger.ended(everything, FIVE, ()) == {SUCCEEDED: 5}
    assert await ledger.ended(everything, FOUR, ()) == {SUCCEEDED: 4}
    assert await ledger.ended(everything, FIVE, [FIVE, TWO, ONE]) == {SUCCEEDED: 2}
    assert await ledger.ended(everything, THREE, [ONE, TWO, THREE]) == {}
    assert await ledger.ended([1, 2], FIVE, ()) == {}
