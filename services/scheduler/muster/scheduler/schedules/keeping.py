"""The schedules of the shards that are owned here: loaded, looked at when they are due, trimmed.

Wall time decides. The loop never sleeps longer than a second, so that a clock that was moved is
noticed: what is due is found by what the clock says, not by what was slept for.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count

from muster.model import limits
from muster.model.errors import MusterError
from muster.model.records import Action, RowQuery
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.scheduler import core_schedules as core
from muster.scheduler.admission import moving
from muster.scheduler.core_schedules import Outcome
from muster.scheduler.records import Now
from muster.scheduler.schedules.entry import Entry, Key, entry_of
from muster.scheduler.schedules.messages import RUN, ScheduleRow
from muster.scheduler.schedules.starting import Starts
from muster.scheduler.schedules.ticking import Ticking, kind_of
from muster.scheduler.service import Scheduler

_LOADED_AT_ONCE = 500  # rows, of at most 20 KB
_LOOKS_AT_ONCE = 32  # at schedules, before the event loop has a turn
_JUMP_SECONDS = 1.0  # by which the two clocks must part for it to be told

_log = get_logger("muster.scheduler")


class Schedules:
    """All that are owned here. Use inside `run`, and that inside the scheduler's."""

    def __init__(self, scheduler: Scheduler, starts: Mapping[int, Starts]) -> None:
        """`starts` by the kind of thing: CONTRACT and RUN."""
        self.scheduler = scheduler
        self.entries: dict[Key, Entry] = {}
        self.ticking = Ticking(scheduler, starts, self.find, self._wake_up)
        self._loaded: dict[int, int] = {}  # shard -> generation in which it was loaded
        self._loading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._armed: list[tuple[int, int, Entry]] = []  # a heap; what is out of date stays in it
        self._numbers = count()
        self._later: list[Entry] = []  # to be tried again
        self._later_at = 0.0  # monotonic seconds
        self._last_look: Now | None = None
        self._long: set[Key] = set()  # whose history is to be trimmed

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Fire what is due while the block runs."""
        async with background(self._loop):
            yield

    def find(self, key: Key) -> Entry | None:
        """A schedule of a shard that is owned and loaded."""
        entry = self.entries.get(key)
        return entry if entry is not None and self._owns(entry.shard) else None

    def _wake_up(self) -> None:
        self._wake.set()

    async def _loop(self) -> None:
        away = False
        while True:
            try:
                await self._load()
                await self._trim()
                away = False
            except MusterError:
                if not away:
                    _log.warning("the ledger cannot be asked about schedules; trying again")
                away = True
            await self._fire()
            try:
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def _pause_seconds(self) -> float:
        """Until the next one is due; never longer than a clock may go unwatched."""
        if self.ticking.heard:
            return 0.0
        most = limits.SCHEDULE_LOOK_SECONDS
        if not self._armed:
            return most
        return min(most, max(0.0, (self._armed[0][0] - self.scheduler.clock().wall_ms) / 1000))

    # --- firing -----------------------------------------------------------------------------------

    async def _fire(self) -> None:
        """Look at all that is due, some at a time."""
        now = self.scheduler.clock()
        self._notice_jump(now)
        if self._later and now.mono >= self._later_at:
            for entry in self._later:
                self.arm(entry, now.wall_ms)
            self._later.clear()
        while (entries := self._next(now)) is not None:
            for entry in entries:
                await self._get_ready(entry)
            # Nobody waits from here on: all of it is in one batch.
            for entry in entries:
                self.look(entry, now)
            self.scheduler.settle()
            await asyncio.sleep(0)

    def _next(self, now: Now) -> list[Entry] | None:
        """Some of the schedules that are to be looked at; None: there are no more."""
        heard, found = self.ticking.heard, list[Entry]()
        did = 0
        while heard and did < _LOOKS_AT_ONCE:
            did += 1
            entry = heard.popleft()(now)
            if entry is not None:
                found.append(entry)
        found += self._due(now.wall_ms, _LOOKS_AT_ONCE - did)
        return found if found or did else None

    async def _get_ready(self, entry: Entry) -> None:
        """What its tick needs to know is looked up; where it cannot be, the tick is tried again."""
        kind = kind_of(entry)
        if kind == RUN:
            with suppress(MusterError):
                await self.ticking.starts[kind].get_ready(entry.tenant, entry.spec.action)

    def _due(self, wall_ms: int, most: int) -> Iterator[Entry]:
        armed = self._armed
        while most > 0 and armed and armed[0][0] <= wall_ms:
            at_ms, _, entry = heapq.heappop(armed)
            if entry.armed_ms == at_ms and self.entries.get(entry.key) is entry:
                entry.armed_ms = None
                most -= 1
                yield entry

    def look(self, entry: Entry, now: Now) -> None:
        """Do what is to be done with it now, and say when to look again. The caller settles."""
        if self.find(entry.key) is not entry:
            return
        if self.ticking.look(entry, now):
            if not self._later:
                self._later_at = now.mono + limits.SCHEDULE_RETRY_SECONDS
            self._later.append(entry)
        elif entry.rules is not None:
            at_ms = core.next_ms(entry.rules, entry.progress)
            if at_ms is not None:
                self.arm(entry, at_ms)
        if entry.progress.kept >= limits.SCHEDULE_TICKS_KEPT + limits.SCHEDULE_TICKS_TRIM:
            self._long.add(entry.key)

    def arm(self, entry: Entry, at_ms: int) -> None:
        """Look at it then, and not at what was said before."""
        entry.armed_ms = at_ms
        heapq.heappush(self._armed, (at_ms, next(self._numbers), entry))
        if self._armed[0][2] is entry:
            self._wake.set()

    def _notice_jump(self, now: Now) -> None:
        last, self._last_look = self._last_look, now
        if last is None:
            return
        jump = (now.wall_ms - last.wall_ms) / 1000 - (now.mono - last.mono)
        if abs(jump) >= _JUMP_SECONDS:
            _log.warning("the wall clock has been moved", seconds=round(jump, 3))

    # --- shards -----------------------------------------------------------------------------------

    def _owns(self, shard: int) -> bool:
        """Whether what is in memory of a shard is true."""
        generation = self.scheduler.generations.get(shard)
        return generation is not None and self._loaded.get(shard) == generation

    async def ready(self, shard: int) -> None:
        """Returns when the shard's schedules are there; raises `Unavailable` if it is not owned."""
        if not self._owns(shard):
            await self._load()
        if not self._owns(shard):
            raise moving()

    async def _load(self) -> None:
        """Forget shards that are owned no longer, and read those that are owned anew."""
        generations = self.scheduler.generations
        if self._loaded == generations:
            return
        async with self._loading:
            for shard, generation in list(self._loaded.items()):
                if generations.get(shard) != generation:
                    self._forget(shard)
            wanted = {s: g for s, g in generations.items() if s not in self._loaded}
            entries = [entry async for entry in self._read(sorted(wanted))]
            ended = await self._ended_meanwhile(entries)
            still = {s for s, g in wanted.items() if generations.get(s) == g}
            self._loaded |= {shard: wanted[shard] for shard in still}
            now = self.scheduler.clock()
            for entry in entries:
                if entry.shard in still:
                    self._take(entry, ended, now)
            self.scheduler.settle()

    def _forget(self, shard: int) -> None:
        del self._loaded[shard]
        for key in [key for key, entry in self.entries.items() if entry.shard == shard]:
            del self.entries[key]

    async def _read(self, shards: list[int]) -> AsyncIterator[Entry]:
        """What the ledger has of these shards."""
        after: tuple[str, str] | None = None
        while shards:
            query = RowQuery(
                "schedules",
                {"shard": shards},
                order=("tenant", "name"),
                after=after,
                limit=_LOADED_AT_ONCE,
            )
            rows = [ScheduleRow(*row) for row in await self.scheduler.ledger.rows(query)]
            for row in rows:
                entry = entry_of(row)
                if entry.rules is None:
                    _log.error("a schedule's time zone is not known here", schedule=row.name)
                yield entry
            if len(rows) < _LOADED_AT_ONCE:
                return
            after = rows[-1][:2]

    async def _ended_meanwhile(self, entries: list[Entry]) -> set[int]:
        """Of all that these have started, what has ended while nobody listened."""
        ended: set[int] = set()
        for kind, starts in self.ticking.starts.items():
            ids = {r.target for e in entries for r in e.progress.running if r.kind == kind}
            ended |= ids - await starts.open_among(ids)
            for entry in entries:
                if kind_of(entry) == kind:
                    await starts.get_ready(entry.tenant, entry.spec.action)
        return ended

    def _take(self, entry: Entry, ended: set[int], now: Now) -> None:
        self.entries[entry.key] = entry
        for running in entry.progress.running:
            if running.target in ended:
                self.ticking.ended(entry, running.target)
            else:
                self.ticking.listen(entry, running)
        self.arm(entry, now.wall_ms)

    # --- history ----------------------------------------------------------------------------------

    async def _trim(self) -> None:
        """Forget the oldest entries of histories that are too long."""
        while self._long:
            key = self._long.pop()
            entry = self.entries.get(key)
            if entry is None:
                continue
            too_many = entry.progress.kept - limits.SCHEDULE_TICKS_KEPT
            query = RowQuery(
                "schedule_ticks",
                {"tenant": entry.tenant, "name": entry.name},
                order=("tick_ms", "number"),
                limit=max(0, too_many),
            )
            rows = await self.scheduler.ledger.rows(query)
            if self.entries.get(key) is not entry or not self._owns(entry.shard):
                continue
            batch, trimmed = self.scheduler.committer.batch, 0
            for row in rows:
                if row[5] != Outcome.WAITING:
                    batch.record(Action.DELETE, "schedule_ticks", row[:4], entry.shard)
                    trimmed += 1
            entry.progress = core.trimmed(entry.progress, trimmed)
            self.ticking.record(entry)
            self.scheduler.settle()
