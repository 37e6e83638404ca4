"""Reads the outbox of a ledger that several schedulers share: rows are by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from sqlalchemy import BigInteger, Connection, SmallInteger, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from muster.backends.ledger_base import Commit, ShardCommit
from muster.backends.sql.reads import pairs_of

_SHARDS = bindparam("shards", type_=ARRAY(SmallInteger))

# The first commits of each shard hold the first of all: of those that are among them, nothing is
# missing.
_OF_OWNER = text(
    "WITH found AS (SELECT o.position, o.shard, o.events FROM unnest(:shards) s (shard) "
    "CROSS JOIN LATERAL (SELECT * FROM shard_outbox t WHERE t.shard = s.shard "
    "AND t.position > :after ORDER BY t.position LIMIT :limit) o), "
    "first AS (SELECT DISTINCT position FROM found ORDER BY position LIMIT :limit) "
    "SELECT position, events FROM found JOIN first USING (position) ORDER BY position, shard"
).bindparams(_SHARDS)

_OF_SHARDS = text(
    "SELECT o.shard, o.position, o.events FROM unnest(:shards, :positions) s (shard, position) "
    "CROSS JOIN LATERAL (SELECT * FROM shard_outbox t WHERE t.shard = s.shard "
    "AND t.position > s.position ORDER BY t.position LIMIT :limit) o ORDER BY o.shard, o.position"
).bindparams(_SHARDS, bindparam("positions", type_=ARRAY(BigInteger)))


# What is lost of it is published again, so nobody waits for the disk.
_UNSYNCED = text("SET LOCAL synchronous_commit TO off")
_PUBLISHED = text(
    "INSERT INTO published AS p (shard, position) SELECT * FROM unnest(:shards, :positions) "
    "ON CONFLICT (shard) DO UPDATE SET position = greatest(p.position, excluded.position)"
).bindparams(_SHARDS, bindparam("positions", type_=ARRAY(BigInteger)))


async def mark_published(connection: AsyncConnection, positions: Mapping[int, int]) -> None:
    """Note how far the events of shards have been published; never goes back."""
    # In one order, so that two who note the same shards do not wait for each other.
    shards = sorted(positions)
    await connection.execute(_UNSYNCED)
    parameters = {"shards": shards, "positions": [positions[shard] for shard in shards]}
    await connection.execute(_PUBLISHED, parameters)


def of_owner(connection: Connection, shards: Sequence[int], after: int, limit: int) -> list[Commit]:
    """Whole commits of one owner's shards after a position, in order."""
    rows = connection.execute(_OF_OWNER, {"shards": shards, "after": after, "limit": limit})
    return [
        Commit(position, [pair for _, events in group for pair in pairs_of(events)])
        for position, group in groupby(rows, itemgetter(0))
    ]


def of_shards(connection: Connection, after: Mapping[int, int], limit: int) -> list[ShardCommit]:
    """At most `limit` commits of each shard after its position, in order."""
    parameters = {"shards": list(after), "positions": list(after.values()), "limit": limit}
    rows = connection.execute(_OF_SHARDS, parameters)
    return [ShardCommit(shard, position, pairs_of(events)) for shard, position, events in rows]
