"""Who owns which shards of a ledger that several schedulers share.

Everything is judged by the database, on its clock. A member is alive until its lease runs out;
shards of one that is not, and those that nobody has, can be claimed. A claim raises the generation
of what it takes, and locks its rows, as each commit does: it waits for what an earlier owner is
still committing, and what that one sends later finds another generation. So after a claim nothing
of an earlier owner becomes visible.

All that one claim takes gets the same generation, larger than each had: epochs that are made from
it are newer than all before, in every one of these shards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from muster.backends.ledger_base import (
    LedgerBroken,
    LedgerBusy,
    LedgerForeign,
    LedgerFull,
    Member,
    ShardOwner,
)
from muster.backends.postgres.database import Database, Failure, is_temporary, sqlstate_of
from muster.model.limits import EPOCH_GENERATION_BITS, SHARDS

CHANNEL = "muster_shards"  # of NOTIFY: who owns what, or who is there, may have changed
ONE_OWNER_LOCK = 0x6D75_7374_6573  # of pg_advisory_lock: exclusive for who wants all, else shared
CALL_SECONDS = 2.5
RECONNECT_SECONDS = 0.5

SETTINGS = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "2000",
}

_LEASE = "clock_timestamp() + make_interval(secs => $3)"
# A name that comes back gets a newer incarnation, also when it had been forgotten.
JOIN = (
    "WITH joined AS (INSERT INTO members AS m (owner, address, incarnation, expires_at) "
    f"VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, {_LEASE}) "
    "ON CONFLICT (owner) DO UPDATE SET address = excluded.address, "
    "expires_at = excluded.expires_at, "
    "incarnation = greatest(excluded.incarnation, m.incarnation + 1) RETURNING incarnation), "
    f"told AS (SELECT pg_notify('{CHANNEL}', '')) SELECT incarnation FROM joined, told"
)
RENEW = (
    f"UPDATE members SET expires_at = {_LEASE} WHERE owner = $1 AND incarnation = $2 RETURNING true"
)
LEAVE = "DELETE FROM members WHERE owner = $1 AND incarnation = $2"
FORGET = "DELETE FROM members WHERE expires_at < clock_timestamp() - interval '1 day'"
MEMBERS = "SELECT owner, address, expires_at > clock_timestamp() AS live FROM members ORDER BY 1"
_IS_LIVE = (
    "EXISTS (SELECT 1 FROM members m WHERE m.owner = s.owner AND m.expires_at > clock_timestamp())"
)
OWNERSHIP = (
    f"SELECT shard, generation, owner, {_IS_LIVE} AS live, trimmed FROM shards s ORDER BY shard"
)

LOCK = "SELECT 1 FROM shards WHERE shard = ANY($1::smallint[]) ORDER BY shard FOR UPDATE"
# A member takes nothing while its own lease has run out; $3 is 0 for the only owner, no member.
CLAIM = (
    "WITH free AS (SELECT s.shard, s.generation FROM shards s WHERE s.shard = ANY($1::smallint[]) "
    f"AND (s.owner IN ('', $2::text) OR NOT {_IS_LIVE}) "
    "AND ($3::bigint = 0 OR EXISTS (SELECT 1 FROM members WHERE owner = $2::text "
    "AND incarnation = $3::bigint AND expires_at > clock_timestamp()))), "
    "next AS (SELECT max(generation) + 1 AS generation FROM free) "
    "UPDATE shards s SET generation = next.generation, owner = $2::text FROM free, next "
    "WHERE s.shard = free.shard RETURNING s.shard, s.generation"
)
RELEASE = (
    "UPDATE shards SET owner = '' WHERE shard = ANY($1::smallint[]) AND owner = $2 RETURNING shard"
)
NOTIFY = f"SELECT pg_notify('{CHANNEL}', '')"
# The newest position that was ever used, in any shard: a watcher is told one number for all shards
# of an owner, so the last owner's may come from a commit to others.
POSITION = (
    "SELECT max(greatest(s.trimmed, (SELECT coalesce(max(o.position), 0) FROM shard_outbox o "
    "WHERE o.shard = s.shard))) FROM shards s"
)
# Left free above it, for what an owner that has not noticed yet still commits to its other shards.
POSITIONS_LEFT_FREE = 10_000


if TYPE_CHECKING:
    from muster.backends.postgres.database import Session


class Shards:
    """One scheduler's membership, and its claims. One call at a time goes to the database."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._connection: Session | None = None
        self._one_call = asyncio.Lock()
        self._alone = False
        self._had_lock = False
        self._incarnation = 0
        self._lease_seconds = 0.0

    # --- members ----------------------------------------------------------------------------------

    async def be_alone(self) -> None:
        """Keep every other scheduler out until `close`. Raises `LedgerBusy`."""
        self._alone = True
        async with self._connected():
            pass

    async def be_one_of_several(self) -> None:
        """Keep out whoever wants everything for itself, until `close`. Raises `LedgerBusy`."""
        async with self._connected():
            pass

    async def join(self, address: str, lease_seconds: float) -> None:
        """See `Ledger.join`."""
        self._lease_seconds = lease_seconds
        async with self._connected() as connection:
            self._incarnation = await connection.fetchval(JOIN, self._owner, address, lease_seconds)
            await connection.execute(FORGET)

    async def renew(self) -> bool:
        """See `Ledger.renew`."""
        async with self._connected() as connection:
            ours = await connection.fetchval(
                RENEW, self._owner, self._incarnation, self._lease_seconds
            )
            return bool(ours)

    async def members(self) -> list[Member]:
        """See `Ledger.members`."""
        async with self._connected() as connection:
            return [Member(*row) for row in await connection.fetch(MEMBERS)]

    async def ownership(self) -> list[ShardOwner]:
        """See `Ledger.ownership`."""
        async with self._connected() as connection:
            return [ShardOwner(*row) for row in await connection.fetch(OWNERSHIP)]

    # --- shards -----------------------------------------------------------------------------------

    async def claim(self, shards: Iterable[int]) -> tuple[dict[int, int], int]:
        """Those of the shards that were taken, with their generation, and their newest position."""
        wanted = sorted(shards)
        async with self._connected() as connection:
            await connection.execute("BEGIN")
            await connection.execute(LOCK, wanted)
            rows = await connection.fetch(CLAIM, wanted, self._owner, self._incarnation)
            taken = dict(sorted((row["shard"], row["generation"]) for row in rows))
            if taken and max(taken.values()) >> EPOCH_GENERATION_BITS:
                message = "the ledger has been opened too often for its epochs; start a new one"
                raise LedgerForeign(message)
            position = 0
            if taken:
                position = await connection.fetchval(POSITION)
                position += POSITIONS_LEFT_FREE if position else 0
            if taken:
                await connection.execute(NOTIFY)
            await connection.execute("COMMIT")
            return taken, position

    async def release(self, shards: Iterable[int]) -> None:
        """Give shards up; those that are ours no more are left alone."""
        async with self._connected() as connection:
            await connection.execute("BEGIN")
            if await connection.fetch(RELEASE, sorted(shards), self._owner):
                await connection.execute(NOTIFY)
            await connection.execute("COMMIT")

    async def close(self) -> None:
        """Leave: our shards are free at once. Says nothing where that cannot be told."""
        if not self._had_lock:
            return
        # Whoever cannot be told finds out when the lease has run out.
        with suppress(LedgerFull, LedgerBroken, LedgerBusy):
            async with self._connected() as connection:
                await connection.execute("BEGIN")
                # Of that name there may be another by now, whose shards are not ours.
                left = await connection.execute(LEAVE, self._owner, self._incarnation)
                if self._alone or left != "DELETE 0":
                    await connection.fetch(RELEASE, list(range(SHARDS)), self._owner)
                    await connection.execute(NOTIFY)
                await connection.execute("COMMIT")
        self._had_lock = False
        self._drop()

    async def changes(self) -> AsyncIterator[None]:
        """See `Ledger.changes`."""
        while True:
            changed = asyncio.Event()
            try:
                connection = await self._database.connect(SETTINGS)
            except LedgerFull:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue

            def told(*_: Any, changed: asyncio.Event = changed) -> None:
                changed.set()

            connection.add_termination_listener(told)
            try:
                with suppress(*Failure):
                    await connection.add_listener(CHANNEL, told)
                yield  # what happened until now was told to nobody
                while not connection.is_closed():
                    await changed.wait()
                    changed.clear()
                    yield
            finally:
                connection.terminate()

    # --- the connection ---------------------------------------------------------------------------

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Session]:
        """The connection, for one call. Failures leave none behind, and nothing open in it."""
        async with self._one_call:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._prepared()
                    yield self._connection
            except Failure as error:
                self._drop()
                if is_temporary(error):
                    message = "the ledger's database does not answer; try again later"
                    raise LedgerFull(message) from error
                raise LedgerBroken(f"the ledger failed: {sqlstate_of(error)}") from error
            except BaseException:
                self._drop()
                raise

    async def _prepared(self) -> Session:
        connection = await self._database.connect(SETTINGS)
        kind = "" if self._alone else "_shared"
        try:
            if self._had_lock:
                # Whoever has it now has raised the generations: that is what keeps us apart.
                await connection.execute(f"SELECT pg_try_advisory_lock{kind}({ONE_OWNER_LOCK})")
            else:
                await connection.execute(f"SELECT pg_advisory_lock{kind}({ONE_OWNER_LOCK})")
                self._had_lock = True
        except asyncpg.LockNotAvailableError:
            owner = await self._current_owner(connection)
            connection.terminate()
            raise LedgerBusy(
                f"the ledger is in use by {owner}; stop it first (muster down), "
                "or choose another database (MUSTER_LEDGER)"
            ) from None
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _current_owner(self, connection: Session) -> str:
        rows: Sequence[asyncpg.Record] = await connection.fetch(OWNERSHIP)
        owners = {row["owner"] for row in rows} - {"", self._owner}
        return min(owners, default="another process")
