"""What every backend of `Ledger` tells of conversations."""

from __future__ import annotations

from typing import Any

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.conversations import ConversationQuery
from muster.model.ids import first_id_at
from muster.model.ledger import Batch, ContractQuery
from muster.model.records import Action, Row, RowQuery
from muster.model.states import ContractState
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.covering import choose, uncovered
from muster.v1.memory_pb2 import MemoryBlock
from tests.support.ledger_rows import (
    FIVE,
    FOUR,
    ONE,
    T0,
    THREE,
    TWO,
    batch,
    contract,
    ending,
    lease,
    leased,
    response,
)


async def fill(ledger: Ledger) -> None:
    """Three contracts of one conversation, one of another, one of none; another tenant's too."""
    await ledger.commit(
        batch(
            contracts=[
                leased(ONE, conversation="talk"),
                contract(TWO, conversation="talk", parent_id=ONE, actor="a1"),
                contract(THREE),
                leased(FOUR, conversation="other"),
                contract(FIVE, conversation="talk", tenant="globex"),
            ],
            leases=[lease(2, TWO)],
            responses=[response(1, ONE)],
        )
    )
    await ledger.commit(batch(endings=[ending(2, TWO)]))
    await ledger.commit(batch(leases=[lease(3, TWO)]))


async def ids(ledger: Ledger, **query: Any) -> list[int]:
    found = await ledger.conversing(ConversationQuery(**query))
    briefs = await ledger.briefs(ConversationQuery(**query))
    assert [number for number, _, _ in found] == [each.id for each in briefs]
    return [number for number, _, _ in found]


async def test_contracts_of_conversations_come_in_order_of_their_ids(ledger: Ledger) -> None:
    await fill(ledger)
    assert await ids(ledger) == [ONE, TWO, FOUR, FIVE]
    assert await ids(ledger, tenant="acme") == [ONE, TWO, FOUR]
    assert await ids(ledger, tenant="acme", descending=True) == [FOUR, TWO, ONE]
    assert await ids(ledger, tenant="acme", conversation="talk") == [ONE, TWO]
    assert await ids(ledger, tenant="acme", after=ONE, before=FOUR) == [TWO]
    assert await ids(ledger, tenant="acme", limit=1) == [ONE]
    assert await ids(ledger, tenant="acme", conversation="a\0b") == []
    assert (await ledger.conversing(ConversationQuery("globex")))[0] == (FIVE, "globex", "talk")


async def test_what_is_told_of_a_contract_says_who_and_how(ledger: Ledger) -> None:
    await fill(ledger)
    one, two = await ledger.briefs(ConversationQuery("acme", "talk"))
    assert (one.principal, one.actor, one.parent_id, one.agents) == ("ann", "", 0, (("a1", "k"),))
    assert (one.state, one.ended_ms, one.accepted_ms) == (ContractState.SUCCEEDED, T0 + 99, T0)
    assert (two.actor, two.parent_id, two.state, two.ended_ms) == ("a1", ONE, None, 0)
    assert two.agents == (("a2", "k"), ("a3", "k"))


async def test_pages_of_contracts_are_confined_to_a_conversation(ledger: Ledger) -> None:
    await fill(ledger)
    found = await ledger.page(ContractQuery("acme", conversation="talk"))
    assert [each.id for each in found] == [TWO, ONE]


# --- memory ---------------------------------------------------------------------------------------


def block(number: int, *contracts: int, conversation: str = "talk", floor: int = 0) -> Row:
    made = MemoryBlock(conversation_id=conversation, number=number, text=f"block {number}")
    return blocks.row_of("acme", made, T0, contracts, floor or max(contracts) + 1, [])


async def keep(ledger: Ledger, *rows: Row) -> None:
    made = Batch()
    for row in rows:
        made.record(Action.ADD, "memory_blocks", list(row), 3)
    await ledger.commit(made)


async def test_blocks_are_read_back(ledger: Ledger) -> None:
    await keep(ledger, block(1, ONE, TWO), block(2, THREE, floor=TWO))
    assert await blocks.newest(ledger, "acme", "talk") == (2, TWO)
    assert await blocks.newest(ledger, "acme", "none") == (0, 0)
    assert await blocks.newest(ledger, "globex", "talk") == (0, 0)
    assert await blocks.covered(ledger, "acme", "talk", 0, 2) == {ONE, TWO, THREE}
    assert await blocks.covered(ledger, "acme", "talk", TWO, 2) == {THREE}
    assert await blocks.covered(ledger, "acme", "talk", 0, 1) == {ONE, TWO}
    newest = await blocks.block_of(ledger, "acme", "talk", 0)
    assert newest is not None
    assert newest.text == "block 2"
    assert await blocks.block_of(ledger, "acme", "talk", 3) is None
    page = await blocks.page_of(ledger, "acme", "talk", 0, 10)
    assert [each.number for each in page] == [2, 1]
    assert [each.number for each in await blocks.page_of(ledger, "acme", "talk", 2, 10)] == [1]
    assert await blocks.trace_of(ledger, "acme", "talk", 1) == []
    assert await blocks.trace_of(ledger, "acme", "talk", 3) is None


async def test_a_block_is_added_once(ledger: Ledger) -> None:
    await keep(ledger, block(1, ONE))
    await keep(ledger, block(1, TWO))
    assert await blocks.covered(ledger, "acme", "talk", 0, 9) == {ONE}


async def test_columns_of_rows_are_read_alone(ledger: Ledger) -> None:
    await keep(ledger, block(1, ONE), block(1, TWO, conversation="other"))
    query = RowQuery(
        "memory_blocks",
        {"tenant": "acme"},
        order=("through_id",),
        after=(THREE,),
        descending=True,
        columns=("conversation", "through_id"),
    )
    assert await ledger.rows(query) == [("other", TWO), ("talk", ONE)]


# --- what is in no block yet ----------------------------------------------------------------------


async def left(ledger: Ledger) -> list[int]:
    newest = await blocks.newest(ledger, "acme", "talk")
    return [each.id async for each in uncovered(ledger, "acme", "talk", newest)]


async def test_what_was_open_or_came_late_is_left_whatever_its_id(ledger: Ledger) -> None:
    await ledger.commit(
        batch(
            contracts=[leased(each, conversation="talk") for each in (ONE, TWO, FOUR)],
            responses=[response(1, TWO), response(1, FOUR)],
        )
    )
    assert await left(ledger) == [ONE, TWO, FOUR]
    # The block has what had ended; its floor is the one that had not.
    await keep(ledger, block(1, TWO, FOUR, floor=ONE))
    # Another scheduler, whose clock is behind, commits an id between those.
    await ledger.commit(batch(contracts=[leased(THREE, conversation="talk")]))
    assert await left(ledger) == [ONE, THREE]
    await keep(ledger, block(2, ONE, THREE, floor=FIVE))
    assert await left(ledger) == []


async def test_a_choice_is_what_has_ended_up_to_a_blocks_size(ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_BLOCK_CONTRACTS_MAX", 2)
    numbers = (ONE, TWO, THREE, FOUR, FIVE)
    await ledger.commit(
        batch(
            contracts=[leased(each, conversation="talk") for each in numbers],
            responses=[response(1, each) for each in (TWO, THREE, FOUR)],
        )
    )
    newest = await blocks.newest(ledger, "acme", "talk")
    choice = await choose(uncovered(ledger, "acme", "talk", newest))
    assert [each.id for each in choice.chosen] == [TWO, THREE]
    assert (choice.open, choice.has_more, choice.first_left) == (1, True, ONE)
    later = T0 + 3_600_000
    assert choice.floor_id(newest, later, THREE) == ONE
    # What is younger than clocks may differ is looked at again.
    assert choice.floor_id(newest, T0 + 500, THREE) == first_id_at(T0 - 9_500)
