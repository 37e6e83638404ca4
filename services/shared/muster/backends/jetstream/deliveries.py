"""Reads the stream for one subscriber, from wherever that is.

The server keeps a consumer for it that costs nobody anything when it is forgotten: it is gone with
a restart of the server, or when nobody has read for a while. Then there is a new one, after the
last message that was read; from the beginning where the stream itself is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from muster.backends.bus_base import Delivery, Message
from muster.backends.jetstream.stream import STREAM

FETCH_MESSAGES = 256
FETCH_SECONDS = 2.0
FORGOTTEN_SECONDS = 60.0  # the server drops a consumer that nobody reads


class Deliveries:
    """Where one subscriber is."""

    def __init__(self, jetstream: JetStreamContext, pattern: str, since_ms: int | None) -> None:
        self._jetstream = jetstream
        self._pattern = pattern
        self._since_ms = since_ms
        self._reached = 0
        self._stream_made: datetime | None = None
        self._consumer: JetStreamContext.PullSubscription | None = None

    async def begin(self) -> None:
        """Have a consumer. Raises what the client library raises."""
        info = await self._jetstream.stream_info(STREAM)
        if self._stream_made is None:
            self._stream_made = info.created
            if self._since_ms is None:
                self._reached = info.state.last_seq
        elif info.created != self._stream_made:
            self._stream_made, self._reached = info.created, 0
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=FORGOTTEN_SECONDS
        )
        if self._reached or self._since_ms is None:
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self._reached + 1
        else:
            instant = datetime.fromtimestamp(self._since_ms / 1000, UTC)
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = instant.isoformat().replace("+00:00", "Z")  # type: ignore[assignment]
        self._consumer = await self._jetstream.pull_subscribe(
            self._pattern, stream=STREAM, config=config
        )

    async def next(self) -> Sequence[Delivery]:
        """What is there, after waiting a little for it. Raises what the client library raises; then
        `begin` anew."""
        assert self._consumer is not None
        try:
            messages = await self._consumer.fetch(FETCH_MESSAGES, FETCH_SECONDS)
        except nats.errors.TimeoutError:
            # Nothing has come, or there is nobody any more from whom it could.
            await self._consumer.consumer_info()
            return ()
        found = [
            Delivery(
                each.metadata.sequence.stream,
                Message(each.subject, (each.headers or {}).get("Nats-Msg-Id", ""), each.data),
            )
            for each in messages
        ]
        if found:
            self._reached = found[-1].sequence
        return found

    async def end(self) -> None:
        """Let the server forget the consumer now."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            info = await consumer.consumer_info()
            await self._jetstream.delete_consumer(STREAM, info.name)
            await consumer.unsubscribe()
