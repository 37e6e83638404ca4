"""The protocols behind which a backend can be exchanged; one conformance suite tests each.

`Blobs` is here; the ledger's is in `ledger_base`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple, Protocol


class BlobStat(NamedTuple):
    """What is there of a blob: `size_bytes` when it is whole, else None and what has arrived."""

    size_bytes: int | None
    received_bytes: int


class Blobs(Protocol):
    """Content that is too large for a message, by tenant and SHA-256. Blobs never change.

    `sha256` is 64 lower-case hex digits. Tenants do not see each other's blobs, even equal ones.
    """

    async def stat(self, tenant: str, sha256: str) -> BlobStat:
        """What is there; (None, 0) for a blob that nobody has begun to upload."""
        ...

    async def put(
        self,
        tenant: str,
        sha256: str,
        size_bytes: int,
        offset: int,
        chunks: AsyncIterable[bytes],
    ) -> None:
        """Takes the content from `offset` on; returns when the whole blob is durable.

        `offset` is 0 or what `stat` said; what has arrived beyond it is dropped. When `chunks` ends
        early or raises, what has arrived is kept, for another call to go on. A newer upload of the
        same blob takes over from one that still runs. A blob that is there already is not read.

        Raises `MusterError` with reason RANGE (offset beyond what has arrived), INVALID_FIELD (too
        much or too little content), DIGEST_MISMATCH (what has arrived is dropped), SUPERSEDED, or
        QUEUE_FULL (no room for it).
        """
        ...

    def get(
        self, tenant: str, sha256: str, offset: int = 0, length: int = 0
    ) -> AsyncIterator[bytes]:
        """The content, or `length` bytes of it from `offset`, in chunks; a length of 0 is the rest.

        Raises `MusterError` with reason BLOB_UNKNOWN unless it is whole, and RANGE for an offset
        beyond its end.
        """
        ...
