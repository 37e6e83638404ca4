"""What every backend of `Ledger` keeps, and how it is read."""

from __future__ import annotations

from typing import Any

import pytest

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.ledger import (
    ITEM_LOG,
    ITEM_OUTPUT,
    ITEM_PROGRESS,
    ContractQuery,
)
from muster.model.states import ContractState
from tests.conformance.conftest import MakeLedger
from tests.support.ledger_rows import (
    FIVE,
    FOUR,
    MESH,
    ONE,
    T0,
    THREE,
    TWO,
    batch,
    contract,
    id_at,
    item,
    leased,
    response,
)

# --- stream items ---------------------------------------------------------------------------------


async def indexes(ledger: Ledger, after: tuple[int, int] = (0, 0), limit: int = 100) -> list[int]:
    return [each.idx for each in await ledger.items(ONE, *after, limit)]


async def test_items_are_read_from_a_place_on_in_order_of_epoch_and_index(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased(), leased(TWO)]))
    rows = [item(2, epoch=1), item(1, epoch=2), item(1, epoch=1), item(1, number=TWO)]
    await ledger.commit(batch(items=rows))
    found = await ledger.items(ONE, 0, 0, 100)
    assert [(each.epoch, each.idx) for each in found] == [(1, 1), (1, 2), (2, 1)]
    assert (found[0].kind, found[0].item) == (ITEM_OUTPUT, b"item 1")
    assert [(each.epoch, each.idx) for each in await ledger.items(ONE, 1, 1, 1)] == [(1, 2)]
    assert await ledger.items(ONE, 2, 1, 100) == []


async def test_an_item_that_comes_again_changes_nothing(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased()], items=[item(1)]))
    again = [ONE, 1, 1, ITEM_OUTPUT, b"something else"]
    assert not (await ledger.commit(batch(items=[again, item(2)]))).refused
    assert [each.item for each in await ledger.items(ONE, 0, 0, 100)] == [b"item 1", b"item 2"]


async def test_of_progress_only_the_last_is_kept(ledger: Ledger) -> None:
    kinds = [ITEM_PROGRESS, ITEM_OUTPUT, ITEM_PROGRESS, ITEM_LOG, ITEM_PROGRESS, ITEM_OUTPUT]
    rows = [item(n, kind) for n, kind in enumerate(kinds, 1)]
    await ledger.commit(batch(contracts=[leased()], items=rows[:3]))
    assert await indexes(ledger) == [2, 3]
    await ledger.commit(batch(items=[*rows[3:], item(1, ITEM_PROGRESS, epoch=2)]))
    assert await indexes(ledger) == [2, 4, 5, 6, 1]


async def test_of_logs_the_newest_bytes_are_kept_and_of_output_everything(ledger: Ledger) -> None:
    line, lines = b"x" * 4096, 200
    kinds = {n: ITEM_OUTPUT if n % 10 == 0 else ITEM_LOG for n in range(1, lines + 1)}
    await ledger.commit(batch(contracts=[leased()]))
    for start in range(1, lines + 1, 20):
        rows = [[ONE, 1, n, kinds[n], line] for n in range(start, start + 20)]
        await ledger.commit(batch(items=rows))
    kept = set(await indexes(ledger, limit=1000))
    assert {n for n, kind in kinds.items() if kind == ITEM_OUTPUT} <= kept
    logs = [n for n, kind in kinds.items() if kind == ITEM_LOG]
    enough = limits.LOG_BYTES_KEPT_MAX // len(line)
    assert set(logs[-enough:]) <= kept
    assert len(kept & set(logs)) <= 4 * enough


# --- history --------------------------------------------------------------------------------------


async def test_history_tells_each_commits_events_in_order(ledger: Ledger) -> None:
    first = await ledger.commit(batch(contracts=[contract(ONE)], events=[(ONE, 1)]))
    second = await ledger.commit(batch(contracts=[leased(TWO)], events=[(TWO, 1), (TWO, 2)]))
    assert 0 < first.position < second.position
    assert await ledger.history(0, 10) == [
        (first.position, [(ONE, 1)]),
        (second.position, [(TWO, 1), (TWO, 2)]),
    ]
    assert [each.position for each in await ledger.history(first.position, 10)] == [second.position]
    assert [each.position for each in await ledger.history(0, 1)] == [first.position]
    assert await ledger.history(second.position, 10) == []


async def test_whoever_saw_a_position_misses_nothing_after_a_restart(
    make_ledger: MakeLedger,
) -> None:
    ledger = make_ledger()
    await ledger.open()
    await ledger.commit(batch(contracts=[leased()], events=[(ONE, 1)]))
    for index in range(1, 4):
        seen = await ledger.commit(batch(items=[item(index)]))  # makes no event true
    await ledger.close()
    ledger = make_ledger()
    await ledger.open()
    await ledger.commit(batch(contracts=[contract(TWO)], events=[(TWO, 1)]))
    missed = [pair for each in await ledger.history(seen.position, 10) for pair in each.events]
    assert missed == [(TWO, 1)]
    await ledger.close()


# --- lists ----------------------------------------------------------------------------------------

OPEN_STATES = frozenset({ContractState.QUEUED, ContractState.LEASED})
ENDED_WELL = frozenset({ContractState.SUCCEEDED})

PAGES = {
    "newest first": ({}, [FIVE, FOUR, THREE, TWO, ONE]),
    "so many": ({"limit": 2}, [FIVE, FOUR]),
    "the next page": ({"before": FOUR, "limit": 2}, [THREE, TWO]),
    "of one tenant": ({"tenant": "other"}, [id_at(6)]),
    "of nobody": ({"tenant": "nobody"}, []),
    "what no text holds": ({"conversation": "ta\0lk"}, []),
    "a capability of no name": ({"capabilities": frozenset({"\0"})}, []),
    "capabilities": ({"capabilities": frozenset({"draw", "sing"})}, [FOUR, THREE]),
    "a conversation": ({"conversation": "talk"}, [TWO]),
    "a tree": ({"root_id": THREE}, [FIVE, FOUR, THREE]),
    "children": ({"parent_id": FOUR}, [FIVE]),
    "since": ({"since_ms": T0 + 4000}, [FIVE, FOUR]),
    "before an instant": ({"before_ms": T0 + 2000}, [ONE]),
    "one state": ({"states": ENDED_WELL}, [THREE]),
    "terminal states": ({"states": ENDED_WELL | {ContractState.CANCELLED}}, [THREE, ONE]),
    "open ones": ({"states": OPEN_STATES}, [FIVE, FOUR, TWO]),
    "everything at once": (
        {"root_id": THREE, "capabilities": frozenset({"draw"}), "states": ENDED_WELL},
        [THREE],
    ),
}


@pytest.mark.parametrize(("query", "expected"), PAGES.values(), ids=PAGES)
async def test_a_page_has_what_was_asked_for(
    ledger: Ledger, query: dict[str, Any], expected: list[int]
) -> None:
    tree = {"root_id": THREE}
    rows = [
        contract(ONE),
        contract(TWO, conversation="talk"),
        leased(THREE, capability="draw"),
        contract(FOUR, capability="sing", parent_id=THREE, depth=1, **tree),
        contract(FIVE, parent_id=FOUR, depth=2, **tree),
        contract(id_at(6), tenant="other"),
    ]
    answers = [response(0, ONE, MESH), response(1, THREE)]
    await ledger.commit(batch(contracts=rows, responses=answers))
    found = await ledger.page(ContractQuery(**({"tenant": "acme"} | query)))
    assert [each.id for each in found] == expected
