"""The records behind the ledgers under test: making ledgers on them, and making them fail."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import asyncpg

from muster.backends.ledger_base import Ledger
from muster.backends.postgres.database import Database
from muster.backends.postgres.ledger import PostgresLedger
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.limits import SHARDS

EVERY = range(SHARDS)
LEASE_SECONDS = 30.0


class Record(Protocol):
    """What several ledgers are made on."""

    def make(self) -> Ledger:
        """One more ledger, as another owner."""
        ...

    def full(self, ledger: Ledger) -> AbstractAsyncContextManager[None]:
        """While the block runs, nothing more fits."""
        ...

    async def lose_lock(self) -> None:
        """What keeps a second owner out holds no longer."""
        ...


class SqliteRecord:
    """A file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.db"
        self._numbers = itertools.count()

    def make(self) -> SqliteLedger:
        """See `Record.make`."""
        return SqliteLedger(self._path, f"owner {next(self._numbers)}")

    @asynccontextmanager
    async def full(self, ledger: Ledger) -> AsyncIterator[None]:
        """No page more than there are: what a full disk does, without one."""
        assert isinstance(ledger, SqliteLedger)
        connection = ledger._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        yield
        connection.execute("PRAGMA max_page_count=1073741823")

    async def lose_lock(self) -> None:
        """As may happen on a network file system."""
        self._path.with_name("ledger.db.lock").unlink()


class PostgresRecord:
    """A database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = itertools.count()

    def make(self, owner: str = "") -> PostgresLedger:
        """See `Record.make`; or as an owner that there is already."""
        return PostgresLedger(Database(self.url), owner or f"owner {next(self._numbers)}")

    @asynccontextmanager
    async def full(self, ledger: Ledger) -> AsyncIterator[None]:
        """The server says what it says when its disk is full, at the end of each write."""
        async with self.admin() as admin:
            await admin.execute(
                "CREATE FUNCTION say_full() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$; "
                "CREATE TRIGGER full_disk AFTER INSERT ON shard_outbox "
                "FOR EACH STATEMENT EXECUTE FUNCTION say_full()"
            )
            yield
            await admin.execute("DROP FUNCTION say_full CASCADE")

    async def lose_lock(self) -> None:
        """Every session ends, and with it what it has locked: as when the server starts again."""
        async with self.admin() as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection to look and meddle with."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()


async def waiting_in(admin: asyncpg.Connection[asyncpg.Record]) -> int:
    """How many sessions of a database wait for a lock."""
    found: int = await admin.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return found


async def member(ledger: Ledger, seconds: float = LEASE_SECONDS) -> Ledger:
    """The ledger, of which its owner has become a member for so long."""
    await ledger.connect()
    await ledger.join("127.0.0.1:7173", seconds)
    return ledger
