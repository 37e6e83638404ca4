"""Turns a batch into one transaction, on a connection that may break at any time.

A connection that breaks while a batch is on its way leaves unknown whether it was committed. That
is found out by committing the same batch again, which the caller does for `LedgerFull` anyway:

- Rows that are there already are not written twice, and count as taken.
- The batch keeps its position until it is known to be written, so its outbox rows are there already
  too: a position belongs to one batch.
- The lost session may still be at it. Both lock the rows of the batch's shards, so the second waits
  for the first to end, one way or the other.

So nobody need restart, and nobody is told anything that is not on disk.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from muster.backends.ledger_base import Ended, LedgerBroken, LedgerFull, OwnershipLost
from muster.backends.postgres import hot, retention
from muster.backends.postgres.database import Database, Failure, is_temporary, sqlstate_of
from muster.backends.sql import records
from muster.backends.sql.keeping import (
    OUTBOX_COMMITS_KEPT_MAX,
    OUTBOX_TRIM_EVERY,
    OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX,
)
from muster.failpoints import failpoint
from muster.model.ids import first_id_at, shard_of_id
from muster.model.ledger import Batch, CommitResult, Refused, Segment, Settled
from muster.model.states import ContractState

# How long the server may take for a batch before it counts as away. Doubled each time, so that a
# disk that only is slow gets through; meanwhile its lost session commits as well as any.
ANSWER_SECONDS_MIN = 2.5
ANSWER_SECONDS_MAX = 60.0

if TYPE_CHECKING:
    from muster.backends.postgres.database import Session

_MICROSECOND = 1e-6


class _Session(NamedTuple):
    connection: Session
    write: PreparedStatement[asyncpg.Record]


class _Sent(NamedTuple):
    """A batch that may have been written."""

    batch: Batch
    position: int


class Writer:
    """The one connection that writes contracts. Whoever changes the shards holds `lock`."""

    def __init__(self, database: Database, owner: str) -> None:
        self.lock = asyncio.Lock()
        self.position = 0  # of the last commit with events
        self.owned: dict[int, int] = {}  # shard -> generation
        self._database = database
        self._owner = owner
        self._session: _Session | None = None
        self._sent: _Sent | None = None
        self._answer_seconds = ANSWER_SECONDS_MIN
        self._forgotten: list[asyncpg.Record] = []  # contracts that may have been forgotten
        self._trimmed_at = 0  # position

    @failpoint("ledger_commit", LedgerBroken)
    @failpoint("ledger_full", LedgerFull)
    async def commit(self, batch: Batch) -> CommitResult:
        """Write the batch in one transaction. See `Ledger.commit` for the errors."""
        async with self.lock:
            position = self._position_of(batch)
            now_ms = time.time_ns() // 1_000_000
            calls = hot.calls(batch, self._owner, self.owned, position, now_ms)
            async with self._connected() as session:
                self._sent = _Sent(batch, position)
                started = time.perf_counter()
                if len(calls) == 1 and not batch.records:
                    answers = [await session.write.fetch(*calls[0][1])]
                    seconds = time.perf_counter() - started - _inside(answers[0])
                else:
                    arguments = [call[1] for call in calls]
                    answers, seconds = await _in_transaction(session, arguments, batch)
            self._sent = None
            self.position = max(self.position, position)
            refused = [
                each
                for (segment, _), answer in zip(calls, answers, strict=True)
                for each in _refused(segment, answer)
            ]
            return CommitResult(position, refused, max(0.0, seconds))

    def _position_of(self, batch: Batch) -> int:
        sent = self._sent
        if sent is not None and sent.batch is batch:
            return sent.position
        if sent is not None:  # given up: whether it was written or not, its position is used
            self.position = max(self.position, sent.position)
        # Only what stands in a row is counted: a restart goes on from the last row.
        return self.position + 1 if batch.events else self.position

    async def trim(self, before_ms: int, limit: int) -> Ended:
        """Delete what ended before an instant. See `Ledger.trim`."""
        async with self.lock:
            async with self._connected() as session:
                rows = self._forgotten or await session.connection.fetch(
                    retention.ENDED, first_id_at(before_ms), before_ms, limit, sorted(self.owned)
                )
                # Kept until they are known to be gone: a try again must not count fewer.
                self._forgotten = rows
                if rows:
                    await self._forget(session.connection, [row["contract_id"] for row in rows])
                await self._trim_outbox(session.connection)
            self._forgotten = []
            return Counter(
                (shard_of_id(row["contract_id"]), row["tenant"], ContractState(row["state"]))
                for row in rows
            )

    async def mark_settled(
        self, generations: Mapping[int, int], marks: Mapping[int, Settled]
    ) -> None:
        """See `Ledger.mark_settled`."""
        async with self.lock, self._connected() as session:
            shards = [x for x in sorted(marks) if self.owned.get(x) == generations[x]]
            befores = [marks[shard].before for shard in shards]
            open_ids = [array("q", marks[shard].open).tobytes() for shard in shards]
            await self._begin_fenced(session.connection, shards)
            await session.connection.execute(retention.SETTLED, shards, befores, open_ids)
            await session.connection.execute("COMMIT")

    async def _forget(self, connection: Session, ids: Sequence[int]) -> None:
        await self._begin_fenced(connection, sorted({shard_of_id(number) for number in ids}))
        for statement in retention.DELETES:
            await connection.execute(statement, ids)
        await connection.execute("COMMIT")

    async def _begin_fenced(self, connection: Session, shards: Sequence[int]) -> None:
        """Begin a transaction that only the owner of these shards may make."""
        generations = [self.owned.get(shard, -1) for shard in shards]
        await connection.execute("BEGIN")
        owned = await connection.fetch(hot.OWNED, shards, generations, self._owner)
        if len(owned) < len(shards):
            self._forgotten = []
            raise OwnershipLost("another process has taken shards over")

    async def _trim_outbox(self, connection: Session) -> None:
        if self.position - self._trimmed_at < OUTBOX_TRIM_EVERY:
            return
        before_ms = int((time.time() - retention.OUTBOX_SECONDS_KEPT_MIN) * 1000)
        last, last_unpublished = (
            self.position - kept
            for kept in (OUTBOX_COMMITS_KEPT_MAX, OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX)
        )
        await connection.execute(
            retention.OUTBOX_TRIM, sorted(self.owned), last, before_ms, last_unpublished
        )
        self._trimmed_at = self.position

    async def connect(self) -> None:
        """Connect, where that has not happened. Raises as `commit` does."""
        async with self.lock, self._connected():
            pass

    async def close(self) -> None:
        """Drop the connection, after what is under way. Safe to call twice."""
        async with self.lock:
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Session]:
        """A session for one transaction. Failures leave none behind, and nothing open in it."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                if self._session is None or self._session.connection.is_closed():
                    self._session = await self._prepared()
                yield self._session
        except Failure as error:
            self._drop()
            if isinstance(error, TimeoutError):
                self._answer_seconds = min(self._answer_seconds * 2, ANSWER_SECONDS_MAX)
            state = sqlstate_of(error)
            if state == hot.OWNERSHIP_LOST:
                raise OwnershipLost("another process has taken shards over") from None
            if is_temporary(error):
                raise LedgerFull(
                    "the ledger cannot write at the moment; try again later"
                ) from error
            raise LedgerBroken(f"the ledger failed: {state or type(error).__name__}") from error
        except BaseException:
            self._drop()
            raise
        self._answer_seconds = ANSWER_SECONDS_MIN

    async def _prepared(self) -> _Session:
        connection = await self._database.connect(hot.SETTINGS)
        try:
            await connection.execute(hot.WRITE_FUNCTION)
            durable = await connection.fetchval("SHOW synchronous_commit")
            if durable != "on":
                raise LedgerBroken(f"synchronous_commit is {durable}, and must be on")
            return _Session(connection, await connection.prepare(hot.WRITE))
        except BaseException:
            connection.terminate()
            raise


def _inside(answer: Sequence[asyncpg.Record]) -> float:
    """How long the function ran, in seconds; the rest of a call's time is the commit's."""
    microseconds: int = answer[-1]["refused_number"]
    return microseconds * _MICROSECOND


async def _in_transaction(
    session: _Session, calls: Sequence[Sequence[Any]], batch: Batch
) -> tuple[list[list[asyncpg.Record]], float]:
    """The calls' answers, and how long the commit took. The calls hold the fence for all of it."""
    await session.connection.execute("BEGIN")
    answers = [await session.write.fetch(*arguments) for arguments in calls]
    for statement, rows in records.writes(batch.records, records.dollar):
        await session.connection.executemany(statement, rows)
    started = time.perf_counter()
    await session.connection.execute("COMMIT")
    return answers, time.perf_counter() - started


def _refused(segment: Segment, answer: Sequence[asyncpg.Record]) -> list[Refused]:
    return [
        Refused(kind, getattr(segment, kind)[number - 1], existing_id, existing_sha256 or b"")
        for kind, number, existing_id, existing_sha256 in answer
        if kind
    ]
