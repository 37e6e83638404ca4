"""The protocols behind which a backend can be exchanged; one conformance suite tests each.

`Blobs` is here, with what each of its backends refuses; the ledger's is in `ledger_base`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple, Protocol

from muster.model import limits
from muster.model.errors import InvalidArgument, MusterError, NotFound, ResourceExhausted

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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


def require_blob_name(tenant: str, sha256: str) -> None:
    """Raises `InvalidArgument` for a malformed one: callers have checked both; a path, or a
    statement, is not the place to rely on it.
    """
    if not _TENANT.fullmatch(tenant) or not _SHA256.fullmatch(sha256):
        raise InvalidArgument("malformed name of a blob")


def require_blob_size(size_bytes: int) -> None:
    """Raises `InvalidArgument` for a blob that is larger than any may be."""
    if not 0 <= size_bytes <= limits.BLOB_BYTES_MAX:
        raise InvalidArgument(f"a blob has at most {limits.BLOB_BYTES_MAX} bytes")


def wrong_blob_size(what: str, size_bytes: int) -> InvalidArgument:
    """For an upload of "more" or "less" than was announced."""
    return InvalidArgument(f"the upload holds {what} than the {size_bytes} bytes it announced")


def blob_mismatch() -> MusterError:
    """For content that its digest does not fit."""
    return MusterError("the content is not what was announced", reason="DIGEST_MISMATCH")


def blob_superseded() -> MusterError:
    """For an upload from which a newer one has taken over."""
    return MusterError("a newer upload of this blob has taken over", reason="SUPERSEDED")


def blob_arrived(received_bytes: int) -> MusterError:
    """For an upload that would go on beyond what there is of it."""
    return MusterError(f"{received_bytes} bytes have arrived; go on from there", reason="RANGE")


def blob_ends(size_bytes: int) -> MusterError:
    """For a read from beyond the end."""
    return MusterError(f"the blob has {size_bytes} bytes only", reason="RANGE")


def blob_unknown() -> NotFound:
    """For a blob that is not there, or not whole."""
    return NotFound("there is no such blob", reason="BLOB_UNKNOWN")


def too_many_uploads() -> ResourceExhausted:
    """For one upload more than a process takes at a time."""
    return ResourceExhausted(f"{limits.BLOB_UPLOADS_MAX} uploads are under way already")
