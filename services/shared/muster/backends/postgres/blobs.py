"""Blobs in the ledger's database: a row for each blob, and one for each chunk of it.

Chunks are written as they arrive, each in a transaction that also says how much has arrived; they
need not wait for the disk, because the one that makes the blob whole does, and the log is written
in order. What a crash of the server leaves of an upload is compared by its digest in the end.

Each upload draws a number from the blob's row. The row has the newest upload's, whichever process
it runs in, and every write is conditional on it: one that was taken over from writes nothing more.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from muster.backends.base import (
    BlobStat,
    blob_arrived,
    blob_ends,
    blob_mismatch,
    blob_superseded,
    blob_unknown,
    require_blob_name,
    require_blob_size,
    too_many_uploads,
    wrong_blob_size,
)
from muster.backends.postgres.database import Database
from muster.model import limits

CHUNKS_AT_ONCE = 4  # that are read with one statement: 1 MiB

_THIS = "tenant = :tenant AND sha256 = :sha256"
_STAT = text(f"SELECT size_bytes, received_bytes FROM blobs WHERE {_THIS}")
# Waits for what an earlier upload is writing just now.
_BEGIN = text(
    "INSERT INTO blobs AS b (tenant, sha256, received_bytes, upload, changed_ms) "
    "VALUES (:tenant, :sha256, 0, 1, :now_ms) ON CONFLICT (tenant, sha256) "
    "DO UPDATE SET upload = b.upload + 1, changed_ms = :now_ms "
    "RETURNING upload, size_bytes, received_bytes"
)
_CUT = (
    text(f"DELETE FROM blob_chunks WHERE {_THIS} AND at >= :offset"),
    text(
        "UPDATE blob_chunks SET chunk = substr(chunk, 1, CAST(:offset - at AS integer)) "
        f"WHERE {_THIS} AND at + length(chunk) > :offset"
    ),
    text(f"UPDATE blobs SET received_bytes = :offset WHERE {_THIS}"),
)
_MINE = f"{_THIS} AND upload = :upload AND size_bytes IS NULL"
_WRITE = text(
    "WITH mine AS (UPDATE blobs SET received_bytes = :after, changed_ms = :now_ms "
    f"WHERE {_MINE} RETURNING tenant, sha256) "
    "INSERT INTO blob_chunks (tenant, sha256, at, chunk) "
    "SELECT tenant, sha256, CAST(:at AS bigint), CAST(:chunk AS bytea) FROM mine RETURNING at"
)
_FINISH = text(f"UPDATE blobs SET size_bytes = received_bytes WHERE {_MINE} RETURNING upload")
_DROP = text(
    f"WITH mine AS (DELETE FROM blobs WHERE {_MINE} RETURNING tenant, sha256) "
    "DELETE FROM blob_chunks c USING mine WHERE c.tenant = mine.tenant AND c.sha256 = mine.sha256"
)
_MAKE_ROOM = text(
    "WITH oldest AS (SELECT tenant, sha256 FROM blobs WHERE tenant = :tenant "
    "AND size_bytes IS NULL ORDER BY changed_ms DESC OFFSET :kept FOR UPDATE SKIP LOCKED), "
    "gone AS (DELETE FROM blobs b USING oldest o WHERE b.tenant = o.tenant "
    "AND b.sha256 = o.sha256 RETURNING b.tenant, b.sha256) "
    "DELETE FROM blob_chunks c USING gone WHERE c.tenant = gone.tenant AND c.sha256 = gone.sha256"
)
# From the chunk that holds the offset on.
_READ = text(
    f"SELECT at, chunk FROM blob_chunks WHERE {_THIS} AND at >= coalesce((SELECT max(at) "
    f"FROM blob_chunks WHERE {_THIS} AND at <= :offset), 0) ORDER BY at LIMIT {CHUNKS_AT_ONCE}"
)
_NEED_NOT_WAIT = text("SET LOCAL synchronous_commit = off")


class PostgresBlobs:
    """See `muster.backends.base.Blobs`. The database's tables are there before it is used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uploads = 0

    async def stat(self, tenant: str, sha256: str) -> BlobStat:
        require_blob_name(tenant, sha256)
        row = await self._one(_STAT, {"tenant": tenant, "sha256": sha256})
        if row is None:
            return BlobStat(None, 0)
        return BlobStat(row.size_bytes, 0 if row.size_bytes is not None else row.received_bytes)

    async def put(
        self,
        tenant: str,
        sha256: str,
        size_bytes: int,
        offset: int,
        chunks: AsyncIterable[bytes],
    ) -> None:
        require_blob_name(tenant, sha256)
        require_blob_size(size_bytes)
        if self._uploads >= limits.BLOB_UPLOADS_MAX:
            raise too_many_uploads()
        self._uploads += 1
        try:
            upload = _Upload(self._database, tenant, sha256)
            if not await upload.begin(size_bytes, offset):
                return
            async for chunk in chunks:
                if upload.received + len(chunk) > size_bytes:
                    raise wrong_blob_size("more", size_bytes)
                for part in _parts(chunk):
                    await upload.write(part)
            if upload.received < size_bytes:
                raise wrong_blob_size("less", size_bytes)
            await upload.finish()
        finally:
            self._uploads -= 1

    async def get(
        self, tenant: str, sha256: str, offset: int = 0, length: int = 0
    ) -> AsyncIterator[bytes]:
        size = (await self.stat(tenant, sha256)).size_bytes
        if size is None:
            raise blob_unknown()
        if offset > size:
            raise blob_ends(size)
        end = min(size, offset + length) if length else size
        while offset < end:
            for chunk in await _read(self._database, tenant, sha256, offset):
                yield chunk[: end - offset]
                offset += len(chunk)
                if offset >= end:
                    return

    async def _one(self, statement: TextClause, values: Mapping[str, Any]) -> Row[Any] | None:
        return await self._database.read(lambda c: c.execute(statement, values).first())


class _Upload:
    """One upload that is under way."""

    def __init__(self, database: Database, tenant: str, sha256: str) -> None:
        self.received = 0
        self._database = database
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._values: dict[str, Any] = {"tenant": tenant, "sha256": sha256}

    async def begin(self, size_bytes: int, offset: int) -> bool:
        """Keeps the first `offset` bytes of what has arrived. False when the blob is whole."""
        values = {**self._values, "now_ms": _now_ms(), "offset": offset}

        async def begin(connection: AsyncConnection) -> bool:
            row = (await connection.execute(_BEGIN, values)).one()
            if row.size_bytes is not None:
                if row.size_bytes != size_bytes:
                    raise blob_mismatch()
                return False
            if offset > row.received_bytes:
                raise blob_arrived(row.received_bytes)
            for statement in _CUT:
                await connection.execute(statement, values)
            self._values["upload"] = row.upload
            return True

        if not await self._database.write(begin):
            return False
        await self._execute(
            _MAKE_ROOM, tenant=self._values["tenant"], kept=limits.BLOB_PARTIALS_MAX
        )
        while self.received < offset:
            for chunk in await _read(self._database, **self._name, offset=self.received):
                self._digest.update(chunk)
                self.received += len(chunk)
        return True

    @property
    def _name(self) -> dict[str, str]:
        return {"tenant": self._values["tenant"], "sha256": self._sha256}

    async def write(self, part: bytes) -> None:
        """Appends."""
        after = self.received + len(part)
        row = {"at": self.received, "after": after, "chunk": part, "now_ms": _now_ms()}

        async def write(connection: AsyncConnection) -> bool:
            await connection.execute(_NEED_NOT_WAIT)
            return (await connection.execute(_WRITE, {**self._values, **row})).first() is not None

        if not await self._database.write(write):
            raise blob_superseded()
        self._digest.update(part)
        self.received += len(part)

    async def finish(self) -> None:
        """Compares the digest, and makes the blob whole, durably."""
        if self._digest.hexdigest() != self._sha256:
            await self._execute(_DROP, **self._values)
            raise blob_mismatch()
        if not await self._execute(_FINISH, **self._values):
            raise blob_superseded()

    async def _execute(self, statement: TextClause, **values: Any) -> bool:
        """Whether the statement gave a row."""

        async def execute(connection: AsyncConnection) -> bool:
            result = await connection.execute(statement, values)
            return result.returns_rows and result.first() is not None

        return await self._database.write(execute)


async def _read(database: Database, tenant: str, sha256: str, offset: int) -> list[bytes]:
    """Some chunks from an offset on; there is at least one, or the blob has been damaged."""
    values = {"tenant": tenant, "sha256": sha256, "offset": offset}

    def read(connection: Connection) -> list[Any]:
        return list(connection.execute(_READ, values))

    found: list[bytes] = []
    for at, chunk in await database.read(read):
        inside = offset - at
        if not 0 <= inside < max(1, len(chunk)):
            break
        found.append(chunk[inside:])
        offset += len(chunk) - inside
    if not found:
        raise blob_mismatch()
    return found


def _parts(chunk: bytes) -> Iterator[bytes]:
    for at in range(0, len(chunk), limits.BLOB_CHUNK_BYTES_MAX):
        yield chunk[at : at + limits.BLOB_CHUNK_BYTES_MAX]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
