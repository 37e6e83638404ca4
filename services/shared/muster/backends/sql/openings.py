"""What a new owner of shards reads of a ledger, in SQLAlchemy Core, for every SQL database."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, exists, false, func, literal, select

from muster.backends.sql.asked import open_of_runs
from muster.backends.sql.reads import by_ids, chunks_of, entries
from muster.backends.sql.schema import contracts, questions, responses, settled, workflow_runs
from muster.backends.sql.schema import items as items_table
from muster.model.ids import SHARD_SHIFT, shard_of_id
from muster.model.ledger import ITEM_OUTPUT, Opening, Settled
from muster.model.limits import SHARDS
from muster.model.states import ContractState


def opening(connection: Connection, generations: Mapping[int, int], position: int) -> Opening:
    """Everything an owner needs to start on shards, with their generations."""
    newest = (select(func.max(each.c.id)) for each in (contracts, workflow_runs))
    last_id = max(connection.execute(query).scalar() or 0 for query in newest)
    marks = {
        shard: Settled(before, array("q", open_ids))
        for shard, before, open_ids in connection.execute(select(settled))
    }
    numbers = _open(connection, generations, marks)
    return Opening(
        generation=max(generations.values(), default=0),
        # Ids to come are beyond every mark too, whatever an owner's clock showed.
        last_id=max([last_id, *(mark.before for mark in marks.values())]),
        position=position,
        catalogue=entries(connection),
        open_contracts=by_ids(connection, numbers),
        output_chunks=_progress(connection, numbers),
        generations=dict(generations),
        open_questions=open_of_runs(connection, *_in_shards(questions.c.subject_id, generations)),
    )


def ended(
    connection: Connection, shards: Collection[int], last_id: int, but: Collection[int]
) -> Counter[tuple[int, str, ContractState]]:
    """How many contracts of these shards have ended, up to an id and without some, by shard, tenant
    and how they ended."""
    shard = _shard_of(contracts.c.id)
    statement = (
        select(shard, contracts.c.tenant, responses.c.state, func.count())
        .join_from(responses, contracts, contracts.c.id == responses.c.contract_id)
        .where(*_in_shards(contracts.c.id, shards))
        .group_by(shard, contracts.c.tenant, responses.c.state)
    )
    found: Counter[tuple[int, str, ContractState]] = Counter()
    after = -1
    # Each statement sees one moment, and leaves out whom it must not see end meanwhile.
    for skipped in (*chunks_of(sorted(but)), ()):
        until = skipped[-1] if skipped else last_id
        within = (contracts.c.id > after, contracts.c.id <= until, contracts.c.id.not_in(skipped))
        for number, tenant, state, count in connection.execute(statement.where(*within)):
            found[number, tenant, ContractState(state)] += count
        after = until
    return found


def _shard_of(number: Any) -> ColumnElement[int]:
    """The shard of an id, in SQL."""
    shard: ColumnElement[int] = number.op(">>")(literal(SHARD_SHIFT, Integer)).op("&")(SHARDS - 1)
    return shard


def _in_shards(number: Any, wanted: Collection[int]) -> list[ColumnElement[bool]]:
    """The condition that a contract id is of these shards; none where they are all."""
    if len(wanted) == SHARDS:
        return []
    if not wanted:
        return [false()]  # for which nothing is read
    return [_shard_of(number).in_(sorted(wanted))]


def _open(
    connection: Connection, wanted: Collection[int], marks: Mapping[int, Settled]
) -> list[int]:
    """Ids of contracts without a response, oldest first, so that parents come before their
    children. Nothing is looked at that has ended according to the marks."""
    known = {shard: marks.get(shard, Settled(0)) for shard in wanted}
    missing = ~exists().where(responses.c.contract_id == contracts.c.id)
    ids = connection.execute(
        select(contracts.c.id)
        .where(missing, *_in_shards(contracts.c.id, wanted))
        .where(contracts.c.id >= min((mark.before for mark in known.values()), default=0))
    )
    numbers = [number for number in ids.scalars() if number >= known[shard_of_id(number)].before]
    older = [number for mark in known.values() for number in mark.open]
    for part in chunks_of(older):
        among = select(contracts.c.id).where(missing, contracts.c.id.in_(part))
        numbers += connection.execute(among).scalars()
    return sorted(numbers)


def _progress(
    connection: Connection, numbers: Sequence[int]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Last item and number of output chunks of every attempt of these contracts."""
    chunk = func.sum((items_table.c.kind == ITEM_OUTPUT).cast(items_table.c.idx.type))
    columns = (items_table.c.contract_id, items_table.c.epoch)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for part in chunks_of(numbers):
        rows = connection.execute(
            select(*columns, func.max(items_table.c.idx), chunk)
            .where(items_table.c.contract_id.in_(part))
            .group_by(*columns)
        )
        found |= {(number, epoch): (last, chunks or 0) for number, epoch, last, chunks in rows}
    return found
