"""One timer per contract, in buckets, so that setting and clearing one is O(1).

A heap would keep an entry for every contract of the last 24 hours, long after it ended; buckets
forget a contract when it ends.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from muster.scheduler.records import Contract

BUCKET_SECONDS = 0.25  # a timer fires at most this late, plus the time between two sweeps


class Timers:
    """The next instant at which each contract wants to be looked at."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, Contract]] = {}
        self._order: list[int] = []
        self._floor = 0  # the last bucket that was handled

    def set(self, contract: Contract, when: float) -> None:
        """Look at the contract at `when` (monotonic seconds) and forget its earlier timer."""
        number = max(int(when / BUCKET_SECONDS), self._floor) + 1
        if number == contract.timer_bucket:
            return
        self.clear(contract)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        bucket[contract.id] = contract
        contract.timer_bucket = number

    def clear(self, contract: Contract) -> None:
        """Forget the contract's timer."""
        if contract.timer_bucket:
            self._buckets[contract.timer_bucket].pop(contract.id, None)
            contract.timer_bucket = 0

    def due(self, now: float) -> Iterator[Contract]:
        """Contracts whose instant has come; each has no timer afterwards."""
        self._floor = limit = int(now / BUCKET_SECONDS)
        while self._order and self._order[0] <= limit:
            bucket = self._buckets.pop(heapq.heappop(self._order))
            for contract in bucket.values():
                contract.timer_bucket = 0
            # Whoever ends while the others are handled is skipped by its state.
            yield from bucket.values()
