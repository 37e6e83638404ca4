"""What a scheduler does beside its work: count what it has taken over, note how far back there is
nothing open, and forget contracts whose retention is over, a few at a time, between commits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from muster.backends.ledger_base import Ended, Ledger
from muster.model import limits
from muster.model.errors import MusterError
from muster.model.ledger import Opening
from muster.model.states import ContractState
from muster.runtime.logs import get_logger
from muster.scheduler.records import Now

_log = get_logger("muster.scheduler")

Counts = Counter[tuple[str, ContractState]]


class EndedCounts:
    """How many contracts of the shards that are owned have ended, by tenant and how.

    What ended before a shard was taken over is counted when there is time: it takes seconds where
    there are millions, and nobody who waits for work should wait for that.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._by_shard: dict[int, Counts] = {}
        self._to_count: list[tuple[set[int], int, list[int]]] = []
        self._changed = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    def add(self, shard: int, tenant: str, state: ContractState) -> None:
        """One more has ended."""
        self._by_shard.setdefault(shard, Counter())[tenant, state] += 1

    def take_over(self, opening: Opening, open_ids: Iterable[int]) -> None:
        """Shards were claimed, in which these contracts are open."""
        if opening.generations:
            self._to_count.append((set(opening.generations), opening.last_id, list(open_ids)))
            self._done.clear()
            self._changed.set()

    def disown(self, shards: Iterable[int]) -> None:
        """They are somebody else's now."""
        for shard in shards:
            self._by_shard.pop(shard, None)
            for waiting, _, _ in self._to_count:
                waiting.discard(shard)

    def forget(self, counts: Ended) -> None:
        """So many are no longer in the ledger."""
        uncounted = set[int]().union(*(shards for shards, _, _ in self._to_count))
        for (shard, tenant, state), count in counts.items():
            if shard not in uncounted:  # else they will not be found
                self._by_shard.setdefault(shard, Counter())[tenant, state] -= count

    def totals(self) -> Counts:
        """Of all shards."""
        found: Counts = Counter()
        for counts in self._by_shard.values():
            found.update(counts)
        return found

    async def complete(self, seconds: float) -> None:
        """Waits until everything is counted that was taken over, for at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._done.wait()

    async def wait(self, seconds: float) -> None:
        """Returns when there is something to count, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def count(self) -> None:
        """Counts what has been taken over. Raises `MusterError` while the ledger is away."""
        while self._to_count:
            shards, last_id, open_ids = self._to_count[0]
            found = await self._ledger.ended(frozenset(shards), last_id, open_ids)
            del self._to_count[0]
            for (shard, tenant, state), count in found.items():
                if shard in shards:  # else it was given up meanwhile
                    self._by_shard.setdefault(shard, Counter())[tenant, state] += count
        self._changed.clear()
        self._done.set()


class Kept(Protocol):
    """What is needed of a scheduler."""

    ledger: Ledger
    ended: EndedCounts

    def clock(self) -> Now: ...

    def progress(self) -> object: ...

    async def note_settled(self) -> None: ...


async def count_and_forget(scheduler: Kept, retention_seconds: float) -> None:
    """Without end. One after the other, so that nothing is counted while it goes."""
    away = False
    while True:
        before_ms = scheduler.clock().wall_ms - int(retention_seconds * 1000)
        try:
            await scheduler.ended.count()
            trimmed = await scheduler.ledger.trim(before_ms, limits.RETENTION_TRIM_MAX)
        except MusterError:
            if not away:
                _log.warning("the ledger cannot be asked about old contracts; trying again")
            away = True
            await asyncio.sleep(limits.HOUSEKEEPING_RETRY_SECONDS)
            continue
        away = False
        scheduler.ended.forget(trimmed)
        if sum(trimmed.values()) < limits.RETENTION_TRIM_MAX:
            await scheduler.ended.wait(limits.RETENTION_SWEEP_SECONDS)


async def note_settled(scheduler: Kept) -> None:
    """Without end: as often as something has changed, and not much more often."""
    noted = scheduler.progress()
    while True:
        await asyncio.sleep(limits.SETTLED_MARK_SECONDS)
        progress = scheduler.progress()
        if progress == noted:
            continue
        try:
            await scheduler.note_settled()
        except MusterError:
            continue  # whoever claims next looks farther back
        noted = progress
