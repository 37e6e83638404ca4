"""How far a watch of many contracts has come.

While one scheduler owns every shard its commits are numbered through, and one position, that of
shard 0, says it all. Where the shards are shared, each has its own: a watcher then goes from owner
to owner and misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.backends.ledger_base import Commit, ShardCommit
from muster.model.ids import shard_of_id
from muster.scheduler.hub import Published
from muster.scheduler.service import Scheduler
from muster.v1.event_pb2 import Event
from muster.v1.scheduler_service_pb2 import WatchContractsResponse


class Reached:
    """A position for each shard that this scheduler owns, or one for all of them."""

    def __init__(self, scheduler: Scheduler, positions: Mapping[int, int]) -> None:
        self._scheduler = scheduler
        self._shared = scheduler.shared
        keys = scheduler.generations if self._shared else (0,)
        self._positions = {key: positions.get(key, 0) for key in keys}

    def is_new(self, published: Published) -> bool:
        """Whether the event comes after what was reached."""
        key = shard_of_id(published.event.contract_id) if self._shared else 0
        return published.position > self._positions.get(key, 0)

    def is_behind(self, position: int) -> bool:
        """Whether anything up to `position` may still be missing."""
        return any(each < position for each in self._positions.values())

    def advance(self, position: int) -> None:
        """Everything of this scheduler's up to `position` has been told."""
        for key, reached in self._positions.items():
            self._positions[key] = max(reached, position)

    async def read(self, commits: int) -> Sequence[Commit | ShardCommit]:
        """The next commits, which count as told then. Of each shard the same number, or fewer."""
        ledger = self._scheduler.ledger
        if not self._shared:
            found = await ledger.history(self._positions[0], commits)
            if found:
                self._positions[0] = found[-1].position
            return found
        by_shard = await ledger.shard_history(
            self._positions, -(-commits // max(1, len(self._positions)))
        )
        for each in by_shard:
            self._positions[each.shard] = each.position
        return by_shard

    async def gap(self) -> WatchContractsResponse | None:
        """Says from where on history is still there, if what comes next is not."""
        trimmed = await self._trimmed()
        missing = {
            key: trimmed[key]
            for key, reached in self._positions.items()
            if 0 < reached < trimmed.get(key, 0)
        }
        if not missing:
            return None
        self._positions |= missing
        frame = self.frame([])
        frame.gap.resume_at.positions.update(missing)
        return frame

    async def _trimmed(self) -> dict[int, int]:
        """Positions up to which nothing is kept."""
        ledger = self._scheduler.ledger
        if self._shared:
            return {each.shard: each.trimmed for each in await ledger.ownership()}
        oldest = await ledger.history(0, 1)
        return {0: oldest[0].position - 1} if oldest else {}

    def frame(self, events: Sequence[Event]) -> WatchContractsResponse:
        """The events, with the cursor after them."""
        frame = WatchContractsResponse()
        frame.events.extend(events)
        frame.cursor.positions.update(self._positions)
        return frame
