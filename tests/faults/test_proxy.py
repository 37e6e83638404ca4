"""The proxy does to frames what it says, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.faults.proxy import PREFACE_BYTES, Proxy, Way, proxy_to

PREFACE = b"P" * PREFACE_BYTES
DELAY_SECONDS = 0.2
SECONDS = 5.0


def frame(text: bytes) -> bytes:
    return len(text).to_bytes(3) + bytes(6) + text


class Line:
    """Both ends of a connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self.arrived = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writer.write(PREFACE)
        self.far_reader, self.far_writer = await self.arrived
        assert await self.far_reader.readexactly(PREFACE_BYTES) == PREFACE

    async def there(self, text: bytes) -> None:
        """Sends a frame to the service, and receives it there."""
        self.writer.write(frame(text))
        assert await self.far_reader.readexactly(9 + len(text)) == frame(text)

    async def back(self, text: bytes) -> None:
        """Sends a frame from the service, and receives it."""
        self.far_writer.write(frame(text))
        assert await self.reader.readexactly(9 + len(text)) == frame(text)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the end, or until a reset."""
    got = b""
    with suppress(ConnectionResetError):
        while part := await reader.read(1000):
            got += part
    return got


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made: list[Line] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made[0].arrived.set_result((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(SECONDS), proxy_to(f"127.0.0.1:{port}") as proxy:
        made.append(Line(proxy))
        await made[0].open()
        yield made[0]
        made[0].writer.close()
        made[0].far_writer.close()
    server.close()


async def test_frames_pass_in_order_both_ways(line: Line) -> None:
    for text in (b"", b"one", b"x" * 100_000):
        await line.there(text)
        await line.back(text)


async def test_what_is_held_arrives_late_and_the_other_way_goes_on(line: Line) -> None:
    line.proxy.hold(Way.THERE)
    line.writer.write(frame(b"held"))
    await line.back(b"not held")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.far_reader.read(1), DELAY_SECONDS)
    line.proxy.heal()
    assert await line.far_reader.readexactly(13) == frame(b"held")


async def test_what_is_delayed_is_not_slowed_down_besides(line: Line) -> None:
    line.proxy.delay(DELAY_SECONDS, Way.THERE)
    began = time.monotonic()
    for _ in range(20):
        line.writer.write(frame(b"late"))
    await line.far_reader.readexactly(20 * 13)
    assert DELAY_SECONDS <= time.monotonic() - began < 5 * DELAY_SECONDS


async def test_a_connection_is_reset_inside_a_frame(line: Line) -> None:
    line.proxy.cut_inside(Way.THERE)
    line.writer.write(frame(b"x" * 91))
    # A reset may overtake what was sent before it.
    assert await rest_of(line.far_reader) in (b"", frame(b"x" * 91)[:50])
    assert await rest_of(line.reader) == b""


async def test_one_way_is_closed_and_the_other_stays(line: Line) -> None:
    line.proxy.close(Way.THERE)
    assert await line.far_reader.read(1) == b""
    await line.back(b"still there")


async def test_who_is_refused_is_reset_until_it_is_healed(line: Line) -> None:
    line.proxy.refuse()
    assert await rest_of(line.reader) == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", line.proxy.port)
    assert await rest_of(reader) == b""
    writer.close()
    line.proxy.heal()
    line.arrived = asyncio.get_running_loop().create_future()
    await line.open()
    await line.there(b"again")
