"""A relay between a client and its server that can lose what goes one way or the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 65_536


class Relay:
    """Use `relay`."""

    def __init__(self, host: str, port: int) -> None:
        self.lose_requests = False
        self.lose_answers = False
        self._place = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Breaks every connection, as a cable would: the other side's words are lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._place)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pass_on(reader, server_writer, answers=False))
            both.create_task(self._pass_on(server_reader, writer, answers=True))
        self._writers -= {writer, server_writer}

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if not (self.lose_answers if answers else self.lose_requests):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server of a URL, and the URL that goes through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    made = Relay(parts.hostname, parts.port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        yield made, urlunsplit(parts._replace(netloc=place))
        made.cut()
