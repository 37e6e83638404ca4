"""BlobService over whichever backend keeps the blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster.backends.base import Blobs
from muster.model.errors import FailedPrecondition, NotFound
from muster.runtime.principal import current_principal
from muster.runtime.validation import check
from muster.v1 import blob_service_pb2 as pb
from muster.v1 import blob_service_pb2_grpc, payload_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class BlobServicer(blob_service_pb2_grpc.BlobServiceServicer):
    """The gRPC face of `Blobs`. Every call acts within the caller's tenant."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def PutBlob(
        self, request_iterator: AsyncIterator[pb.PutBlobRequest], _context: _Context
    ) -> pb.PutBlobResponse:
        header = await _header(request_iterator)
        ref = header.ref
        await self._blobs.put(
            current_principal().tenant,
            ref.sha256,
            ref.size_bytes,
            header.offset,
            _chunks(request_iterator),
        )
        return pb.PutBlobResponse(ref=ref)

    async def GetBlob(
        self, request: pb.GetBlobRequest, _context: _Context
    ) -> AsyncIterator[pb.GetBlobResponse]:
        tenant = current_principal().tenant
        stat = await self._blobs.stat(tenant, request.sha256)
        if stat.size_bytes is None:
            raise NotFound("there is no such blob", reason="BLOB_UNKNOWN")
        chunks = self._blobs.get(tenant, request.sha256, request.offset, request.length)
        answer = pb.GetBlobResponse(ref=_ref(request.sha256, stat.size_bytes))
        async for chunk in chunks:
            answer.chunk = chunk
            yield answer
            answer = pb.GetBlobResponse()
        if answer.HasField("ref"):
            # Nothing lies in the range; the reader still learns the size.
            yield answer

    async def StatBlob(
        self, request: pb.StatBlobRequest, _context: _Context
    ) -> pb.StatBlobResponse:
        stat = await self._blobs.stat(current_principal().tenant, request.sha256)
        if stat.size_bytes is None:
            return pb.StatBlobResponse(received_bytes=stat.received_bytes)
        return pb.StatBlobResponse(ref=_ref(request.sha256, stat.size_bytes))


def _ref(sha256: str, size_bytes: int) -> payload_pb2.BlobRef:
    return payload_pb2.BlobRef(sha256=sha256, size_bytes=size_bytes)


async def _header(requests: AsyncIterator[pb.PutBlobRequest]) -> pb.PutBlobHeader:
    async for request in requests:
        check(request)
        if request.HasField("header"):
            return request.header
        break
    raise FailedPrecondition(
        "the first message of an upload must be its header", reason="SESSION_PROTOCOL"
    )


async def _chunks(requests: AsyncIterator[pb.PutBlobRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        check(request)
        if request.HasField("header"):
            raise FailedPrecondition("an upload has one header", reason="SESSION_PROTOCOL")
        yield request.chunk
