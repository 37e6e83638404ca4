"""What every backend of `Ledger` forgets, and what it keeps."""

from __future__ import annotations

from muster.backends.ledger_base import Ledger
from muster.model.ledger import RESPONSE_COLUMNS
from muster.model.states import ContractState
from tests.support.ledger_rows import (
    FOUR,
    ONE,
    T0,
    THREE,
    TWO,
    batch,
    contract,
    ending,
    item,
    lease,
    leased,
    response,
)

LATE = T0 + 10_000


async def test_what_ended_before_is_forgotten_and_the_rest_is_kept(ledger: Ledger) -> None:
    ended_late = response(2, THREE)
    ended_late[RESPONSE_COLUMNS.index("ended_ms")] = LATE
    await ledger.commit(
        batch(
            contracts=[leased(ONE), leased(TWO), leased(THREE, 2), contract(FOUR)],
            items=[item(1)],
            responses=[response(1, ONE), response(1, TWO), ended_late],
        )
    )
    forgotten = await ledger.trim(LATE, 100)
    assert forgotten == {(0, "acme", ContractState.SUCCEEDED): 2}
    assert [each.id for each in await ledger.load([ONE, TWO, THREE, FOUR])] == [THREE, FOUR]
    assert await ledger.items(ONE, 0, 0, 10) == []
    assert await ledger.trim(LATE, 100) == {}


async def test_the_oldest_are_forgotten_first_and_only_so_many(ledger: Ledger) -> None:
    ids = [ONE, TWO, THREE]
    await ledger.commit(
        batch(contracts=[leased(each) for each in ids], responses=[response(1, e) for e in ids])
    )
    assert sum((await ledger.trim(LATE, 2)).values()) == 2
    assert [each.id for each in await ledger.load(ids)] == [THREE]


async def test_a_request_id_can_be_used_again_when_its_contract_is_forgotten(
    ledger: Ledger,
) -> None:
    first = leased(ONE, request_id="r")
    await ledger.commit(batch(contracts=[first], responses=[response(1)]))
    await ledger.trim(LATE, 100)
    result = await ledger.commit(batch(contracts=[contract(TWO, request_id="r")]))
    assert not result.refused
    found = await ledger.find(("acme", "ann", "r"))
    assert found is not None
    assert found.id == TWO


async def test_nothing_of_an_attempt_is_left_for_a_contract_of_the_same_id(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased()], endings=[ending(1)]))
    await ledger.commit(batch(leases=[lease(2)]))
    await ledger.commit(batch(responses=[response(2)]))
    await ledger.trim(LATE, 100)
    await ledger.commit(batch(contracts=[contract()]))
    (found,) = await ledger.load([ONE])
    assert found.attempts == ()
    assert found.response is None
