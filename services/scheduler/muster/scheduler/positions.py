"""How a scheduler's commits are numbered, for whoever follows them.

While one scheduler owns every shard they are numbered through, and one position, under key 0, says
how far somebody has come. Where the shards are shared each has its own, under its number: who
follows goes from owner to owner and misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.backends.ledger_base import ShardCommit
from muster.model.ids import shard_of_id
from muster.scheduler.service import Scheduler


class Positions:
    """The keys of one scheduler, and what the ledger has under them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def owned(self) -> dict[int, int]:
        """The keys that are this scheduler's now, with what changes when their owner does."""
        return dict(self._scheduler.generations) if self._scheduler.shared else {0: 0}

    def key_of(self, contract_id: int) -> int:
        """Under which key a contract's events are numbered."""
        return shard_of_id(contract_id) if self._scheduler.shared else 0

    async def after(self, reached: Mapping[int, int], limit: int) -> Sequence[ShardCommit]:
        """At most `limit` commits of each key after its position, in order; `shard` is the key."""
        ledger = self._scheduler.ledger
        if self._scheduler.shared:
            return await ledger.shard_history(reached, limit)
        return [ShardCommit(0, *each) for each in await ledger.history(reached[0], limit)]

    async def trimmed(self) -> dict[int, int]:
        """Positions up to which nothing is kept."""
        ledger = self._scheduler.ledger
        if self._scheduler.shared:
            return {each.shard: each.trimmed for each in await ledger.ownership()}
        oldest = await ledger.history(0, 1)
        return {0: oldest[0].position - 1} if oldest else {}
