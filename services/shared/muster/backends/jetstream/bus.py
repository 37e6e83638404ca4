"""`Bus` on NATS with JetStream, by its own client library.

The library reconnects by itself, for as long as it takes. Publishing here is by hand, with one
inbox for the acknowledgements: the library's own futures cost twice the time. A connection that
breaks leaves unknown what the server has stored, so everything that was under way counts as not
acknowledged; it comes again, and the server drops by `Nats-Msg-Id` what it has.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError
from nats.js.errors import Error as JetStreamError

from muster.backends.bus_base import (
    CONTENT_TYPE,
    NOW,
    BusUnavailable,
    Delivery,
    Group,
    Message,
    Start,
)
from muster.backends.jetstream.deliveries import Deliveries
from muster.backends.jetstream.group import JetStreamGroup
from muster.backends.jetstream.stream import require_stream

ACK_SECONDS = 5.0  # from one acknowledgement to the next; 1 ms where each waits for a disk
CONNECT_SECONDS = 2
CLOSE_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
PING_SECONDS = 2  # a server that leaves three unanswered is away
# The library waits for the socket beyond this, and then cannot be cancelled: so never.
PENDING_BYTES_MAX = 1 << 30

_FAILURES = (nats.errors.Error, JetStreamError, TimeoutError, OSError)
_NO_RESPONDERS = "503"  # nobody listens there: the stream is gone
_log = logging.getLogger("muster.bus")


class _Round:
    """The messages of one call, until each was acknowledged or refused."""

    def __init__(self, size: int) -> None:
        self.acknowledged = [False] * size
        self.stream_missing = False
        self.over = asyncio.Event()
        self.patience: asyncio.Timeout | None = None
        self._open = size

    def settle(self, number: int, *, acknowledged: bool) -> None:
        """The server has answered for one of them."""
        self.acknowledged[number] = acknowledged
        self._open -= 1
        if (
            self.patience is not None and not self.patience.expired()
        ):  # a server that answers, slowly, is not away
            self.patience.reschedule(asyncio.get_running_loop().time() + ACK_SECONDS)
        if not self._open:
            self.over.set()


class _Member:
    """A member of a group, which bears with a bus that goes away and comes back."""

    def __init__(self, group: JetStreamGroup, ready: asyncio.Event) -> None:
        self._group = group
        self._ready = ready
        self._lost = False

    async def fetch(self, most: int) -> Sequence[Delivery]:
        """See `Group.fetch`."""
        try:
            if self._lost:
                await self._ready.wait()
                await self._group.begin()
                self._lost = False
            return await self._group.fetch(most)
        except _FAILURES:
            self._lost = True
            await asyncio.sleep(RECONNECT_SECONDS)
            return ()

    # What is not heard there is given to somebody else, in time.

    async def acknowledge(self, sequences: Sequence[int]) -> None:
        """See `Group.acknowledge`."""
        with suppress(*_FAILURES):
            await self._group.acknowledge(sequences)

    async def give_back(self, sequences: Sequence[int]) -> None:
        """See `Group.give_back`."""
        with suppress(*_FAILURES):
            await self._group.give_back(sequences)

    async def hold(self, sequences: Sequence[int]) -> None:
        """See `Group.hold`."""
        with suppress(*_FAILURES):
            await self._group.hold(sequences)


class JetStreamBus:
    """A NATS server, or several of a cluster, by their URLs with commas between them."""

    keeps = True

    def __init__(self, urls: str, name: str) -> None:
        """`name` tells this process from others in the server's own views."""
        self.wanted, self.unwanted = asyncio.Event(), asyncio.Event()
        self.wanted.set()  # whoever subscribes does so there
        self.fed = asyncio.Event()
        self.fed.set()
        self._urls = [url.strip() for url in urls.split(",")]
        self._name = name
        self._client = Client()
        self._jetstream = self._client.jetstream()
        self._inbox = ""
        self._ready = asyncio.Event()  # connected, and the stream is there
        self._missing = asyncio.Event()  # the opposite
        self._missing.set()
        self._rounds: dict[int, _Round] = {}
        self._round = 0
        self._said = ""

    async def run(self) -> None:
        """See `Bus.run`. Whenever the connection was lost, the stream may be gone with it."""
        try:
            await self._connect()
            while True:
                await self._missing.wait()
                if not self._client.is_connected or not await self._has_stream():
                    await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            # It may have something left to say, to a server that hears nothing.
            with suppress(TimeoutError, nats.errors.Error, OSError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._client.close()

    async def _has_stream(self) -> bool:
        try:
            await require_stream(self._jetstream)
        except _FAILURES as error:
            self._say(f"the bus has no stream for events: {error}")
            return False
        self._say("")
        self._missing.clear()
        self._ready.set()
        return True

    async def _connect(self) -> None:
        await self._client.connect(
            self._urls,
            name=self._name,
            connect_timeout=CONNECT_SECONDS,
            reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type] # a float does as well
            max_reconnect_attempts=-1,
            ping_interval=PING_SECONDS,
            pending_size=PENDING_BYTES_MAX,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
        )
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*.*", cb=self._on_answer)

    # --- publishing -------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """See `Bus.publish`."""
        made = _Round(len(messages))
        if not messages or not await self._is_ready():
            return made.acknowledged
        self._round += 1
        number = self._round
        self._rounds[number] = made
        try:
            async with asyncio.timeout(ACK_SECONDS) as patience:
                made.patience = patience
                for index, message in enumerate(messages):
                    await self._client.publish(
                        message.subject,
                        message.body,
                        reply=f"{self._inbox}.{number}.{index}",
                        headers={"Nats-Msg-Id": message.id, "Content-Type": CONTENT_TYPE},
                    )
                await made.over.wait()
        except (nats.errors.Error, TimeoutError) as error:
            self._say(f"the bus does not take events: {type(error).__name__}")
        finally:
            del self._rounds[number]
        if made.stream_missing:
            self._not_ready()
        return made.acknowledged

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            return False
        return self._client.is_connected

    async def _on_answer(self, message: Msg) -> None:
        *_, number, index = message.subject.split(".")
        made = self._rounds.get(int(number))
        if made is None:
            return  # it came too late
        if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            made.stream_missing = True
            made.settle(int(index), acknowledged=False)
            return
        answer = json.loads(message.data)
        error = answer.get("error")
        if error is not None:
            self._say(f"the bus refuses events: {APIError.from_error(error)}")
        made.settle(int(index), acknowledged=error is None)

    # --- subscribing ------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, pattern: str, start: Start = NOW
    ) -> AsyncIterator[AsyncIterator[Sequence[Delivery]]]:
        """See `Bus.subscribe`."""
        deliveries = Deliveries(self._jetstream, pattern, start)
        await self._begin(deliveries.begin)
        try:
            yield self._read(deliveries)
        finally:
            with suppress(*_FAILURES):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await deliveries.end()

    async def _read(self, deliveries: Deliveries) -> AsyncIterator[Sequence[Delivery]]:
        lost = False
        while True:
            try:
                if lost:
                    await self._ready.wait()
                    await deliveries.begin()
                    lost = False
                found = await deliveries.next()
            except _FAILURES:
                lost = True
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                yield found

    async def _begin(self, begin: Callable[[], Awaitable[None]]) -> None:
        if not await self._is_ready():
            raise BusUnavailable("the bus does not answer; try again later")
        try:
            await begin()
        except _FAILURES as error:
            raise BusUnavailable("the bus does not answer; try again later") from error

    @asynccontextmanager
    async def join(self, pattern: str, name: str, start: Start = NOW) -> AsyncIterator[Group]:
        """See `Bus.join`."""
        group = JetStreamGroup(self._jetstream, pattern, name, start)
        await self._begin(group.begin)
        try:
            yield _Member(group, self._ready)
        finally:
            with suppress(*_FAILURES):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await group.end()

    # --- the connection ---------------------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        # What it says may hold the URL, and that a password.
        self._say(f"the bus cannot be reached: {type(error).__name__}")

    async def _on_disconnected(self) -> None:
        self._not_ready()
        for made in self._rounds.values():
            made.over.set()

    def _not_ready(self) -> None:
        self._ready.clear()
        self._missing.set()

    def _say(self, text: str) -> None:
        """Tell people, once for each thing that is wrong."""
        if text != self._said:
            self._said = text
            if text:
                _log.warning(text)
            else:
                _log.info("the bus takes events")
