"""Blobs in memory that break off when a test says so."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster.v1.blob_service_pb2 import (
    GetBlobRequest,
    GetBlobResponse,
    PutBlobResponse,
    StatBlobRequest,
    StatBlobResponse,
)
from muster.v1.blob_service_pb2_grpc import BlobServiceServicer
from muster.v1.payload_pb2 import BlobRef

CHUNK_BYTES = 64 * 1024


class ScriptedBlobs(BlobServiceServicer):
    """`breaks` is how many calls break off after their first chunk; `calls` what was called."""

    def __init__(self) -> None:
        self.whole: dict[str, bytes] = {}
        self.parts: dict[str, bytes] = {}
        self.breaks = 0
        self.code = grpc.StatusCode.UNAVAILABLE  # with which they do
        self.away = False
        self.calls: list[tuple[str, int]] = []

    async def PutBlob(self, request_iterator: Any, context: Any) -> PutBlobResponse:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
        header = (await anext(aiter(request_iterator))).header
        digest = header.ref.sha256
        self.calls.append(("put", header.offset))
        data = self.parts.get(digest, b"")[: header.offset]
        async for part in request_iterator:
            data += part.chunk
            self.parts[digest] = data
            await self._maybe_break(context)
        assert hashlib.sha256(data).hexdigest() == digest
        self.whole[digest] = data
        return PutBlobResponse(ref=header.ref)

    async def GetBlob(
        self, request: GetBlobRequest, context: Any
    ) -> AsyncIterator[GetBlobResponse]:
        self.calls.append(("get", request.offset))
        data = self.whole[request.sha256]
        end = request.offset + request.length if request.length else len(data)
        yield GetBlobResponse(ref=BlobRef(sha256=request.sha256, size_bytes=len(data)))
        for start in range(request.offset, end, CHUNK_BYTES):
            yield GetBlobResponse(chunk=data[start : min(start + CHUNK_BYTES, end)])
            await self._maybe_break(context)

    async def StatBlob(self, request: StatBlobRequest, context: Any) -> StatBlobResponse:
        received = len(self.parts.get(request.sha256, b""))
        return StatBlobResponse(received_bytes=received)

    async def _maybe_break(self, context: Any) -> None:
        if self.breaks:
            self.breaks -= 1
            await context.abort(self.code, "broken off")
