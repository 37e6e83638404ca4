"""Reads the stream as one member of a group, which is a durable consumer of the server's."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import BadRequestError

from muster.backends.bus_base import Delivery, Start
from muster.backends.jetstream.deliveries import FETCH_SECONDS, Position, delivery_of
from muster.backends.jetstream.stream import STREAM
from muster.model import limits

ACKS_PENDING_MAX = 65_536  # of all members
# Beyond it the oldest that nobody speaks of any more is the server's to give to somebody else.
HELD_MAX = 65_536


def consumer_name(pattern: str, name: str) -> str:
    """The server's name for a group: what it may be called has characters that a name has not."""
    return "group-" + hashlib.sha256(f"{name}\n{pattern}".encode()).hexdigest()[:32]


class JetStreamGroup:
    """A member. What the server has forgotten is made again after what this one has seen."""

    def __init__(self, jetstream: JetStreamContext, pattern: str, name: str, start: Start) -> None:
        self._jetstream = jetstream
        self._pattern = pattern
        self._called = name
        self._name = consumer_name(pattern, name)
        self._position = Position(start)
        self._consumer: JetStreamContext.PullSubscription | None = None
        self._held: OrderedDict[int, Msg] = OrderedDict()

    async def begin(self) -> None:
        """Have the consumer. Raises what the client library raises."""
        self._position.look(await self._jetstream.stream_info(STREAM))
        config = ConsumerConfig(
            description=self._called,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=limits.EVENT_HOLD_SECONDS,
            max_deliver=limits.EVENT_DELIVERIES_MAX,
            max_ack_pending=ACKS_PENDING_MAX,
            inactive_threshold=limits.EVENT_GROUP_FORGET_SECONDS,
        )
        self._position.configure(config)
        before, self._consumer = self._consumer, None
        if before is not None:
            await before.unsubscribe()
        self._held.clear()
        try:
            self._consumer = await self._subscribe(config)
        except BadRequestError:  # another member has made it meanwhile
            self._consumer = await self._subscribe(config)

    async def _subscribe(self, config: ConsumerConfig) -> JetStreamContext.PullSubscription:
        return await self._jetstream.pull_subscribe(
            self._pattern, durable=self._name, stream=STREAM, config=config
        )

    async def fetch(self, most: int) -> Sequence[Delivery]:
        """See `Group.fetch`. Raises what the client library raises; then `begin` anew."""
        assert self._consumer is not None
        try:
            messages = await self._consumer.fetch(most, FETCH_SECONDS)
        except nats.errors.TimeoutError:
            await self._consumer.consumer_info()  # it may be gone
            return ()
        found = [delivery_of(each) for each in messages]
        for delivery, message in zip(found, messages, strict=True):
            self._held[delivery.sequence] = message
            self._position.reach(delivery.sequence)
        while len(self._held) > HELD_MAX:
            self._held.popitem(last=False)
        return found

    async def acknowledge(self, sequences: Sequence[int]) -> None:
        """See `Group.acknowledge`. Raises what the client library raises."""
        for number in sequences:
            message = self._held.pop(number, None)
            if message is not None:
                await message.ack()

    async def give_back(self, sequences: Sequence[int]) -> None:
        """See `Group.give_back`. Raises what the client library raises."""
        for number in sequences:
            message = self._held.pop(number, None)
            if message is not None:
                await message.nak()

    async def hold(self, sequences: Sequence[int]) -> None:
        """See `Group.hold`. Raises what the client library raises."""
        for number in sequences:
            message = self._held.get(number)
            if message is not None:
                await message.in_progress()

    async def end(self) -> None:
        """Leave. What is held goes to others at once. Raises what the client library raises."""
        await self.give_back(list(self._held))
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.unsubscribe()
