"""Connections that begin to speak HTTP/2 or gRPC and stop in the middle of a word."""

from __future__ import annotations

import asyncio
import resource
import struct
from contextlib import AsyncExitStack, suppress

from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.ground import Ground
from tests.faults.hostile.spoken import SpokenHost

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = struct.pack(">I", 0)[1:] + b"\x04\x00" + struct.pack(">I", 0)
# A frame of headers for stream 1 that says it has 16 KB, and then has two bytes.
HEADERS = struct.pack(">I", 16_384)[1:] + b"\x01\x04" + struct.pack(">I", 1) + b"\x82\x84"
BEGINNINGS = (
    b"",
    PREFACE[:11],
    PREFACE,
    PREFACE + SETTINGS[:5],
    PREFACE + SETTINGS,
    PREFACE + SETTINGS + HEADERS,
    b"GET / HTTP/1.1\r\nHost: ",
    b"\x16\x03\x01\x02\x00\x01\x00\x01",  # TLS, where there is none
    bytes(range(256)),
)
CONNECTION_KB = 64  # of memory for each: its own buffers and those of gRPC
HELLOS_MB = 16.0  # of memory for the first of them
HELLOS_MAX = 100  # sessions with half a hello
FILES_SPARE = 200
# The server gives a connection this long to shake hands; then it is closed.
CLOSED_SECONDS = 15.0


async def half_handshakes(ground: Ground, size: Size) -> list[Figure]:
    """Raw connections, each of which says a part of what a client says first."""
    _need_files(size.connections + FILES_SPARE)
    host, _, port = ground.target.rpartition(":")
    bound = size.connections * CONNECTION_KB / 1024
    async with ground.siege("half handshakes", size, bound) as siege:
        writers: list[asyncio.StreamWriter] = []
        failed = 0
        for number in range(size.connections):
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                failed += 1
                continue
            writer.write(BEGINNINGS[number % len(BEGINNINGS)])
            writers.append(writer)
        await siege.last()
        siege.note("connections refused", failed, 0)
        for writer in writers:
            writer.close()
        for writer in writers:
            with suppress(OSError):
                await writer.wait_closed()
    return siege.figures


async def half_hellos(ground: Ground, size: Size) -> list[Figure]:
    """Sessions that are opened and say nothing, or begin with something other than a hello."""
    count = min(HELLOS_MAX, size.connections)
    bound = max(HELLOS_MB, count * CONNECTION_KB / 1024)
    async with AsyncExitStack() as stack, ground.siege("half hellos", size, bound) as siege:
        stubs = await ground.stubs(stack)
        hosts = [SpokenHost(stubs, f"mute-{number}") for number in range(count)]
        refused = 0
        for host in hosts[: count // 2]:
            await host.beat()  # before any hello
            refused += (await host.stream.code()).name == "FAILED_PRECONDITION"
        await siege.last()
        siege.note("early heartbeats let through", count // 2 - refused, 0)
        for host in hosts:
            host.stream.cancel()
    return siege.figures


def _need_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
