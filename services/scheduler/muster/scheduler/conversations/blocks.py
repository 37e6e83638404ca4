"""Memory blocks as rows of the ledger."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from muster.backends.ledger_base import Ledger
from muster.model.records import Row, RowQuery
from muster.v1.conversation_pb2 import TraceEntry
from muster.v1.conversation_service_pb2 import ListTraceResponse
from muster.v1.memory_pb2 import MemoryBlock

TABLE = "memory_blocks"
_EVERY_BLOCK = 1_000_000  # more than there can be of one conversation


class Newest(NamedTuple):
    """How far a conversation is compressed."""

    number: int = 0  # of its newest block; 0: there is none
    floor_id: int = 0  # every contract before this one is in a block


async def newest(ledger: Ledger, tenant: str, conversation: str) -> Newest:
    """How far a conversation is compressed."""
    query = _query(tenant, conversation, ("number", "floor_id"), limit=1)
    rows = await ledger.rows(query)
    return Newest(*rows[0]) if rows else Newest()


async def block_floor(ledger: Ledger, tenant: str, conversation: str, number: int) -> Newest:
    """How far a conversation was compressed when a block was its newest."""
    if not number:
        return Newest()
    equal = {"tenant": tenant, "conversation": conversation, "number": number}
    rows = await ledger.rows(RowQuery(TABLE, equal, limit=1, columns=("number", "floor_id")))
    return Newest(*rows[0]) if rows else Newest()


async def covered(
    ledger: Ledger, tenant: str, conversation: str, after: int, number_max: int
) -> set[int]:
    """Ids of contracts that are in blocks up to a number, those after an id at least."""
    rows = await ledger.rows(
        RowQuery(
            TABLE,
            {"tenant": tenant, "conversation": conversation},
            order=("through_id",),
            after=(after,),
            limit=_EVERY_BLOCK,
            columns=("number", "contracts"),
        )
    )
    found: set[int] = set()
    for number, packed in rows:
        if number <= number_max:
            found.update(_unpacked(packed))
    return found


async def block_of(
    ledger: Ledger, tenant: str, conversation: str, number: int
) -> MemoryBlock | None:
    """One block, whole; the newest for 0."""
    equal = {"tenant": tenant, "conversation": conversation} | (
        {"number": number} if number else {}
    )
    query = RowQuery(TABLE, equal, order=("number",), descending=True, limit=1, columns=("block",))
    rows = await ledger.rows(query)
    return MemoryBlock.FromString(rows[0][0]) if rows else None


async def page_of(
    ledger: Ledger, tenant: str, conversation: str, before: int, limit: int
) -> list[MemoryBlock]:
    """Blocks with smaller numbers than `before`, or from the newest for 0, whole."""
    query = _query(tenant, conversation, ("block",), before, limit)
    return [MemoryBlock.FromString(row[0]) for row in await ledger.rows(query)]


async def trace_of(
    ledger: Ledger, tenant: str, conversation: str, number: int
) -> Sequence[TraceEntry] | None:
    """What a block keeps of who did what; None: there is no such block."""
    equal = {"tenant": tenant, "conversation": conversation, "number": number}
    rows = await ledger.rows(RowQuery(TABLE, equal, limit=1, columns=("trace",)))
    if not rows:
        return None
    return ListTraceResponse.FromString(zlib.decompress(rows[0][0])).entries


def row_of(
    tenant: str,
    block: MemoryBlock,
    created_ms: int,
    ids: Collection[int],
    floor_id: int,
    entries: Iterable[TraceEntry],
) -> Row:
    """The row of a new block."""
    trace = ListTraceResponse(entries=entries).SerializeToString()
    return (
        tenant,
        block.conversation_id,
        block.number,
        created_ms,
        min(ids),
        max(ids),
        floor_id,
        array("q", sorted(ids)).tobytes(),
        block.SerializeToString(),
        zlib.compress(trace),
    )


def without_digests(block: MemoryBlock) -> MemoryBlock:
    """The block as lists have it."""
    del block.digests[:]
    return block


def _unpacked(packed: bytes) -> array[int]:
    numbers = array("q")
    numbers.frombytes(packed)
    return numbers


def _query(
    tenant: str, conversation: str, columns: tuple[str, ...], before: int = 0, limit: int = 1
) -> RowQuery:
    return RowQuery(
        TABLE,
        {"tenant": tenant, "conversation": conversation},
        order=("number",),
        after=(before,) if before else None,
        descending=True,
        limit=limit,
        columns=columns,
    )
