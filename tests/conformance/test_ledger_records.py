"""What every backend of `Ledger` does with rows of things that are no contracts."""

from __future__ import annotations

import pytest

from muster.backends.ledger_base import Ledger, OwnershipLost
from muster.backends.sql.schema import metadata
from muster.model.ids import SHARD_SHIFT
from muster.model.ledger import Batch
from muster.model.records import TABLES, Action, RowQuery
from tests.conformance.records import Record
from tests.support.ledger_rows import contract, id_at

ADD, PUT, DELETE = Action.ADD, Action.PUT, Action.DELETE


def version(name: str, number: int, principal: str = "ann") -> tuple[object, ...]:
    return ("acme", name, number, principal, 1, b"digest", b"workflow")


def batch(*records: tuple[Action, str, tuple[object, ...]], shard: int = 3) -> Batch:
    made = Batch()
    for action, table, row in records:
        made.record(action, table, row, shard)
    return made


async def names(ledger: Ledger, **query) -> list[tuple[str, int]]:
    rows = await ledger.rows(
        RowQuery("workflows", {"tenant": "acme"}, order=("name", "version"), **query)
    )
    return [(row[1], row[2]) for row in rows]


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_those_of_the_schema(table: str) -> None:
    columns, keys = TABLES[table]
    found = metadata.tables[table]
    assert tuple(found.c.keys()) == columns
    assert tuple(found.primary_key.columns.keys()) == columns[:keys]


async def test_rows_are_read_back_as_they_were_written(ledger: Ledger) -> None:
    await ledger.commit(batch((ADD, "workflows", version("flow", 1))))
    (row,) = await ledger.rows(RowQuery("workflows", {"name": "flow"}))
    assert row == version("flow", 1)


async def test_they_come_in_order_and_in_pages(ledger: Ledger) -> None:
    rows = [("b", 1), ("a", 2), ("a", 1), ("c", 1)]
    await ledger.commit(batch(*((ADD, "workflows", version(*row)) for row in rows)))
    assert await names(ledger, limit=2) == [("a", 1), ("a", 2)]
    assert await names(ledger, after=("a", 2)) == [("b", 1), ("c", 1)]
    down = await names(ledger, after=("b", 1), descending=True)
    assert down == [("a", 2), ("a", 1)]


async def test_several_values_may_fit(ledger: Ledger) -> None:
    await ledger.commit(batch(*((ADD, "workflows", version(name, 1)) for name in "abc")))
    rows = await ledger.rows(RowQuery("workflows", {"name": ["a", "c"]}, order=("name",)))
    assert [row[1] for row in rows] == ["a", "c"]
    assert await ledger.rows(RowQuery("workflows", {"name": []})) == []
    assert await ledger.rows(RowQuery("workflows", {"name": "a\0"})) == []


async def test_what_is_put_takes_the_place_of_what_was_there(ledger: Ledger) -> None:
    await ledger.commit(batch((PUT, "workflows", version("flow", 1))))
    await ledger.commit(batch((PUT, "workflows", version("flow", 1, "bob"))))
    (row,) = await ledger.rows(RowQuery("workflows", {"name": "flow"}))
    assert row == version("flow", 1, "bob")
    await ledger.commit(batch((DELETE, "workflows", version("flow", 1)[:3])))
    assert await names(ledger) == []


async def test_the_first_part_of_a_key_names_all_rows_that_have_it(ledger: Ledger) -> None:
    rows = [("a", 1), ("a", 2), ("b", 1)]
    await ledger.commit(batch(*((ADD, "workflows", version(*row)) for row in rows)))
    await ledger.commit(batch((DELETE, "workflows", ("acme", "a"))))
    assert await names(ledger) == [("b", 1)]


async def test_the_last_word_of_a_batch_on_a_row_counts(ledger: Ledger) -> None:
    await ledger.commit(
        batch(
            (ADD, "workflows", version("flow", 1)),
            (PUT, "workflows", version("flow", 1, "bob")),
            (PUT, "workflows", version("gone", 1)),
            (DELETE, "workflows", version("gone", 1)[:3]),
        )
    )
    (row,) = await ledger.rows(RowQuery("workflows", {}))
    assert row == version("flow", 1, "bob")


async def test_a_batch_that_comes_again_changes_nothing(ledger: Ledger) -> None:
    again = batch((ADD, "workflows", version("flow", 1)))
    await ledger.commit(again)
    await ledger.commit(again)
    assert await names(ledger) == [("flow", 1)]


async def test_they_are_true_together_with_the_contracts_of_their_batch(ledger: Ledger) -> None:
    made = batch((ADD, "workflows", version("flow", 1)))
    made.segments[-1].contracts.append(contract())
    await ledger.commit(made)
    assert await names(ledger) == [("flow", 1)]
    assert len(await ledger.load([contract()[0]])) == 1


async def test_only_the_owner_of_their_shard_writes_them(record: Record) -> None:
    old, new = record.make(), record.make()
    await old.open()
    await record.lose_lock()
    await new.open()
    with pytest.raises(OwnershipLost):
        await old.commit(batch((ADD, "workflows", version("flow", 1))))
    assert await names(new) == []
    for each in (old, new):
        await each.close()


async def test_ids_of_runs_are_not_given_out_again(record: Record) -> None:
    ledger = record.make()
    await ledger.open()
    number = id_at(5) | (3 << SHARD_SHIFT)
    run = (number, "acme", "ann", "s", b"", "flow", 1, 1, "", 0, "", 0, 0, 0, "", 5, b"")
    await ledger.commit(batch((ADD, "workflow_runs", run)))
    await ledger.close()
    ledger = record.make()
    assert (await ledger.open()).last_id >= number
    await ledger.close()
