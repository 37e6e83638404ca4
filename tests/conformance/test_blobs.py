"""What every backend of `Blobs` does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from muster.backends.base import Blobs, BlobStat
from muster.backends.blobs_files import FileBlobs
from muster.backends.postgres.blobs import PostgresBlobs
from muster.backends.postgres.database import Database
from muster.model import limits
from muster.model.errors import Code, InvalidArgument, MusterError
from tests.support.servers import psql

CONTENT = bytes(range(256)) * 5000


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(blobs: Blobs, content: bytes, tenant: str = "acme") -> str:
    name = name_of(content)
    await blobs.put(tenant, name, len(content), 0, chunks_of(content))
    return name


async def read(blobs: Blobs, name: str, offset: int = 0, length: int = 0) -> bytes:
    return b"".join([chunk async for chunk in blobs.get("acme", name, offset, length)])


@pytest.fixture(params=["files", "postgres"])
def database(request) -> Database | None:
    if request.param == "files":
        return None
    return Database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def blobs(database: Database | None, tmp_path) -> AsyncIterator[Blobs]:
    if database is None:
        files = FileBlobs(tmp_path / "blobs")
        yield files
        files.close()
    else:
        await database.migrate()
        yield PostgresBlobs(database)
        await database.close()


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=len)
async def test_what_was_put_is_read_back(blobs: Blobs, content: bytes):
    name = await put(blobs, content)
    assert await blobs.stat("acme", name) == BlobStat(len(content), 0)
    assert await read(blobs, name) == content


async def test_content_is_read_in_chunks_that_fit_a_message(blobs: Blobs):
    name = await put(blobs, CONTENT)
    sizes = [len(chunk) async for chunk in blobs.get("acme", name)]
    assert max(sizes) <= limits.BLOB_CHUNK_BYTES_MAX
    assert len(sizes) > 1


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 10), (255, 300_000), (1_279_999, 1), (1_279_990, 100), (1_280_000, 0)],
)
async def test_a_range_is_that_part_of_the_content(blobs: Blobs, offset: int, length: int):
    name = await put(blobs, CONTENT)
    expected = CONTENT[offset : offset + length] if length else CONTENT[offset:]
    assert await read(blobs, name, offset, length) == expected


async def test_a_range_beyond_the_end_is_refused(blobs: Blobs):
    name = await put(blobs, b"short")
    with pytest.raises(MusterError, match="5 bytes") as caught:
        await read(blobs, name, 6)
    assert caught.value.code is Code.OUT_OF_RANGE


async def test_an_upload_goes_on_where_it_broke(blobs: Blobs):
    name = name_of(CONTENT)

    async def breaking() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        yield CONTENT[1000:3000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put("acme", name, len(CONTENT), 0, breaking())
    assert await blobs.stat("acme", name) == BlobStat(None, 3000)
    await blobs.put("acme", name, len(CONTENT), 3000, chunks_of(CONTENT[3000:]))
    assert await read(blobs, name) == CONTENT


async def test_an_upload_may_go_on_earlier_than_it_broke_or_begin_again(blobs: Blobs):
    name = name_of(CONTENT)
    for offset in (0, 700, 0):
        with pytest.raises(InvalidArgument, match="less than"):
            await blobs.put("acme", name, len(CONTENT), offset, chunks_of(CONTENT[offset:1000]))
        assert (await blobs.stat("acme", name)).received_bytes == 1000


async def test_an_upload_cannot_go_on_beyond_what_has_arrived(blobs: Blobs):
    with pytest.raises(MusterError, match="0 bytes have arrived") as caught:
        await blobs.put("acme", name_of(CONTENT), len(CONTENT), 1, chunks_of(CONTENT[1:]))
    assert caught.value.reason == "RANGE"


async def test_content_with_another_digest_is_refused_and_dropped(blobs: Blobs):
    name = name_of(b"what was announced")
    with pytest.raises(MusterError) as caught:
        await blobs.put("acme", name, 4, 0, chunks_of(b"else"))
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert await blobs.stat("acme", name) == BlobStat(None, 0)


async def test_more_content_than_announced_is_refused(blobs: Blobs):
    with pytest.raises(InvalidArgument, match="more than the 3 bytes"):
        await blobs.put("acme", name_of(b"abcd"), 3, 0, chunks_of(b"ab", b"cd"))


async def test_a_blob_larger_than_the_limit_is_refused_before_it_is_read(blobs: Blobs):
    source = chunks_of(b"x")
    with pytest.raises(InvalidArgument):
        await blobs.put("acme", name_of(b""), limits.BLOB_BYTES_MAX + 1, 0, source)
    assert await anext(source) == b"x"


async def test_uploading_what_is_there_succeeds_without_reading_it(blobs: Blobs):
    name = await put(blobs, b"there")
    source = chunks_of(b"unread")
    await blobs.put("acme", name, 5, 0, source)
    assert await anext(source) == b"unread"


async def test_tenants_do_not_see_each_others_blobs(blobs: Blobs):
    name = await put(blobs, b"mine", tenant="acme")
    assert await blobs.stat("other", name) == BlobStat(None, 0)
    with pytest.raises(MusterError) as caught:
        [chunk async for chunk in blobs.get("other", name)]
    assert caught.value.reason == "BLOB_UNKNOWN"


async def test_half_a_blob_cannot_be_read(blobs: Blobs):
    name = name_of(b"whole")
    with pytest.raises(InvalidArgument):
        await blobs.put("acme", name, 5, 0, chunks_of(b"wh"))
    with pytest.raises(MusterError) as caught:
        await read(blobs, name)
    assert caught.value.reason == "BLOB_UNKNOWN"


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "A", "a\0b"])
async def test_a_malformed_tenant_never_becomes_a_path(blobs: Blobs, tenant: str):
    with pytest.raises(InvalidArgument):
        await blobs.stat(tenant, name_of(b""))


async def test_a_newer_upload_takes_over_from_one_that_hangs(blobs: Blobs):
    name, hangs, resume = name_of(CONTENT), asyncio.Event(), asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        hangs.set()
        await resume.wait()
        yield b"\xff" * (len(CONTENT) - 1000)

    async def old() -> None:
        with pytest.raises(MusterError) as caught:
            await blobs.put("acme", name, len(CONTENT), 0, hanging())
        assert caught.value.reason == "SUPERSEDED"

    async with asyncio.TaskGroup() as group:
        group.create_task(old())
        await hangs.wait()
        await blobs.put("acme", name, len(CONTENT), 1000, chunks_of(CONTENT[1000:]))
        resume.set()
    assert await read(blobs, name) == CONTENT


async def test_many_uploads_of_one_blob_at_once_leave_it_whole(blobs: Blobs):
    async def upload() -> str:
        try:
            return await put(blobs, CONTENT)
        except MusterError as error:
            return error.reason

    outcomes = await asyncio.gather(*(upload() for _ in range(10)))
    assert set(outcomes) <= {name_of(CONTENT), "SUPERSEDED"}
    assert name_of(CONTENT) in outcomes
    assert await read(blobs, name_of(CONTENT)) == CONTENT


async def test_a_cancelled_upload_keeps_what_has_arrived(blobs: Blobs):
    name, arrived = name_of(CONTENT), asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        arrived.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(blobs.put("acme", name, len(CONTENT), 0, hanging()))
        await arrived.wait()
        task.cancel()
    assert await blobs.stat("acme", name) == BlobStat(None, 1000)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
async def test_a_full_database_says_so_and_the_upload_goes_on_later(
    blobs: Blobs, database: Database
):
    await put(blobs, b"before")
    url = database._url
    psql(
        url,
        "CREATE FUNCTION say_full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON blob_chunks "
        "FOR EACH STATEMENT EXECUTE FUNCTION say_full()",
    )
    with pytest.raises(MusterError, match="no room") as caught:
        await put(blobs, CONTENT)
    assert caught.value.reason == "QUEUE_FULL"
    psql(url, "DROP FUNCTION say_full CASCADE")
    assert (await blobs.stat("acme", name_of(CONTENT))).received_bytes == 0
    assert await read(blobs, await put(blobs, CONTENT)) == CONTENT
