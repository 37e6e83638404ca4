"""Shares the ledger's shards with other schedulers: says that this one lives, takes its part, gives
up what is too much.

The ledger holds who lives and who owns what, on its own clock, and its fence keeps a former owner
out, so nothing here must be right for the record to be right. What is decided here is only who
works on what, and who is asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from muster.backends.ledger_base import Ledger, Member, OwnershipLost, ShardOwner
from muster.model.errors import MusterError
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.runtime.serve import Readiness
from muster.scheduler.links import Links
from muster.scheduler.ownership import decide
from muster.scheduler.service import Scheduler

LEASE_SECONDS = 5.0  # a scheduler that has not said for so long that it lives is taken for dead
RENEW_SECONDS = 0.5  # pause between two looks, if nothing is heard before
BACKLOG_SECONDS = 0.05  # how often executors hear what waits, while anything does

Want = tuple[str, str]  # tenant, capability

_log = get_logger("muster.scheduler")


class Sharing:
    """One scheduler's part in sharing. Use inside `run`, and that inside the scheduler's."""

    def __init__(self, scheduler: Scheduler, links: Links, address: str) -> None:
        self.name = scheduler.name
        self.owners: Mapping[int, str] = {}  # of shards, as the ledger had it last
        self.addresses: Mapping[str, str] = {}  # of schedulers that live
        self.changed = asyncio.Event()  # somebody came or went; each change has its own
        self._scheduler = scheduler
        self._ledger: Ledger = scheduler.ledger
        self._links = links
        self._address = address
        self._look = asyncio.Event()
        self._in_contact_since: float | None = None  # monotonic seconds

    @asynccontextmanager
    async def run(self, readiness: Readiness) -> AsyncIterator[None]:
        """Take part while the block runs. On the way out every shard is given up, so that others
        take them at once."""
        await self._ledger.join(self._address, LEASE_SECONDS)
        await self._step()
        async with background(self._listen, lambda: self._keep(readiness), self._tell_backlog):
            yield
        await self._leave()

    def owns(self, shard: int) -> bool:
        """Whether this scheduler owns a shard now."""
        return shard in self._scheduler.generations

    async def _listen(self) -> None:
        """Look at once when somebody has changed something, rather than when the pause is over."""
        async for _ in self._ledger.changes():
            self._look.set()

    async def _keep(self, readiness: Readiness) -> None:
        while True:
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                await self._step()
            except MusterError:
                if self._in_contact_since is not None:
                    _log.warning("the ledger does not answer; nothing is taken over meanwhile")
                self._in_contact_since = None
                readiness.impaired()
            else:
                readiness.serving()

    async def _step(self) -> None:
        """Say that we live, look who else does, and claim or release what follows."""
        if not await self._ledger.renew():
            await self._ledger.join(self._address, LEASE_SECONDS)
        members, rows = await self._ledger.members(), await self._ledger.ownership()
        self._check(rows)
        live = self._live(members)
        owners = {row.shard: row.owner for row in rows}
        move = decide(self.name, live, owners)
        owned = self._scheduler.generations
        # Its own from before a restart count as its own, and must be claimed anew.
        mine = {shard for shard, owner in owners.items() if owner == self.name}
        claim = sorted((mine - set(owned) - set(move.release)) | set(move.claim))
        if claim:
            await self._claim(claim)
        if move.release:
            await self._release(move.release)
        if claim or move.release:
            owners = {row.shard: row.owner for row in await self._ledger.ownership()}
        self._tell(owners, {each.owner: each.address for each in members if each.owner in live})

    async def _tell_backlog(self) -> None:
        """Tell executors what waits here, so that they lend slots that lie idle elsewhere."""
        queue, told = self._scheduler.core.queue, Counter[Want]()
        while True:
            if not told:
                await self._scheduler.something_waits.wait()
            self._scheduler.something_waits.clear()
            waits: Counter[Want] = Counter()
            if len(self.addresses) > 1:
                for tenant, capability, selector in queue.lanes:
                    waits[tenant, capability] += queue.lanes[tenant, capability, selector].size
            waits = +waits  # without those of which nothing is left
            self._links.tell_backlog({**dict.fromkeys(told, 0), **waits})
            told = waits
            await asyncio.sleep(BACKLOG_SECONDS)

    def _live(self, members: Collection[Member]) -> set[str]:
        """Who is to be taken for alive. After a start, and after the ledger was away, everybody has
        a whole lease's time to say so: they could not before."""
        now = self._scheduler.clock().mono
        if self._in_contact_since is None:
            self._in_contact_since = now
        may_judge = now - self._in_contact_since >= LEASE_SECONDS
        return {each.owner for each in members if each.live or not may_judge} | {self.name}

    def _check(self, rows: Collection[ShardOwner]) -> None:
        """End the process if somebody has taken a shard over that it still works on. The fence has
        kept it from writing; what it has in memory of that shard is worth nothing."""
        generations = self._scheduler.generations
        lost = [x.shard for x in rows if x.shard in generations and x.owner != self.name]
        if lost:
            error = OwnershipLost(f"{len(lost)} shards have been taken over")
            self._scheduler.committer.stop(error)
            raise error

    async def _claim(self, shards: Collection[int]) -> None:
        opening = await self._ledger.claim(sorted(shards))
        if opening.generations:
            self._scheduler.take_over(opening)
            self._links.tell_owners()
            self._scheduler.settle()

    async def _release(self, shards: Collection[int]) -> None:
        """What was decided is committed first; then whoever waits is told to ask the next owner."""
        scheduler = self._scheduler
        waiting = scheduler.disown(shards)
        scheduler.settle()
        await scheduler.committer.barrier()
        scheduler.ended.disown(shards)
        await self._ledger.release(shards)
        self._links.tell_owners()
        scheduler.moved(waiting)

    async def _leave(self) -> None:
        """Give up everything. Where the ledger does not answer, others wait out our lease."""
        try:
            await self._release(sorted(self._scheduler.generations))
        except MusterError:
            _log.warning("the ledger does not answer; the others will wait out this one's lease")

    def _tell(self, owners: Mapping[int, str], addresses: Mapping[str, str]) -> None:
        if (owners, addresses) != (self.owners, self.addresses):
            if addresses != self.addresses:
                self._links.schedulers = addresses
                self._links.tell_owners()
            self.owners, self.addresses = owners, addresses
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()
