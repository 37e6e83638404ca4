"""Blobs: content of up to 4 GiB that does not fit into messages.

Uploads and downloads go on where they were when the connection breaks. They give up after
`TRIES_MAX` breaks in a row without any progress, about half a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, BinaryIO

import grpc

from muster.agent.blob import Blob
from muster.agent.session.core import reconnect_pause
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.v1.blob_service_pb2 import (
    GetBlobRequest,
    PutBlobHeader,
    PutBlobRequest,
    StatBlobRequest,
    StatBlobResponse,
)
from muster.v1.payload_pb2 import BlobRef
from muster.wire.errors import PASSING, error_of_rpc

if TYPE_CHECKING:
    from muster.agent.options import Metadata
    from muster.v1.blob_service_pb2_grpc import BlobServiceStub

TRIES_MAX = 10
MEDIA_TYPE_DEFAULT = "application/octet-stream"


class Blobs:
    """Reads and writes the tenant's blobs. Errors of the mesh are raised as `MusterError`."""

    def __init__(self, stub: Callable[[], BlobServiceStub], metadata: Metadata) -> None:
        self._stub = stub
        self._metadata = metadata

    async def put(self, data: bytes, media_type: str = MEDIA_TYPE_DEFAULT) -> Blob:
        """Uploads bytes; returns once they are durable."""
        blob = Blob(hashlib.sha256(data).hexdigest(), len(data), media_type)
        view = memoryview(data)
        await self._upload(blob, lambda start, length: bytes(view[start : start + length]))
        return blob

    async def put_file(self, path: str | os.PathLike[str], media_type: str = "") -> Blob:
        """Uploads a file, which must not change meanwhile, without holding it in memory."""
        with open(path, "rb") as file:  # noqa: ASYNC230 - opening it does not wait
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            size = file.seek(0, os.SEEK_END)
            blob = Blob(digest.hexdigest(), size, media_type or MEDIA_TYPE_DEFAULT)
            await self._upload(blob, lambda start, length: _read_at(file, start, length))
        return blob

    async def get(self, blob: Blob, offset: int = 0, length: int = 0) -> bytes:
        """A blob's content, or a range of it; a length of 0 means to the end."""
        return b"".join([chunk async for chunk in self.stream(blob, offset, length)])

    async def get_file(self, blob: Blob, path: str | os.PathLike[str]) -> None:
        """Writes a blob's content to a file, without holding it in memory."""
        with open(path, "wb") as file:  # noqa: ASYNC230 - opening it does not wait
            async for chunk in self.stream(blob):
                file.write(chunk)

    async def stream(self, blob: Blob, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """A blob's content in chunks of at most 256 KiB, in order."""
        end = min(offset + length, blob.size_bytes) if length else blob.size_bytes
        tries = 0
        while offset < end:
            request = GetBlobRequest(sha256=blob.sha256, offset=offset, length=end - offset)
            try:
                async for part in self._stub().GetBlob(request, metadata=self._metadata):
                    if part.chunk:
                        offset, tries = offset + len(part.chunk), 0
                        yield part.chunk
            except grpc.RpcError as error:
                tries = await _wait_for_another_try(error, tries)
                continue
            if offset < end:
                message = f"blob {blob.sha256} ended {end - offset} bytes early"
                raise ValueError(message)

    async def _upload(self, blob: Blob, read: Callable[[int, int], bytes]) -> None:
        ref = blob_ref(blob)
        offset, furthest, tries = 0, 0, 0
        while True:
            try:
                parts = _parts(ref, offset, read)
                await self._stub().PutBlob(parts, metadata=self._metadata)
                return
            except grpc.RpcError as error:
                tries = await _wait_for_another_try(error, tries)
            found = await self._stat(blob)
            if found.HasField("ref"):
                return  # all of it had arrived, and only the answer was lost
            offset = found.received_bytes
            if offset > furthest:
                furthest, tries = offset, 0

    async def _stat(self, blob: Blob) -> StatBlobResponse:
        request = StatBlobRequest(sha256=blob.sha256)
        try:
            return await self._stub().StatBlob(request, metadata=self._metadata)
        except grpc.RpcError:
            return StatBlobResponse()


def blob_ref(blob: Blob) -> BlobRef:
    """The blob's name on the wire."""
    return BlobRef(sha256=blob.sha256, size_bytes=blob.size_bytes, media_type=blob.media_type)


async def _parts(
    ref: BlobRef, offset: int, read: Callable[[int, int], bytes]
) -> AsyncIterator[PutBlobRequest]:
    yield PutBlobRequest(header=PutBlobHeader(ref=ref, offset=offset))
    while chunk := read(offset, limits.BLOB_CHUNK_BYTES_MAX):
        yield PutBlobRequest(chunk=chunk)
        offset += len(chunk)


def _read_at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


async def _wait_for_another_try(error: grpc.RpcError, tries: int) -> int:
    """Waits after a break, longer each time; raises the error when it will not pass."""
    found = error_of_rpc(error)
    if not _may_pass(found) or tries >= TRIES_MAX:
        raise found from None
    await asyncio.sleep(reconnect_pause(tries, random.random()))
    return tries + 1


def _may_pass(error: MusterError) -> bool:
    """Whether another try makes sense. A service that ends an upload early, with a reason, may meet
    a client that is just writing: gRPC then says INTERNAL instead, and the reason is lost."""
    return error.code in PASSING or (error.code is Code.INTERNAL and not error.reason)
