"""The order in which contracts get agents.

Strict priority bands; within a band, fair share between keys by start-time fair queueing (a key's
virtual time grows by one with each contract served, and a key that comes back starts at the clock,
so that it can neither save up nor be starved; Goyal, Vin and Cheng, SIGCOMM 1996); within a key,
deepest in its tree first, so that trees finish before new ones begin, then oldest first.

Contracts that can be served by the same agents share a *lane* (tenant, capability, version
selector). The shares are counted over all lanes, so that a key does not get more by using several
capabilities.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from muster.scheduler.records import Contract

LaneKey = tuple[str, str, str]  # tenant, capability, version selector
Share = tuple[str, str]  # tenant, fairness key
Rank = tuple[int, float, int, int]  # smaller is served first

SHARES_KEPT_MAX = 10_000  # virtual times of keys; beyond it those behind the clock are dropped


class FairClock:
    """Virtual time per key and band."""

    def __init__(self) -> None:
        self._clock: dict[int, float] = {}
        self._times: dict[tuple[int, Share], float] = {}

    def time_of(self, band: int, share: Share) -> float:
        """When the key is next, in virtual time."""
        return max(self._times.get((band, share), 0.0), self._clock.get(band, 0.0))

    def serve(self, band: int, share: Share) -> None:
        """Count one contract of the key."""
        times, clock, key = self._times, self._clock, (band, share)
        time, floor = times.get(key, 0.0), clock.get(band, 0.0)
        if time < floor:
            time = floor
        clock[band] = time
        times[key] = time + 1.0
        if len(times) > SHARES_KEPT_MAX:
            self._times = {key: t for key, t in self._times.items() if t > self._clock[key[0]]}


class _Band:
    """One band of one lane."""

    __slots__ = ("heaps", "ring")

    def __init__(self) -> None:
        # Entries are (-depth, order, token, contract); one whose token is no longer the
        # contract's own is stale, and dropped when it comes up.
        self.heaps: dict[Share, list[tuple[int, int, int, Contract]]] = {}
        self.ring: list[tuple[float, Share]] = []

    def push(self, contract: Contract, token: int, clock: FairClock) -> None:
        share = (contract.tenant, contract.share)
        heap = self.heaps.get(share)
        if heap is None:
            heap = self.heaps[share] = []
            heapq.heappush(self.ring, (clock.time_of(contract.band, share), share))
        heapq.heappush(heap, (-contract.depth, contract.order, token, contract))

    def head(self, band: int, clock: FairClock) -> tuple[float, Contract] | None:
        """The next contract with its key's virtual time; leaves it in place."""
        while self.ring:
            time, share = self.ring[0]
            heap = self.heaps[share]
            while heap and heap[0][3].queue_token != heap[0][2]:
                heapq.heappop(heap)
            if not heap:
                heapq.heappop(self.ring)
                del self.heaps[share]
                continue
            current = clock.time_of(band, share)
            if current > time:
                if len(self.ring) > 1:
                    heapq.heapreplace(self.ring, (current, share))
                    continue
                self.ring[0] = (current, share)
            return current, heap[0][3]
        return None


class Lane:
    """The queue of one lane."""

    __slots__ = ("_bands", "_clock", "key", "pool", "size")

    def __init__(self, key: LaneKey, clock: FairClock) -> None:
        self.key = key
        self.pool: Any = None  # who can serve it; found when something is placed
        self.size = 0
        self._clock = clock
        self._bands: dict[int, _Band] = {}

    def push(self, contract: Contract, token: int) -> None:
        """Queue a contract. `token` is unique; a contract whose token changes has left."""
        band = self._bands.get(contract.band)
        if band is None:
            band = self._bands[contract.band] = _Band()
            self._bands = dict(sorted(self._bands.items(), reverse=True))
        contract.queue_token = token
        self.size += 1
        band.push(contract, token, self._clock)

    def head(self) -> Contract | None:
        """The contract to serve next."""
        ranked = self.ranked_head()
        return ranked[1] if ranked else None

    def ranked_head(self) -> tuple[Rank, Contract] | None:
        """The contract to serve next, with its rank among the heads of other lanes."""
        if not self.size:
            return None
        for number, band in self._bands.items():
            found = band.head(number, self._clock)
            if found is not None:
                time, contract = found
                return (-number, time, -contract.depth, contract.order), contract
        return None

    def contracts(self) -> Iterator[Contract]:
        """Every contract that waits, in no order."""
        for band in self._bands.values():
            for heap in band.heaps.values():
                for _, _, token, contract in heap:
                    if contract.queue_token == token:
                        yield contract

    def serve(self, contract: Contract) -> None:
        """Take a contract out and count it for its key."""
        self.remove(contract)
        self._clock.serve(contract.band, (contract.tenant, contract.share))

    def remove(self, contract: Contract) -> None:
        """Take a contract out."""
        if contract.queue_token:
            contract.queue_token = 0
            self.size -= 1


class Queue:
    """All lanes."""

    def __init__(self) -> None:
        self.lanes: dict[LaneKey, Lane] = {}
        self._clock = FairClock()
        self._tokens = 0

    def lane_of(self, contract: Contract) -> Lane:
        """The lane that a contract belongs to; made where it is missing."""
        key = contract.lane
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key, self._clock)
        return lane

    def push(self, contract: Contract) -> Lane:
        """Queue a contract, by its rank: one that comes back stands where it stood before."""
        self._tokens += 1
        contract.order = contract.order or self._tokens
        lane = self.lane_of(contract)
        lane.push(contract, self._tokens)
        return lane

    def remove(self, contract: Contract) -> None:
        """Take a contract out, if it is in."""
        if contract.queue_token:
            self.lane_of(contract).remove(contract)

    def ahead_of(self, contract: Contract) -> int:
        """About how many contracts of its lane are served first: a walk, for people only."""
        lane = self.lane_of(contract)
        rank = (-contract.band, -contract.depth, contract.order)
        return sum((-c.band, -c.depth, c.order) < rank for c in lane.contracts())

    def drop_if_empty(self, lane: Lane) -> bool:
        """Forget a lane in which nothing waits."""
        return not lane.size and self.lanes.pop(lane.key, None) is not None
