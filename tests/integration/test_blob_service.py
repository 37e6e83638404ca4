"""BlobService over real gRPC and files."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster.backends.blobs_files import FileBlobs
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.runtime.blob_servicer import BlobServicer
from muster.runtime.config import Listen
from muster.runtime.principal import TENANT_KEY
from muster.runtime.serve import Part, Readiness, serve
from muster.v1 import blob_service_pb2 as pb
from muster.v1 import payload_pb2
from muster.v1.blob_service_pb2_grpc import (
    BlobServiceStub,
    add_BlobServiceServicer_to_server,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc

CONTENT = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHUNK = limits.BLOB_CHUNK_BYTES_MAX


@asynccontextmanager
async def running(root: Path) -> AsyncIterator[Any]:
    @asynccontextmanager
    async def run(_readiness: Readiness) -> AsyncIterator[None]:
        yield
        blobs.close()

    blobs = FileBlobs(root)
    add = partial(add_BlobServiceServicer_to_server, BlobServicer(blobs))
    part = Part("blobs", {"muster.v1.BlobService": add}, run)
    listen = Listen(grpc_port=0, http_port=None)
    async with serve(listen, [part]) as server, open_channel(server.address) as channel:
        yield BlobServiceStub(channel)


async def messages(
    content: bytes, *, sha256: str = SHA256, size: int = len(CONTENT), offset: int = 0
) -> AsyncIterator[pb.PutBlobRequest]:
    ref = payload_pb2.BlobRef(sha256=sha256, size_bytes=size, media_type="image/png")
    yield pb.PutBlobRequest(header=pb.PutBlobHeader(ref=ref, offset=offset))
    for at in range(0, len(content), CHUNK):
        yield pb.PutBlobRequest(chunk=content[at : at + CHUNK])


async def refusal_of(call: Any) -> MusterError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return error_of_rpc(caught.value)


async def get(stub: Any, **fields: Any) -> tuple[payload_pb2.BlobRef, bytes]:
    metadata = ((TENANT_KEY, fields.pop("tenant", "default")),)
    call = stub.GetBlob(pb.GetBlobRequest(**fields), timeout=10, metadata=metadata)
    answers = [answer async for answer in call]
    assert [answer.HasField("ref") for answer in answers] == [True] + [False] * (len(answers) - 1)
    return answers[0].ref, b"".join(answer.chunk for answer in answers)


async def test_a_blob_goes_up_and_comes_down_whole_or_in_parts(tmp_path: Path):
    async with running(tmp_path) as stub:
        put = await stub.PutBlob(messages(CONTENT), timeout=10)
        assert (put.ref.sha256, put.ref.media_type) == (SHA256, "image/png")
        ref, content = await get(stub, sha256=SHA256)
        assert (ref.size_bytes, content) == (len(CONTENT), CONTENT)
        _, part = await get(stub, sha256=SHA256, offset=1000, length=CHUNK + 1)
        assert part == CONTENT[1000 : 1001 + CHUNK]
        ref, nothing = await get(stub, sha256=SHA256, offset=len(CONTENT))
        assert (ref.size_bytes, nothing) == (len(CONTENT), b"")


async def test_an_upload_goes_on_after_a_break_and_a_restart(tmp_path: Path):
    async with running(tmp_path) as stub:
        error = await refusal_of(stub.PutBlob(messages(CONTENT[:CHUNK]), timeout=10))
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
    async with running(tmp_path) as stub:
        stat = await stub.StatBlob(pb.StatBlobRequest(sha256=SHA256))
        assert (stat.HasField("ref"), stat.received_bytes) == (False, CHUNK)
        await stub.PutBlob(messages(CONTENT[CHUNK:], offset=CHUNK), timeout=10)
        stat = await stub.StatBlob(pb.StatBlobRequest(sha256=SHA256))
        assert (stat.ref.size_bytes, stat.received_bytes) == (len(CONTENT), 0)


async def test_content_that_is_not_what_was_announced_is_refused(tmp_path: Path):
    async with running(tmp_path) as stub:
        wrong = messages(b"other" + CONTENT[5:])
        error = await refusal_of(stub.PutBlob(wrong, timeout=10))
        assert (error.code, error.reason) == (Code.DATA_LOSS, "DIGEST_MISMATCH")


async def test_another_tenant_finds_nothing(tmp_path: Path):
    async with running(tmp_path) as stub:
        await stub.PutBlob(messages(CONTENT), timeout=10)
        error = await refusal_of(get(stub, sha256=SHA256, tenant="other"))
        assert (error.code, error.reason) == (Code.NOT_FOUND, "BLOB_UNKNOWN")
        metadata = ((TENANT_KEY, "other"),)
        stat = await stub.StatBlob(pb.StatBlobRequest(sha256=SHA256), metadata=metadata)
        assert stat == pb.StatBlobResponse()


async def test_malformed_uploads_are_refused(tmp_path: Path):
    async def chunk_first() -> AsyncIterator[pb.PutBlobRequest]:
        yield pb.PutBlobRequest(chunk=b"x")

    async def nothing() -> AsyncIterator[pb.PutBlobRequest]:
        requests: list[pb.PutBlobRequest] = []
        for request in requests:
            yield request

    async def two_headers() -> AsyncIterator[pb.PutBlobRequest]:
        for _ in range(2):
            yield await anext(messages(CONTENT))

    async with running(tmp_path) as stub:
        for odd in (chunk_first, nothing, two_headers):
            error = await refusal_of(stub.PutBlob(odd(), timeout=10))
            assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "SESSION_PROTOCOL")
        for fields in ({"sha256": "../../etc"}, {"sha256": "A" * 64}, {"size": 2**33}):
            error = await refusal_of(stub.PutBlob(messages(CONTENT, **fields), timeout=10))
            assert error.code is Code.INVALID_ARGUMENT
            assert error.violations
        error = await refusal_of(stub.PutBlob(messages(CONTENT, offset=7), timeout=10))
        assert (error.code, error.reason) == (Code.OUT_OF_RANGE, "RANGE")
