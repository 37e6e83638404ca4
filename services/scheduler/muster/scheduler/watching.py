"""Watches: history from the ledger, then live, without a gap between them.

The watcher is fed from the moment it is registered; then the ledger is read; what both know is
dropped by its number. Stream items are relayed before they are committed, so the commit that is
under way is waited for before the ledger is read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from muster.model import limits
from muster.model.errors import InvalidArgument, Violation
from muster.model.ledger import LifecycleEvent, StoredContract, events_of
from muster.scheduler.hub import Watcher
from muster.scheduler.messages_in import id_of
from muster.scheduler.messages_out import add_questions, contract_of, event_of
from muster.scheduler.service import Scheduler
from muster.scheduler.watching_place import Reached
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.event_pb2 import Cursor, StreamItem
from muster.v1.response_pb2 import Response
from muster.v1.scheduler_service_pb2 import WatchContractsRequest, WatchContractsResponse

ITEMS_PER_READ = 64  # of at most 64 KiB or so each
FRAME_BYTES = limits.LINK_FRAME_BYTES_MAX  # a frame closes here
COMMITS_PER_READ = 200


async def watch(
    scheduler: Scheduler, tenant: str, request: WatchContractsRequest
) -> AsyncIterator[WatchContractsResponse]:
    """Frames of one watch call."""
    if request.HasField("contract_id"):
        number = id_of(request.contract_id)
        async for frame in _WatchOne(scheduler, tenant, number, request.cursor).frames():
            yield frame
    else:
        async for frame in _watch_many(scheduler, tenant, request):
            yield frame


class _WatchOne:
    """A watch of one contract, until it has ended."""

    def __init__(self, scheduler: Scheduler, tenant: str, number: int, cursor: Cursor) -> None:
        self._scheduler = scheduler
        self._tenant = tenant
        self._number = number
        self._sequence = cursor.sequence
        self._at = (cursor.epoch, cursor.index)
        self._watcher = Watcher()
        self._ended = False

    async def frames(self) -> AsyncIterator[WatchContractsResponse]:
        """Snapshot and history, then what comes."""
        hub = self._scheduler.hub
        hub.watch(self._watcher, self._number)
        try:
            await self._scheduler.committer.barrier()
            stored = await self._scheduler.stored(self._number, self._tenant)
            async for frame in self._history(stored):
                yield frame
            if stored.response is not None:
                return
            while True:
                await self._watcher.wait()
                for frame in self._live():
                    yield frame
                if self._ended:
                    return
        finally:
            hub.unwatch(self._watcher, self._number)

    async def _history(self, stored: StoredContract) -> AsyncIterator[WatchContractsResponse]:
        live = self._scheduler.core.contracts.get(self._number)
        frame = WatchContractsResponse()
        frame.snapshot.CopyFrom(contract_of(stored, live, whole=False))
        add_questions(frame.snapshot, stored)
        self._add_events(frame, events_of(stored))
        while True:
            rows = await self._scheduler.ledger.items(self._number, *self._at, ITEMS_PER_READ)
            *full, rest = self._batches([StreamItem.FromString(row.item) for row in rows])
            for batch in full:
                yield self._stamp(frame, batch)
                frame = WatchContractsResponse()
            last = len(rows) < ITEMS_PER_READ
            if last and stored.response is not None:
                frame.response.ParseFromString(stored.response.response)
            yield self._stamp(frame, rest)
            if last:
                return
            frame = WatchContractsResponse()

    def _live(self) -> Iterator[WatchContractsResponse]:
        watcher = self._watcher
        response = watcher.response
        frame = WatchContractsResponse()
        events = (each.event for each in watcher.events)
        self._add_events(frame, (each for each in events if isinstance(each, LifecycleEvent)))
        watcher.events.clear()
        *full, rest = self._batches(watcher.take_items())
        for batch in full:
            yield self._stamp(frame, batch)
            frame = WatchContractsResponse()
        if response is not None:
            frame.response.CopyFrom(response)
            self._ended = True
        yield self._stamp(frame, rest)

    def _batches(self, items: Iterable[StreamItem]) -> list[list[StreamItem]]:
        """The items that are new, in lists that fit a frame; the last one may be empty."""
        batches: list[list[StreamItem]] = [[]]
        room, reached = FRAME_BYTES, self._at
        for item in items:
            if (item.epoch, item.index) > reached:
                reached = (item.epoch, item.index)
                room -= item.ByteSize()
                if room < 0 and batches[-1]:
                    batches.append([])
                    room = FRAME_BYTES - item.ByteSize()
                batches[-1].append(item)
        return batches

    def _add_events(self, frame: WatchContractsResponse, events: Iterable[LifecycleEvent]) -> None:
        for event in events:
            if event.sequence > self._sequence:
                self._sequence = event.sequence
                frame.events.append(event_of(event))

    def _stamp(
        self, frame: WatchContractsResponse, items: Sequence[StreamItem]
    ) -> WatchContractsResponse:
        """The frame, with these items and the cursor after them."""
        if items:
            frame.items.extend(items)
            self._at = (items[-1].epoch, items[-1].index)
        frame.cursor.sequence = self._sequence
        frame.cursor.epoch, frame.cursor.index = self._at
        return frame


def _wanted(tenant: str, wanted: ContractFilter) -> Callable[[LifecycleEvent], bool]:
    capabilities = frozenset(wanted.capabilities)
    root_id = id_of(wanted.root_id) if wanted.root_id else 0

    def wants(event: LifecycleEvent) -> bool:
        return (
            event.tenant == tenant
            and (not capabilities or event.capability in capabilities)
            and (not root_id or event.root_id == root_id)
            and (not wanted.conversation_id or event.conversation == wanted.conversation_id)
        )

    return wants


def _refuse_others(wanted: ContractFilter) -> None:
    """An event does not hold all that a filter can ask for: say so, rather than ignore it."""
    taken = {"capabilities", "conversation_id", "root_id"}
    others = [field.name for field, _ in wanted.ListFields() if field.name not in taken]
    if others:
        message = "is not taken by a watch"
        raise InvalidArgument(
            f"filter.{others[0]} {message}; filter the events yourself, or list the contracts",
            violations=[Violation(f"filter.{name}", message) for name in others],
        )


async def _watch_many(
    scheduler: Scheduler, tenant: str, request: WatchContractsRequest
) -> AsyncIterator[WatchContractsResponse]:
    """Lifecycle events of every contract that fits, of the shards that are owned, without end."""
    _refuse_others(request.filter)
    wants = _wanted(tenant, request.filter)
    watcher = Watcher(wants)
    scheduler.hub.watch(watcher)
    try:
        reached = Reached(scheduler, request.cursor.positions)
        if request.HasField("cursor"):
            while True:
                # The watcher gets what is committed from here on, so only what is older is read:
                # under load a replay would never end otherwise.
                watcher.restart()
                newest = scheduler.committer.position
                async for frame in _replay(scheduler, wants, reached, newest):
                    yield frame
                if not watcher.is_overrun:
                    break
        else:
            # Tells the client where "now" is, so that it can resume from the very beginning.
            reached.advance(scheduler.committer.position)
            yield reached.frame([])
        while True:
            await watcher.wait()
            pace = scheduler.hub.pace_seconds
            if pace:
                # At random, so that they do not all write at the same time.
                await asyncio.sleep(random.uniform(0, 2 * pace))
                watcher.check()
            events = [each.message for each in watcher.events if reached.is_new(each)]
            if watcher.events:
                reached.advance(watcher.events[-1].position)
            watcher.events.clear()
            if events:
                yield reached.frame(events)
    finally:
        scheduler.hub.unwatch(watcher)


async def _replay(
    scheduler: Scheduler, wants: Callable[[LifecycleEvent], bool], reached: Reached, newest: int
) -> AsyncIterator[WatchContractsResponse]:
    gap = await reached.gap()
    if gap is not None:
        yield gap
    while reached.is_behind(newest):
        commits = await reached.read(COMMITS_PER_READ)
        if not commits:
            break
        ids = {number for commit in commits for number, _ in commit.events}
        stored = {each.id: events_of(each) for each in await scheduler.ledger.load(sorted(ids))}
        events = [
            event_of(stored[number][sequence - 1])
            for commit in commits
            for number, sequence in commit.events
            if number in stored and wants(stored[number][sequence - 1])
        ]
        yield reached.frame(events)
    reached.advance(newest)


def ended_response(stored: StoredContract) -> Response | None:
    """The recorded response, if the contract has ended."""
    if stored.response is None:
        return None
    return Response.FromString(stored.response.response)
