"""The database: how it is reached, read and migrated, and what its errors mean.

Three kinds of connections go to it: a scheduler's writer and its keeper of shards (`writer`,
`shards`), plain asyncpg, and a small pool under SQLAlchemy for reads and blobs. All of them come
back by themselves after the server was away; whoever asks meanwhile is told to come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from muster.backends.ledger_base import LedgerForeign, LedgerFull
from muster.backends.sql.migrate import migrate
from muster.model.errors import ResourceExhausted, Unavailable
from muster.model.limits import SHARDS

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]  # which is generic to type checkers only

T = TypeVar("T")

CONNECT_SECONDS = 2.0
READ_SECONDS = 10.0  # for one read; then whoever asked is told to come again
POOL_CONNECTIONS = 4
MIGRATION_LOCK = 0x6D75_7374_6572  # of pg_advisory_xact_lock: "muster"
VERSION_MIN = 130_000  # as server_version_num has it

# A scheduler's host that is gone without a word must not hold locks, nor its connections stay.
SESSION = {
    "application_name": "muster",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "idle_in_transaction_session_timeout": "15000",
    "jit": "off",
}

_WRONG = {  # by sqlstate: what a person has to change before anything can work
    "28000": "it refuses the user",
    "28P01": "it refuses the password",
    "3D000": "it has no such database",
    "42501": "the user may not do that there",
}
# Resources, operator's interventions, locks that were waited for, a standby, an I/O error: nothing
# was written, and the same may succeed later.
_LATER_CLASSES = frozenset({"08", "40", "53", "57", "58"})
_LATER = frozenset({"25006", "55P03"})
_DISK_FULL = "53100"

Failure = (
    DBAPIError,
    PoolTimeout,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


def sqlstate_of(error: BaseException) -> str:
    """The five characters in which the server says what is wrong; empty when it said nothing."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return getattr(origin, "sqlstate", None) or ""


def is_temporary(error: BaseException) -> bool:
    """Whether the same call may succeed later, as it is: the server is away, or has no room."""
    state = sqlstate_of(error)
    if state:
        return state[:2] in _LATER_CLASSES or state in _LATER
    if isinstance(error, DBAPIError):
        return _is_stale(error) or isinstance(error.orig, OSError)
    if isinstance(error, PoolTimeout) or _is_farewell(error):
        return True
    # Without a state an InterfaceError says that the connection was closed under the call.
    return isinstance(error, OSError | asyncpg.InterfaceError) and not isinstance(error, ValueError)


def _is_farewell(error: BaseException) -> bool:
    """Whether a connection was used when the server had just ended it.

    The driver takes the server's last word, which nobody asked for, as an operation under way. No
    connection here is used by two at a time, so it is never that.
    """
    return isinstance(error, asyncpg.InternalClientError)


def _is_stale(error: BaseException) -> bool:
    """Whether a connection of the pool was broken before it was used: another may do."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_farewell(error.orig or error)
    return _is_farewell(error)


class Database:
    """A PostgreSQL database. Its URL holds a password: only `place` may be told to anybody."""

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self.place = (parts.netloc.rpartition("@")[2] or "localhost") + parts.path
        self._engine: AsyncEngine | None = None

    async def connect(self, settings: Mapping[str, str], **more: Any) -> Session:
        """A connection of one's own. Raises `LedgerForeign`, or `LedgerFull` to try again later."""
        try:
            return await asyncpg.connect(
                self._url, timeout=CONNECT_SECONDS, server_settings={**SESSION, **settings}, **more
            )
        except (*Failure, ValueError) as error:
            raise self.refusal(error) from None  # what the driver says may hold the URL

    def refusal(self, error: BaseException) -> LedgerForeign | LedgerFull:
        """What to raise when the database cannot be used at all, or not now."""
        wrong = _WRONG.get(sqlstate_of(error))
        if wrong is not None:
            return LedgerForeign(f"PostgreSQL at {self.place}: {wrong}; see to MUSTER_LEDGER")
        if is_temporary(error):
            return LedgerFull("the ledger's database does not answer; try again later")
        what = sqlstate_of(error) or type(error).__name__
        return LedgerForeign(
            f"PostgreSQL at {self.place} cannot be used ({what}); see to MUSTER_LEDGER"
        )

    async def require_durable(self) -> None:
        """Raises `LedgerForeign` for a server that would break the promise, or that is too old.

        With fsync off, what was acknowledged is gone after a power cut. That is refused, and not
        only warned of: nobody reads warnings, and the record is all that there is.
        """
        connection = await self.connect({})
        try:
            settings = await connection.fetchrow(
                "SELECT current_setting('fsync') AS fsync, current_setting('server_encoding') "
                "AS encoding, current_setting('server_version_num')::int AS version"
            )
        except Failure as error:
            raise self.refusal(error) from None
        finally:
            connection.terminate()
        assert settings is not None
        for met, wrong in (
            (settings["fsync"] == "on", "runs with fsync=off and would lose contracts; turn it on"),
            (settings["encoding"] == "UTF8", "has another encoding than UTF8; make one that has"),
            (settings["version"] >= VERSION_MIN, "is too old; PostgreSQL 13 is the oldest to do"),
        ):
            if not met:
                raise LedgerForeign(f"the database at {self.place} {wrong}")

    async def migrate(self) -> None:
        """Bring the tables to the newest version. Several may start at once: one migrates."""
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="READ COMMITTED", postgresql_readonly=False
                )
                await connection.run_sync(_migrate)
                await connection.commit()
        except Failure as error:
            raise self.refusal(error) from error

    @property
    def engine(self) -> AsyncEngine:
        """The pool; a transaction of it sees one state of the database."""
        if self._engine is None:
            self._engine = create_async_engine(
                "postgresql+asyncpg://",
                async_creator=lambda *_, **more: self.connect({}, **more),
                pool_size=POOL_CONNECTIONS,
                max_overflow=0,
                pool_timeout=READ_SECONDS,
                isolation_level="REPEATABLE READ",
                hide_parameters=True,  # they are what clients sent, and errors are logged
            )
        return self._engine

    async def read(
        self, read: Callable[[Connection], T], seconds: float | None = READ_SECONDS
    ) -> T:
        """What a read gives, all of it from one state. Raises `Unavailable`: come again later."""
        try:
            return await self._tried(read, seconds)
        except Failure as error:
            # A server that was away has left broken connections behind: the first to find out
            # drops all of them, and may try a new one.
            if not _is_stale(error):
                raise away(error) from error
        try:
            return await self._tried(read, seconds)
        except Failure as error:
            raise away(error) from error

    async def _tried(self, read: Callable[[Connection], T], seconds: float | None) -> T:
        async with asyncio.timeout(seconds), self.engine.connect() as connection:
            await connection.execution_options(postgresql_readonly=True)
            return await connection.run_sync(read)

    async def write(self, write: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What a transaction of the pool gives, committed. Raises as `read` does, and
        `ResourceExhausted` where the disk is full.
        """
        try:
            async with asyncio.timeout(READ_SECONDS), self.engine.connect() as connection:
                await connection.execution_options(isolation_level="READ COMMITTED")
                result = await write(connection)
                await connection.commit()
                return result
        except Failure as error:
            if sqlstate_of(error) == _DISK_FULL:
                raise ResourceExhausted("the database has no room left") from error
            raise away(error) from error

    async def close(self) -> None:
        """Close the pool. Safe to call twice; whoever uses it again makes another."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()


def away(error: BaseException) -> Exception:
    """What to raise to whoever reads: `Unavailable`, or the error itself where it is a mistake."""
    if is_temporary(error):
        return Unavailable(
            "the ledger's database does not answer; try again later", reason="LEDGER_UNAVAILABLE"
        )
    assert isinstance(error, Exception)
    return error


def _migrate(connection: Connection) -> None:
    connection.execute(select(func.pg_advisory_xact_lock(bindparam("key", MIGRATION_LOCK))))
    migrate(connection)
    connection.execute(
        text(
            "INSERT INTO shards (shard, generation, owner) "
            "SELECT number, 0, '' FROM generate_series(0, :last) number ON CONFLICT DO NOTHING"
        ),
        {"last": SHARDS - 1},
    )
