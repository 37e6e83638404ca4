"""A proxy that knows HTTP/2's frames, and does to a connection what a network does to it.

It stands between a client or a host and a service and needs no privileges. Each direction can be
held (what is sent neither arrives nor is lost, as with dropped packets that TCP sends again when
the network is back), delayed, or closed; a connection can be cut between two frames or in the
middle of one. What it does applies to every connection, later ones included.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum

PREFACE_BYTES = 24  # of a client, before its first frame
HEADER_BYTES = 9  # of a frame: 3 of length, then type, flags and stream
BUFFER_BYTES_MAX = 4 * 1024 * 1024  # held per direction; then nothing more is read, as TCP does it
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Way(Enum):
    """A direction."""

    THERE = "to the service"
    BACK = "from the service"


class _Weather:
    """What goes on in one direction of all connections."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.delay_seconds = 0.0


class _Pipe:
    """One direction of one connection: frames in, frames out."""

    def __init__(
        self, way: Way, weather: _Weather, source: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        self.cut_inside = False
        self.closing = False
        self._way = way
        self._weather = weather
        self._source = source
        self._to = to
        self._frames: deque[tuple[float, bytes]] = deque()  # when each came
        self._bytes = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until one end closes; raises OSError when one breaks."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read())
            await self._write()
            reading.cancel()

    def wake(self) -> None:
        """Something was asked of it."""
        self._changed.set()

    async def _read(self) -> None:
        try:
            if self._way is Way.THERE:
                self._put(await self._source.readexactly(PREFACE_BYTES))
            while True:
                header = await self._source.readexactly(HEADER_BYTES)
                self._put(header + await self._source.readexactly(int.from_bytes(header[:3])))
                while self._bytes > BUFFER_BYTES_MAX:
                    self._changed.clear()
                    await self._changed.wait()
        except (asyncio.IncompleteReadError, OSError):
            self.closing = True
            self._changed.set()

    def _put(self, frame: bytes) -> None:
        self._frames.append((time.monotonic(), frame))
        self._bytes += len(frame)
        self._changed.set()

    async def _write(self) -> None:
        while True:
            while not self._frames and not self.closing:
                self._changed.clear()
                await self._changed.wait()
            await self._weather.open.wait()
            if self.closing and not self._frames:
                self._to.write_eof()
                return
            came, frame = self._frames[0]
            if (left := came + self._weather.delay_seconds - time.monotonic()) > 0:
                await asyncio.sleep(left)
                continue  # the weather may have changed
            self._frames.popleft()
            self._bytes -= len(frame)
            if self.cut_inside:
                self._to.write(frame[: max(1, len(frame) // 2)])
                await self._to.drain()
                raise ConnectionResetError
            self._to.write(frame)
            await self._to.drain()
            self._changed.set()


class _Connection:
    """Both directions of one connection."""

    def __init__(self, there: _Pipe, back: _Pipe, ends: tuple[asyncio.StreamWriter, ...]) -> None:
        self.pipes = {Way.THERE: there, Way.BACK: back}
        self._ends = ends

    async def run(self) -> None:
        """Until both directions are closed, or the connection is cut."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for pipe in self.pipes.values():
                    tasks.create_task(pipe.run())
        except* OSError:
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        """Resets both ends."""
        for end in self._ends:
            sock = end.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


class Proxy:
    """Listens on a port of its own, and passes on to `target`. Use `proxy_to`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.port = 0
        self._weather = {way: _Weather() for way in Way}
        self._connections: set[_Connection] = set()
        self._refusing = False

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        host, _, port = self.target.rpartition(":")
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        there = _Pipe(Way.THERE, self._weather[Way.THERE], reader, far_writer)
        back = _Pipe(Way.BACK, self._weather[Way.BACK], far_reader, writer)
        connection = _Connection(there, back, (writer, far_writer))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    # --- faults -----------------------------------------------------------------------------------

    def hold(self, *ways: Way) -> None:
        """Nothing arrives any more in these directions, or in both."""
        for way in ways or Way:
            self._weather[way].open.clear()

    def delay(self, seconds: float, *ways: Way) -> None:
        """Everything arrives so much later in these directions, or in both."""
        for way in ways or Way:
            self._weather[way].delay_seconds = seconds

    def heal(self) -> None:
        """Everything arrives again, what was held first. Cut connections stay cut."""
        self._refusing = False
        for weather in self._weather.values():
            weather.delay_seconds = 0.0
            weather.open.set()

    def cut(self) -> None:
        """Resets every connection, between two frames."""
        for connection in list(self._connections):
            connection.cut()

    def cut_inside(self, way: Way) -> None:
        """Resets every connection in the middle of the next frame that goes this way."""
        for connection in self._connections:
            connection.pipes[way].cut_inside = True

    def close(self, way: Way) -> None:
        """Says, on every connection, that nothing more comes this way; the other one stays."""
        for connection in self._connections:
            connection.pipes[way].closing = True
            connection.pipes[way].wake()

    def refuse(self) -> None:
        """Resets every connection, and every new one until it is healed."""
        self._refusing = True
        self.cut()


@asynccontextmanager
async def proxy_to(target: str) -> AsyncIterator[Proxy]:
    """A proxy in front of a service."""
    made = Proxy(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=4096)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.heal()
        made.cut()
        await server.wait_closed()
