"""`Ledger` on one SQLite file.

One connection writes, on a thread of its own; reads go through a second one on another thread, and
see the last commit (WAL). A lock beside the file, held for the life of the process, keeps a second
owner out: SQLite's own locks would let it in between two transactions.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from muster.backends.ledger_base import (
    Commit,
    Ended,
    LedgerBusy,
    LedgerForeign,
    Member,
    ShardCommit,
    ShardOwner,
    StoredItem,
)
from muster.backends.sql import asked, conversations, openings, reads, records
from muster.backends.sql.migrate import migrate
from muster.backends.sqlite.writer import Writer
from muster.model.conversations import BriefContract, ConversationQuery
from muster.model.ledger import (
    Batch,
    CatalogueRow,
    CommitResult,
    ContractQuery,
    Opening,
    Settled,
    StoredContract,
    StoredQuestion,
)
from muster.model.limits import EPOCH_GENERATION_BITS, SHARDS
from muster.model.records import RowQuery

T = TypeVar("T")

BUSY_SECONDS = 5.0
READERS = 2
CACHE_KIB = 16 * 1024  # of the writer; the tail of every index fits


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # the promise rests on this fsync
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")


class SqliteLedger:
    """The ledger in the file `path`. `owner` names this process in messages and in the file."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        self._owner = owner
        self._writing = ThreadPoolExecutor(1, "ledger-writer")
        self._reading = ThreadPoolExecutor(READERS, "ledger-reader")
        self._lock: IO[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._engine: Engine | None = None
        self._writer: Writer | None = None
        self._address = ""
        self._closed = False

    async def open(self) -> Opening:
        """See `Ledger.open`."""
        await self.connect()
        return await self.claim(range(SHARDS))

    async def connect(self) -> None:
        """See `Ledger.connect`. There is room for one owner: another one's is `LedgerBusy`."""
        await self._run(self._writing, self._connect)

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        engine = create_engine(
            f"sqlite:///{self._path}",
            poolclass=QueuePool,
            pool_size=READERS,
            connect_args={"check_same_thread": False},
        )
        event.listen(engine, "connect", lambda raw, _: _configure(raw))
        self._engine = engine
        with engine.connect() as connection:
            migrate(connection)
            connection.commit()
        self._connection = db = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        _configure(db)

    async def claim(self, shards: Collection[int]) -> Opening:
        """See `Ledger.claim`. All shards are taken, whichever are asked for."""
        return await self._run(self._writing, self._claim)

    def _claim(self) -> Opening:
        db = self._connection
        assert db is not None
        generation = self._raise_generation(db)
        opening = self._with_connection(partial(_opening, generation=generation))
        self._writer = Writer(db, generation, opening.position)
        return opening

    async def join(self, address: str, lease_seconds: float) -> None:
        """See `Ledger.join`. Nobody else looks: the lock is what keeps others out."""
        self._address = address

    async def renew(self) -> bool:
        """See `Ledger.renew`."""
        return True

    async def members(self) -> list[Member]:
        """See `Ledger.members`."""
        return [Member(self._owner, self._address, live=True)]

    async def ownership(self) -> list[ShardOwner]:
        """See `Ledger.ownership`."""
        rows = await self._read(reads.shard_owners)
        return [ShardOwner(*row, live=row[2] == self._owner, trimmed=0) for row in rows]

    async def release(self, shards: Collection[int]) -> None:
        """See `Ledger.release`. There is nobody to take them: they stay."""

    async def changes(self) -> AsyncIterator[None]:
        """See `Ledger.changes`. Nothing ever does."""
        yield
        await asyncio.Event().wait()

    def _take_lock(self) -> None:
        lock = open(self._path.with_name(self._path.name + ".lock"), "a+")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise LedgerBusy(
                f"the ledger is in use by {owner}; stop it first (muster down), "
                "or choose another data directory (MUSTER_DATA_DIR)"
            ) from None
        lock.truncate(0)
        lock.write(f"{self._owner}, process {os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _raise_generation(self, db: sqlite3.Connection) -> int:
        """Make every earlier owner's transactions fail, and every epoch from now on larger."""
        db.execute("BEGIN IMMEDIATE")
        newest = db.execute("SELECT coalesce(max(generation), 0) FROM shards").fetchone()[0]
        generation = int(newest) + 1
        if generation >> EPOCH_GENERATION_BITS:
            message = "the ledger has been opened too often for its epochs; start a new one"
            raise LedgerForeign(message)
        rows = [(shard, generation, self._owner) for shard in range(SHARDS)]
        db.executemany(
            "INSERT OR REPLACE INTO shards (shard, generation, owner) VALUES (?,?,?)", rows
        )
        db.execute("COMMIT")
        return generation

    async def commit(self, batch: Batch) -> CommitResult:
        """See `Ledger.commit`."""
        assert self._writer is not None
        return await self._run(self._writing, partial(self._writer.commit, batch))

    async def trim(self, before_ms: int, limit: int) -> Ended:
        """See `Ledger.trim`."""
        assert self._writer is not None
        return await self._run(self._writing, partial(self._writer.trim, before_ms, limit))

    async def mark_settled(
        self, generations: Mapping[int, int], marks: Mapping[int, Settled]
    ) -> None:
        """See `Ledger.mark_settled`. There is one generation, and another's owner is refused."""
        assert self._writer is not None
        await self._run(self._writing, partial(self._writer.mark_settled, marks))

    async def ended(self, shards: Collection[int], last_id: int, but: Collection[int]) -> Ended:
        """See `Ledger.ended`."""
        return await self._read(partial(openings.ended, shards=shards, last_id=last_id, but=but))

    async def load(self, ids: Sequence[int]) -> list[StoredContract]:
        """See `Ledger.load`."""
        return await self._read(partial(reads.by_ids, numbers=ids))

    async def find(self, scope: tuple[str, str, str]) -> StoredContract | None:
        """See `Ledger.find`."""
        return await self._read(partial(reads.by_scope, scope=scope))

    async def questions(self, subject_ids: Sequence[int]) -> list[StoredQuestion]:
        """See `Ledger.questions`."""
        return await self._read(partial(asked.of_subjects, subjects=subject_ids))

    async def page(self, query: ContractQuery) -> list[StoredContract]:
        """See `Ledger.page`."""
        return await self._read(partial(reads.page, query=query))

    async def conversing(self, query: ConversationQuery) -> list[tuple[int, str, str]]:
        """See `Ledger.conversing`."""
        return await self._read(partial(conversations.ids, query=query))

    async def briefs(self, query: ConversationQuery) -> list[BriefContract]:
        """See `Ledger.briefs`."""
        return await self._read(partial(conversations.briefs, query=query))

    async def items(self, contract_id: int, epoch: int, index: int, limit: int) -> list[StoredItem]:
        """See `Ledger.items`."""
        rows = await self._read(partial(reads.items, key=(contract_id, epoch, index), limit=limit))
        return [StoredItem(*row) for row in rows]

    async def versions(self, tenant: str, capability: str) -> list[CatalogueRow]:
        """See `Ledger.versions`."""
        return await self._read(partial(reads.versions, tenant=tenant, capability=capability))

    async def rows(self, query: RowQuery) -> list[tuple[Any, ...]]:
        """See `Ledger.rows`."""
        return await self._read(partial(records.rows, query=query))

    async def history(self, after: int, limit: int) -> list[Commit]:
        """See `Ledger.history`."""
        rows = await self._read(partial(reads.history, after=after, limit=limit))
        return [Commit(position, reads.pairs_of(packed)) for position, packed in rows]

    async def shard_history(self, after: Mapping[int, int], limit: int) -> list[ShardCommit]:
        """See `Ledger.shard_history`. A position is one of the whole ledger."""
        found: list[ShardCommit] = []
        for shard, position in sorted(after.items()):
            mine = await self._read(
                partial(reads.shard_history, shard=shard, after=position, limit=limit)
            )
            found.extend(ShardCommit(shard, *each) for each in mine)
        return found

    async def published(self) -> dict[int, int]:
        """See `Ledger.published`."""
        return await self._read(reads.published_positions)

    async def mark_published(self, positions: Mapping[int, int]) -> None:
        """See `Ledger.mark_published`."""
        assert self._writer is not None
        await self._run(self._writing, partial(self._writer.mark_published, positions))

    async def close(self) -> None:
        """See `Ledger.close`."""
        if self._closed:
            return
        self._closed = True
        await self._run(self._writing, self._close)
        self._writing.shutdown()
        self._reading.shutdown()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._engine is not None:
            self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    async def _read(self, read: Callable[[Connection], T]) -> T:
        return await self._run(self._reading, partial(self._with_connection, read))

    def _with_connection(self, read: Callable[[Connection], T]) -> T:
        assert self._engine is not None
        with self._engine.connect() as connection:
            return read(connection)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call)


def _opening(connection: Connection, generation: int) -> Opening:
    generations = dict.fromkeys(range(SHARDS), generation)
    return openings.opening(connection, generations, reads.last_position(connection))
