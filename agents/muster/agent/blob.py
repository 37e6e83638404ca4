"""Names of blobs: content that is too large for a message, named by its digest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blob:
    """Names a blob of the tenant. A capability can take and return it like any other dataclass."""

    sha256: str
    size_bytes: int
    media_type: str = "application/octet-stream"
