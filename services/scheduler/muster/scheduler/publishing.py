"""Publishes what has happened on the bus, from the outbox, after its commit and in order.

Events come from memory, as watchers get them; and from the ledger where there is nothing in memory:
after a start, for shards that were taken over, and when the bus was away for longer than fits. How
far each shard has been published is told to the ledger now and then, so whoever owns it next goes
on from there. What was published and not told is published twice: the bus drops it by its id.

Nothing waits for the bus but this.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from muster.backends.bus_base import Bus, Message
from muster.backends.ledger_base import ShardCommit
from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import MusterError, Unavailable
from muster.model.ledger import events_of
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.scheduler.cloud_events import gap_message, message_of
from muster.scheduler.hub import Watcher
from muster.scheduler.positions import Positions
from muster.scheduler.run_entries import entries_of
from muster.scheduler.service import Scheduler
from muster.scheduler.unpublished import Entry, Happened, Unpublished

COMMITS_PER_READ = 512
CONTRACTS_PER_LOAD = 200  # with up to 64 KiB of request each
LOOK_SECONDS = 0.5  # for shards that come and go, where no event wakes us

_log = get_logger("muster.scheduler")


class Publisher:
    """One scheduler's part in feeding the bus: the events of its shards. Use inside `run`, and that
    inside the scheduler's."""

    def __init__(self, scheduler: Scheduler, bus: Bus) -> None:
        self.published = 0  # events, since the process started
        self.failures = 0  # tries of which something was not acknowledged
        self.well = True  # whatever the bus was last given, it has taken
        self.gaps = 0  # shards of which events had been trimmed before they got out
        # Everything that is committed from here on is published.
        self.feeding = asyncio.Event() if bus.keeps else bus.fed
        self.feeding.clear()
        self._scheduler = scheduler
        self._positions = Positions(scheduler)
        self._bus = bus
        self._watcher = Watcher(follows_shards=True, takes_runs=True)
        self._unpublished = Unpublished()
        self._owned: dict[int, int] = {}  # key -> generation that was looked at
        self._read: dict[int, int] = {}  # key -> position up to which events are in memory
        self._behind: set[int] = set()  # keys of which the ledger has more than memory
        self._marked: dict[int, int] = {}
        self._gaps: list[Message] = []
        self._rests = asyncio.Event()  # everything is published

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Publish while the block runs, and at its end what is left, if the bus takes it."""
        try:
            async with background(self._bus.run, self._publish, self._keep_marking):
                yield
                await self._finish()
            with suppress(MusterError):
                await self._mark()
        finally:
            self._scheduler.hub.unwatch(self._watcher)
            self._bus.fed.set()  # nobody waits for one who has gone

    @property
    def waiting(self) -> int:
        """How many events are in memory, unpublished."""
        return len(self._unpublished) + len(self._watcher.events)

    @property
    def is_behind(self) -> bool:
        """Whether more of them are in the ledger than in memory."""
        return bool(self._behind) or self._watcher.is_overrun

    @property
    def lag_seconds(self) -> float:
        """How long ago the oldest unpublished event happened; 0 where there is none."""
        oldest_ms = self._unpublished.oldest_ms
        return max(0.0, self._scheduler.clock().wall_ms - oldest_ms) / 1000 if oldest_ms else 0.0

    async def _finish(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.BUS_STOP_SECONDS):
                await self._scheduler.committer.flush()
                while self.waiting or self.is_behind:
                    self._rests.clear()
                    await self._rests.wait()

    async def _publish(self) -> None:
        while True:
            try:
                if not self.feeding.is_set() or self._bus.unwanted.is_set():
                    await self._until_wanted()
                await self._follow_shards()
                if self._watcher.is_overrun:
                    self._watcher.restart()
                    self._behind |= self._owned.keys()
            except MusterError:
                # The ledger does not answer, or too many watch. That passes.
                await asyncio.sleep(limits.BUS_RETRY_SECONDS)
                continue
            if not self._behind:
                self._read_memory()
            entries = self._unpublished.take(limits.BUS_BATCH_MAX)
            if self._behind:
                # Both wait for a disk: at the same time, not one after the other.
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(entries))
                    group.create_task(self._read_ledger())
            elif entries or self._gaps:
                await self._send(entries)
            else:
                self._rests.set()
                await self._something()

    async def _until_wanted(self) -> None:
        """Have nothing to do with events until somebody wants them."""
        self.feeding.clear()
        self._scheduler.hub.unwatch(self._watcher)
        self._unpublished.forget([*self._owned])
        for each in (self._owned, self._read, self._marked, self._behind):
            each.clear()
        self._watcher.restart()
        self._rests.set()
        await self._bus.wanted.wait()
        self._scheduler.hub.watch(self._watcher)
        if not self._bus.keeps:
            await self._follow_shards()  # which begins with now
        self.feeding.set()

    async def _something(self) -> None:
        # A watcher that was too slow says so, which is something as well.
        with suppress(TimeoutError, MusterError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._watcher.wait()

    async def _send(self, entries: Sequence[Entry]) -> None:
        if not entries and not self._gaps:
            return
        gaps = self._gaps[: limits.BUS_BATCH_MAX]
        messages = [*gaps, *(message_of(entry.event) for entry in entries)]
        acknowledged = await self._bus.publish(messages)
        self._gaps = [
            gap for gap, is_there in zip(gaps, acknowledged, strict=False) if not is_there
        ] + self._gaps[len(gaps) :]
        self._unpublished.settle(entries, acknowledged[len(gaps) :])
        self.published += sum(acknowledged[len(gaps) :])
        self.well = all(acknowledged)
        if not self.well:
            self.failures += 1
            await asyncio.sleep(limits.BUS_RETRY_SECONDS)

    # --- where events come from -------------------------------------------------------------------

    async def _follow_shards(self) -> None:
        """Begin with shards that are owned now, after what their last owner has published."""
        owned = self._positions.owned()
        if owned == self._owned:
            return
        gone = [key for key in self._owned if owned.get(key) != self._owned[key]]
        if gone:
            await self._mark()
            self._unpublished.forget(gone)
            for key in gone:
                del self._owned[key], self._read[key]
                self._marked.pop(key, None)
                self._behind.discard(key)
        new = {key: number for key, number in owned.items() if key not in self._owned}
        if new:
            marks = await self._marks(new)
            for key, generation in new.items():
                self._read[key] = self._marked[key] = marks[key]
                self._unpublished.begin(key, self._read[key])
                self._owned[key] = generation
            self._behind |= new.keys()

    async def _marks(self, keys: Iterable[int]) -> dict[int, int]:
        """How far these have been published. Where there never was a bus, they begin with what is
        kept, and the ledger knows from now on that somebody wants the rest."""
        ledger = self._scheduler.ledger
        if not self._bus.keeps:
            return dict.fromkeys(keys, self._scheduler.committer.position)
        marks = await ledger.published()
        fresh = [key for key in keys if key not in marks]
        if fresh:
            trimmed = await self._positions.trimmed()
            begun = {key: trimmed.get(key, 0) for key in fresh}
            await ledger.mark_published(begun)
            marks |= begun
        return marks

    def _read_memory(self) -> None:
        """Take over what watchers were told, whole commits."""
        events = self._watcher.events
        while events and len(self._unpublished) < limits.BUS_UNPUBLISHED_MAX:
            position = events[0].position
            by_key: dict[int, list[Happened]] = {}
            while events and events[0].position == position:
                event = events.popleft().event
                by_key.setdefault(self._positions.key_of(event.contract_id), []).append(event)
            for key, found in by_key.items():
                self._add(key, position, found)

    def _add(self, key: int, position: int, events: Sequence[Happened]) -> None:
        # What is not ours is somebody else's to publish, or found in the ledger when it is.
        if position > self._read.get(key, position):
            self._unpublished.add(key, position, events)
            self._read[key] = position

    async def _read_ledger(self) -> None:
        """Read on where memory has a hole. A key from which little comes has no hole any more:
        what is committed after this was asked is in memory."""
        if len(self._unpublished) >= limits.BUS_UNPUBLISHED_MAX:
            return
        try:
            await self._notice_gaps()
            behind = {key: self._read[key] for key in self._behind}
            limit = max(1, COMMITS_PER_READ // len(behind))
            commits = await self._positions.after(behind, limit)
            await self._add_stored(commits)
        except MusterError:
            # What was read so far counts.
            await asyncio.sleep(limits.BUS_RETRY_SECONDS)
        else:
            found = Counter(commit.shard for commit in commits)
            self._behind -= {key for key in behind if found[key] < limit}

    async def _add_stored(self, commits: Iterable[ShardCommit]) -> None:
        """Derive commits' events from their contracts, a few of these at a time."""
        waiting: list[ShardCommit] = []
        ids: set[int] = set()
        for commit in commits:
            waiting.append(commit)
            ids.update(number for number, _ in commit.events)
            if len(ids) >= CONTRACTS_PER_LOAD:
                await self._load(waiting, ids)
                waiting, ids = [], set()
        await self._load(waiting, ids)

    async def _load(self, waiting: Sequence[ShardCommit], ids: Collection[int]) -> None:
        ledger = self._scheduler.ledger
        stored = {each.id: events_of(each) for each in await ledger.load(sorted(ids))}
        wanted = [each for commit in waiting for each in commit.events if each[0] not in stored]
        of_runs = await entries_of(ledger, wanted)
        for commit in waiting:
            # A row that was refused has left no event, and a contract may have been forgotten.
            events: list[Happened] = []
            for number, sequence in commit.events:
                if sequence <= len(stored.get(number, ())):
                    events.append(stored[number][sequence - 1])
                elif (number, sequence) in of_runs:
                    events.append(of_runs[number, sequence])
            self._add(commit.shard, commit.position, events)

    async def _notice_gaps(self) -> None:
        """Go on after what is no longer kept, and say to every tenant that it is missing."""
        trimmed = await self._positions.trimmed()
        missing = {
            key: trimmed[key] for key in self._behind if self._read[key] < trimmed.get(key, 0)
        }
        if not missing:
            return
        self.gaps += len(missing)
        _log.error("events were trimmed before the bus took them", shards=len(missing))
        now_ms = time.time_ns() // 1_000_000
        self._gaps += [
            gap_message(tenant, missing, now_ms) for tenant in self._scheduler.catalogue.tenants()
        ]
        self._read |= missing

    # --- how far ----------------------------------------------------------------------------------

    async def _keep_marking(self) -> None:
        while True:
            await asyncio.sleep(limits.BUS_MARK_SECONDS)
            with suppress(MusterError):
                await self._mark()

    async def _mark(self) -> None:
        marks = {
            key: position
            for key, position in self._unpublished.marks().items()
            if position > self._marked[key]
        }
        if marks and self._bus.keeps:
            await self._tell(marks)
            # A key may have been given up, and be somebody else's, meanwhile.
            self._marked |= {key: marks[key] for key in marks.keys() & self._marked.keys()}

    @failpoint("published_unmarked", Unavailable)
    async def _tell(self, marks: Mapping[int, int]) -> None:
        await self._scheduler.ledger.mark_published(marks)
