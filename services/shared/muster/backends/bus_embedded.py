"""`Bus` within one process: the newest messages in memory, for whoever subscribes there.

It keeps so many bytes and nothing over a restart; what has happened to contracts is in the ledger.
Nobody needs messages that nobody reads, so `wanted` tells whether anybody subscribes, and whoever
feeds it need not before.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from muster.backends.bus_base import Delivery, Message
from muster.model import limits
from muster.model.subjects import matches

MESSAGE_OVERHEAD_BYTES = 400
DELIVERIES_AT_ONCE = 256


class _Kept(NamedTuple):
    delivery: Delivery
    time_ms: int
    size: int


class EmbeddedBus:
    """Everything happens on one event loop."""

    keeps = False

    def __init__(self) -> None:
        self.wanted = asyncio.Event()  # somebody subscribes; `unwanted` is the opposite
        self.unwanted = asyncio.Event()
        self.unwanted.set()
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._last = 0  # sequence
        self._ids: OrderedDict[str, float] = OrderedDict()  # id -> monotonic seconds
        self._subscribers = 0
        self._published = asyncio.Event()  # each publication has its own

    async def run(self) -> None:
        """See `Bus.run`."""
        await asyncio.Event().wait()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """See `Bus.publish`. All of them are taken."""
        now = time.monotonic()
        while self._ids and next(iter(self._ids.values())) < now - limits.BUS_DUPLICATES_SECONDS:
            self._ids.popitem(last=False)
        for message in messages:
            if message.id not in self._ids:
                self._ids[message.id] = now
                self._keep(message)
        if len(self._ids) > limits.BUS_IDS_MAX:
            for _ in range(len(self._ids) - limits.BUS_IDS_MAX):
                self._ids.popitem(last=False)
        published, self._published = self._published, asyncio.Event()
        published.set()
        return [True] * len(messages)

    def _keep(self, message: Message) -> None:
        self._last += 1
        size = len(message.body) + MESSAGE_OVERHEAD_BYTES
        delivery = Delivery(self._last, message)
        self._kept.append(_Kept(delivery, time.time_ns() // 1_000_000, size))
        self._bytes += size
        while self._bytes > limits.BUS_EMBEDDED_BYTES_MAX:
            self._bytes -= self._kept.popleft().size

    @asynccontextmanager
    async def subscribe(
        self, pattern: str, since_ms: int | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[Delivery]]]:
        """See `Bus.subscribe`."""
        after = self._last
        if since_ms is not None:
            later = (each for each in self._kept if each.time_ms >= since_ms)
            first = next(later, None)
            after = first.delivery.sequence - 1 if first is not None else self._last
        self._subscribers += 1
        self.wanted.set()
        self.unwanted.clear()
        try:
            yield self._deliveries(pattern, after)
        finally:
            self._subscribers -= 1
            if not self._subscribers:
                self.wanted.clear()
                self.unwanted.set()

    async def _deliveries(self, pattern: str, after: int) -> AsyncIterator[Sequence[Delivery]]:
        while True:
            published = self._published
            if not self._kept or after >= self._last:
                await published.wait()
                continue
            first = self._kept[0].delivery.sequence
            start = max(0, after + 1 - first)
            stop = min(len(self._kept), start + DELIVERIES_AT_ONCE)
            found = [self._kept[number].delivery for number in range(start, stop)]
            after = found[-1].sequence
            fitting = [each for each in found if matches(pattern, each.message.subject)]
            if fitting:
                yield fitting
            else:
                await asyncio.sleep(0)
