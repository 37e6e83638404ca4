"""Reads the stream for one subscriber, from wherever that is.

The server keeps a consumer for it that costs nobody anything when it is forgotten: it is gone with
a restart of the server, or when nobody has read for a while. Then there is a new one, after the
last message that was read; from the beginning where the stream itself is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from muster.backends.bus_base import Delivery, Message, Start
from muster.backends.jetstream.stream import STREAM

FETCH_MESSAGES = 256
FETCH_SECONDS = 2.0
FORGOTTEN_SECONDS = 60.0  # the server drops a consumer that nobody reads


class Position:
    """Where a reader of the stream begins, and begins again."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._reached = 0
        self._stream_made: datetime | None = None

    def look(self, info: StreamInfo) -> None:
        """What the stream is now."""
        if self._stream_made is None:
            last, wanted = info.state.last_seq, self._start.from_sequence
            if wanted is not None:
                self._reached = wanted - 1 if wanted <= last + 1 else 0
            elif self._start.since_ms is None:
                self._reached = last
        elif info.created != self._stream_made:
            self._reached = 0
        self._stream_made = info.created

    def reach(self, sequence: int) -> None:
        """This has been read, and everything before it."""
        self._reached = max(self._reached, sequence)

    def configure(self, config: ConsumerConfig) -> None:
        """Have a consumer begin there."""
        if self._reached or self._start.since_ms is None:
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self._reached + 1
        else:
            instant = datetime.fromtimestamp(self._start.since_ms / 1000, UTC)
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = instant.isoformat().replace("+00:00", "Z")  # type: ignore[assignment]


def delivery_of(message: Msg) -> Delivery:
    """What has come for a consumer."""
    about = message.metadata
    number = (message.headers or {}).get("Nats-Msg-Id", "")
    found = Message(message.subject, number, message.data)
    return Delivery(about.sequence.stream, found, about.num_delivered)


class Deliveries:
    """Where one subscriber is."""

    def __init__(self, jetstream: JetStreamContext, pattern: str, start: Start) -> None:
        self._jetstream = jetstream
        self._pattern = pattern
        self._position = Position(start)
        self._consumer: JetStreamContext.PullSubscription | None = None
        self._at_end = False  # everything was delivered that was there …
        self._told = False  # … and the reader knows

    async def begin(self) -> None:
        """Have a consumer. Raises what the client library raises."""
        self._position.look(await self._jetstream.stream_info(STREAM))
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=FORGOTTEN_SECONDS
        )
        self._position.configure(config)
        self._consumer = await self._jetstream.pull_subscribe(
            self._pattern, stream=STREAM, config=config
        )
        self._at_end = not (await self._consumer.consumer_info()).num_pending

    async def next(self) -> Sequence[Delivery]:
        """What is there, after waiting a little for it. Raises what the client library raises; then
        `begin` anew."""
        assert self._consumer is not None
        if self._at_end and not self._told:
            self._told = True
            return ()
        try:
            messages = await self._consumer.fetch(FETCH_MESSAGES, FETCH_SECONDS)
        except nats.errors.TimeoutError:
            # Nothing has come, or there is nobody any more from whom it could.
            await self._consumer.consumer_info()
            return ()
        found = [delivery_of(each) for each in messages]
        if found:
            self._position.reach(found[-1].sequence)
            self._at_end = self._at_end or not messages[-1].metadata.num_pending
        return found

    async def end(self) -> None:
        """Let the server forget the consumer now."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            info = await consumer.consumer_info()
            await self._jetstream.delete_consumer(STREAM, info.name)
            await consumer.unsubscribe()
