"""Reads the bus for the subscriptions of all agents: once for each pattern, once for each group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from muster.backends.bus_base import Bus, BusUnavailable, Delivery, Start
from muster.backends.bus_base import Group as Membership
from muster.executor.core import Core
from muster.executor.core_groups import Group, Offered
from muster.executor.core_rings import Entry, Ring
from muster.executor.core_state import Agent
from muster.executor.core_topics import Source
from muster.model import limits
from muster.model.subjects import tenant_subject
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger

_log = get_logger("muster.executor")

MESSAGE_OVERHEAD_BYTES = 64  # of an event in a frame, beside its body


class Subscribing:
    """Use it while `run` runs. `flush` wakes whoever has something to write."""

    def __init__(
        self, core: Core, bus: Bus, clock: Callable[[], float], flush: Callable[[], None]
    ) -> None:
        self._book = core.book
        self._topics = core.topics
        self._bus = bus
        self._clock = clock
        self._flush = flush
        self._catching_up = asyncio.Semaphore(limits.EVENT_CATCH_UPS_MAX)
        self._some_opened = asyncio.Event()
        self._open = asyncio.Event()  # each ring that opens has its own
        self._running: dict[Source, asyncio.Task[None]] = {}
        self._awaiting: dict[Source, list[Agent]] = {}

    def begin(self, agent: Agent, sources: Iterable[Source]) -> None:
        """The agent has subscribed to these; its attach is answered when the bus has taken them, or
        has said that it does not answer now."""
        count = 0
        for source in sources:
            self._awaiting.setdefault(source, []).append(agent)
            count += 1
        if count:
            self._book.unsubscribed[agent] = self._book.unsubscribed.get(agent, 0) + count
        self._some_opened.set()

    def _settle(self, source: Source) -> None:
        for agent in self._awaiting.pop(source, ()):
            left = self._book.unsubscribed.get(agent, 1) - 1
            if left:
                self._book.unsubscribed[agent] = left
            else:
                self._book.unsubscribed.pop(agent, None)
                self._book.settle_attach(agent)
        self._flush()

    async def run(self) -> None:
        """Read whatever is subscribed to, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._some_opened.wait()
                self._some_opened.clear()
                opened, self._topics.opened[:] = list(self._topics.opened), []
                for source in opened:
                    self._running[source] = tasks.create_task(self._serve(source))

    def sweep(self) -> None:
        """Close what nobody wants any more, and take back what was handed out too long ago; to be
        called every half second or so."""
        now = self._clock()
        for source in self._topics.deserted(now):
            self._settle(source)
            task = self._running.pop(source, None)
            if task is not None:
                task.cancel()
        for group in self._topics.groups.values():
            group.sweep(now)

    async def _serve(self, source: Source) -> None:
        said = False
        while True:
            try:
                if isinstance(source, Group):
                    await self._share(source)
                elif source.live is None:
                    await self._read(source)
                else:
                    await self._catch_up(source, source.live)
            except BusUnavailable as error:
                if not said:
                    said = True
                    _log.warning("no events", pattern=source.pattern, error=error.message)
                self._settle(source)
            await asyncio.sleep(limits.EVENT_RETRY_SECONDS)

    # --- for each of several ----------------------------------------------------------------------

    async def _read(self, ring: Ring) -> None:
        async with self._bus.subscribe(tenant_subject(ring.tenant, ring.pattern)) as deliveries:
            ring.is_open = True
            opened, self._open = self._open, asyncio.Event()
            opened.set()
            self._settle(ring)
            async for found in deliveries:
                ring.add(map(_entry, found))
                self._flush()
                await asyncio.sleep(0)

    async def _catch_up(self, ring: Ring, live: Ring) -> None:
        """What is past, no faster than the slowest takes it, if that is not too slow."""
        progress = asyncio.Event()
        ring.on_progress = progress.set
        async with self._catching_up:
            while not live.is_open:  # else something may be in neither
                await self._open.wait()
            ring.has_begun = True
            start = Start(ring.since_ms, ring.from_sequence)
            subject = tenant_subject(ring.tenant, ring.pattern)
            async with self._bus.subscribe(subject, start) as deliveries:
                ring.is_open = True
                self._settle(ring)
                async for found in deliveries:
                    if found:
                        ring.add(map(_entry, found))
                    else:
                        self._topics.caught_up(ring)
                    self._flush()
                    await asyncio.sleep(0)
                    await self._pace(ring, progress)

    async def _pace(self, ring: Ring, progress: asyncio.Event) -> None:
        while ring.is_full:
            progress.clear()
            try:
                async with asyncio.timeout(limits.EVENT_CATCH_UP_WAIT_SECONDS):
                    await progress.wait()
            except TimeoutError:
                return

    # --- for one of several -----------------------------------------------------------------------

    async def _share(self, group: Group) -> None:
        subject = tenant_subject(group.tenant, group.pattern)
        name = f"{group.tenant}/{group.name}"
        start = Start(group.since_ms, group.from_sequence)
        async with self._bus.join(subject, name, start) as membership:
            group.is_open = True
            self._settle(group)
            sharing = _Sharing(group, membership, self._clock, self._flush)
            async with background(sharing.fetch, sharing.tell):
                await asyncio.Event().wait()


class _Sharing:
    """A group here, and its membership on the bus."""

    def __init__(
        self,
        group: Group,
        membership: Membership,
        clock: Callable[[], float],
        flush: Callable[[], None],
    ) -> None:
        self._group = group
        self._membership = membership
        self._clock = clock
        self._flush = flush
        self._to_fetch = asyncio.Event()
        self._to_tell = asyncio.Event()
        group.changed = self._changed
        self._changed()

    def _changed(self) -> None:
        self._to_fetch.set()
        self._to_tell.set()

    async def fetch(self) -> None:
        """Have as many events as there is room for."""
        group = self._group
        while True:
            self._to_fetch.clear()
            room = min(group.room, limits.EVENTS_UNACKED_MAX)
            if not room:
                await self._to_fetch.wait()
                continue
            found = await self._membership.fetch(room)
            now = self._clock()
            for each in found:
                again = each.deliveries > 1
                group.offer(Offered(each.sequence, _size(each), each, again), now)
            self._flush()

    async def tell(self) -> None:
        """Say what became of them, and now and then of which nothing has become yet."""
        group, membership = self._group, self._membership
        renewed = self._clock()
        while True:
            try:
                async with asyncio.timeout(limits.EVENT_HOLD_RENEW_SECONDS):
                    await self._to_tell.wait()
            except TimeoutError:
                pass
            self._to_tell.clear()
            done, group.done = group.done, []
            returned, group.returned = group.returned, []
            if done:
                await membership.acknowledge(done)
            if returned:
                await membership.give_back(returned)
            if self._clock() - renewed >= limits.EVENT_HOLD_RENEW_SECONDS:
                renewed = self._clock()
                await membership.hold(group.held)


def _entry(delivery: Delivery) -> Entry:
    return Entry(delivery.sequence, _size(delivery), delivery)


def _size(delivery: Delivery) -> int:
    message = delivery.message
    return len(message.body) + len(message.subject) + len(message.id) + MESSAGE_OVERHEAD_BYTES
