"""How far a watch of many contracts has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.backends.ledger_base import ShardCommit
from muster.scheduler.hub import Published
from muster.scheduler.positions import Positions
from muster.scheduler.service import Scheduler
from muster.v1.event_pb2 import Event
from muster.v1.scheduler_service_pb2 import WatchContractsResponse


class Reached:
    """A position for each shard that this scheduler owns, or one for all of them."""

    def __init__(self, scheduler: Scheduler, positions: Mapping[int, int]) -> None:
        self._of = Positions(scheduler)
        self._positions = {key: positions.get(key, 0) for key in self._of.owned()}

    def is_new(self, published: Published) -> bool:
        """Whether the event comes after what was reached."""
        key = self._of.key_of(published.event.contract_id)
        return published.position > self._positions.get(key, 0)

    def is_behind(self, position: int) -> bool:
        """Whether anything up to `position` may still be missing."""
        return any(each < position for each in self._positions.values())

    def advance(self, position: int) -> None:
        """Everything of this scheduler's up to `position` has been told."""
        for key, reached in self._positions.items():
            self._positions[key] = max(reached, position)

    async def read(self, commits: int) -> Sequence[ShardCommit]:
        """The next commits, which count as told then. Of each shard the same number, or fewer."""
        found = await self._of.after(self._positions, -(-commits // max(1, len(self._positions))))
        for each in found:
            self._positions[each.shard] = each.position
        return found

    async def gap(self) -> WatchContractsResponse | None:
        """Says from where on history is still there, if what comes next is not."""
        trimmed = await self._of.trimmed()
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

    def frame(self, events: Sequence[Event]) -> WatchContractsResponse:
        """The events, with the cursor after them."""
        frame = WatchContractsResponse()
        frame.events.extend(events)
        frame.cursor.positions.update(self._positions)
        return frame
