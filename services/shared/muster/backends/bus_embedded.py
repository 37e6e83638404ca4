"""`Bus` within one process: the newest messages in memory, for whoever subscribes there.

It keeps so many bytes and nothing over a restart; what has happened to contracts is in the ledger.
Nobody needs messages that nobody reads, so `wanted` tells whether anybody subscribes, and whoever
feeds it need not before.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from muster.backends.bus_base import NOW, Delivery, Message, Start
from muster.model import limits
from muster.model.subjects import matches

MESSAGE_OVERHEAD_BYTES = 400
DELIVERIES_AT_ONCE = 256
FETCH_SECONDS = 2.0


class _Kept(NamedTuple):
    delivery: Delivery
    time_ms: int
    size: int


class EmbeddedBus:
    """Everything happens on one event loop.

    Numbers begin with the microseconds since 1970, so that those after a restart are larger than
    those before, however many there were.
    """

    keeps = False

    def __init__(self) -> None:
        self.wanted = asyncio.Event()  # somebody subscribes; `unwanted` is the opposite
        self.unwanted = asyncio.Event()
        self.unwanted.set()
        # Whoever has begun to feed it when it was wanted sets it; subscribing waits for that.
        self.fed = asyncio.Event()
        self.fed.set()
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._last = time.time_ns() // 1_000  # sequence
        self._ids: OrderedDict[str, float] = OrderedDict()  # id -> monotonic seconds
        self._subscribers = 0
        self._groups: dict[tuple[str, str], _Group] = {}
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
        for group in self._groups.values():
            group.woken.set()
        return [True] * len(messages)

    def _keep(self, message: Message) -> None:
        self._last += 1
        size = len(message.body) + MESSAGE_OVERHEAD_BYTES
        delivery = Delivery(self._last, message)
        self._kept.append(_Kept(delivery, time.time_ns() // 1_000_000, size))
        self._bytes += size
        while self._bytes > limits.BUS_EMBEDDED_BYTES_MAX:
            self._bytes -= self._kept.popleft().size

    # --- subscribing ------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, pattern: str, start: Start = NOW
    ) -> AsyncIterator[AsyncIterator[Sequence[Delivery]]]:
        """See `Bus.subscribe`."""
        after = self._before(start)
        self._begin()
        try:
            await self.fed.wait()
            yield self._deliveries(pattern, after)
        finally:
            self._end()

    def _begin(self) -> None:
        self._subscribers += 1
        self.wanted.set()
        self.unwanted.clear()

    def _end(self) -> None:
        self._subscribers -= 1
        if not self._subscribers:
            self.wanted.clear()
            self.unwanted.set()

    def _before(self, start: Start) -> int:
        """The last sequence that is not wanted."""
        if start.from_sequence is not None:
            beyond = start.from_sequence > self._last + 1
            return 0 if beyond else start.from_sequence - 1
        if start.since_ms is not None:
            later = (each for each in self._kept if each.time_ms >= start.since_ms)
            first = next(later, None)
            return first.delivery.sequence - 1 if first is not None else self._last
        return self._last

    def after(self, sequence: int, most: int) -> list[Delivery]:
        """Some of what is kept and came after a message."""
        if not self._kept or sequence >= self._last:
            return []
        first = self._kept[0].delivery.sequence
        start = max(0, sequence + 1 - first)
        stop = min(len(self._kept), start + most)
        return [self._kept[number].delivery for number in range(start, stop)]

    async def _deliveries(self, pattern: str, after: int) -> AsyncIterator[Sequence[Delivery]]:
        told = False  # that everything has been delivered
        while True:
            published = self._published
            found = self.after(after, DELIVERIES_AT_ONCE)
            if not found:
                if not told:
                    told = True
                    yield ()
                else:
                    await published.wait()
                continue
            after = found[-1].sequence
            fitting = [each for each in found if matches(pattern, each.message.subject)]
            if fitting:
                yield fitting
            else:
                await asyncio.sleep(0)

    # --- groups -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def join(self, pattern: str, name: str, start: Start = NOW) -> AsyncIterator[_Member]:
        """See `Bus.join`."""
        self._forget_groups()
        group = self._groups.get((pattern, name))
        if group is None:
            group = self._groups[pattern, name] = _Group(self, pattern, self._before(start))
        group.members += 1
        self._begin()
        member = _Member(group)
        try:
            await self.fed.wait()
            yield member
        finally:
            group.give_back(member, list(group.held))
            group.members -= 1
            group.left_at = time.monotonic()
            self._end()

    def _forget_groups(self) -> None:
        before = time.monotonic() - limits.EVENT_GROUP_FORGET_SECONDS
        for key, group in list(self._groups.items()):
            if not group.members and group.left_at < before:
                del self._groups[key]
        empty = [key for key, group in self._groups.items() if not group.members]
        for key in empty[: max(0, len(self._groups) - limits.EVENT_PATTERNS_MAX)]:
            del self._groups[key]


class _Held(NamedTuple):
    delivery: Delivery
    member: _Member
    until: float


class _Group:
    """Members that divide what fits, and where they are."""

    def __init__(self, bus: EmbeddedBus, pattern: str, after: int) -> None:
        self.members = 0
        self.left_at = 0.0
        self.held: dict[int, _Held] = {}
        self.woken = asyncio.Event()  # there may be something to fetch
        self._bus = bus
        self._pattern = pattern
        self._after = after
        self._returned: deque[Delivery] = deque()

    async def fetch(self, member: _Member, most: int) -> Sequence[Delivery]:
        """See `Group.fetch`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FETCH_SECONDS):
                while True:
                    self.woken.clear()
                    self._give_back_overdue()
                    found = self._take(most)
                    if found:
                        until = time.monotonic() + limits.EVENT_HOLD_SECONDS
                        for each in found:
                            self.held[each.sequence] = _Held(each, member, until)
                        return found
                    await self.woken.wait()
        return ()

    def _take(self, most: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while self._returned and len(taken) < most:
            taken.append(self._returned.popleft())
        while len(taken) < most:
            found = self._bus.after(self._after, DELIVERIES_AT_ONCE)
            if not found:
                break
            for each in found:
                self._after = each.sequence
                if matches(self._pattern, each.message.subject):
                    taken.append(each)
                    if len(taken) == most:
                        break
        return taken

    def _give_back_overdue(self) -> None:
        now = time.monotonic()
        self._return([number for number, each in self.held.items() if each.until <= now])

    def give_back(self, member: _Member, sequences: Iterable[int]) -> None:
        """See `Group.give_back`."""
        self._return([number for number in sequences if self._is_of(member, number)])

    def _return(self, sequences: Sequence[int]) -> None:
        for number in sequences:
            delivery = self.held.pop(number).delivery
            if delivery.deliveries < limits.EVENT_DELIVERIES_MAX:
                self._returned.append(delivery._replace(deliveries=delivery.deliveries + 1))
        if sequences:
            self.woken.set()

    def acknowledge(self, member: _Member, sequences: Iterable[int]) -> None:
        """See `Group.acknowledge`."""
        for number in sequences:
            if self._is_of(member, number):
                del self.held[number]

    def hold(self, member: _Member, sequences: Iterable[int]) -> None:
        """See `Group.hold`."""
        until = time.monotonic() + limits.EVENT_HOLD_SECONDS
        for number in sequences:
            if self._is_of(member, number):
                self.held[number] = self.held[number]._replace(until=until)

    def _is_of(self, member: _Member, sequence: int) -> bool:
        held = self.held.get(sequence)
        return held is not None and held.member is member


class _Member:
    """One member of a group."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    async def fetch(self, most: int) -> Sequence[Delivery]:
        """See `Group.fetch`."""
        return await self._group.fetch(self, most)

    async def acknowledge(self, sequences: Sequence[int]) -> None:
        """See `Group.acknowledge`."""
        self._group.acknowledge(self, sequences)

    async def give_back(self, sequences: Sequence[int]) -> None:
        """See `Group.give_back`."""
        self._group.give_back(self, sequences)

    async def hold(self, sequences: Sequence[int]) -> None:
        """See `Group.hold`."""
        self._group.hold(self, sequences)
