"""Publishes once more what has happened, from the ledger, for a bus that has lost it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from muster.backends.bus_base import Bus, BusUnavailable
from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.ids import first_id_at
from muster.model.ledger import ContractQuery, LifecycleEvent, events_of
from muster.scheduler.cloud_events import message_of
from muster.scheduler.unpublished import Unpublished

FAILURES_MAX = 5  # tries in a row of which the bus takes nothing


class Replayed(NamedTuple):
    """How far it is."""

    contracts: int
    events: int


async def happened_since(
    ledger: Ledger, tenant: str, since_ms: int
) -> AsyncIterator[Sequence[Sequence[LifecycleEvent]]]:
    """All events of each of a tenant's contracts of which any happened since an instant, the newest
    contracts first, some at a time.

    Whole contracts: who has lost some events of one cannot do much with the others.
    """
    # Nothing lives for longer than the longest deadline, so what is older has ended before.
    oldest = first_id_at(since_ms - int(limits.DEADLINE_MAX_SECONDS * 1000))
    before = 0
    while True:
        found = await ledger.page(
            ContractQuery(tenant, before=before, limit=limits.BUS_REPLAY_CONTRACTS)
        )
        of_each = [events_of(contract) for contract in found]
        yield [events for events in of_each if events[-1].time_ms >= since_ms]
        if len(found) < limits.BUS_REPLAY_CONTRACTS or found[-1].id < oldest:
            return
        before = found[-1].id


async def replay(ledger: Ledger, bus: Bus, tenant: str, since_ms: int) -> AsyncIterator[Replayed]:
    """Publish all of that, and tell how far it is. Raises `BusUnavailable` when the bus takes
    nothing any more, after which it can be done again."""
    contracts = published = 0
    async for of_each in happened_since(ledger, tenant, since_ms):
        events = [event for events in of_each for event in events]
        await _publish(bus, events)
        contracts += len(of_each)
        published += len(events)
        yield Replayed(contracts, published)


async def _publish(bus: Bus, events: Sequence[LifecycleEvent]) -> None:
    left = Unpublished()
    left.begin(0, 0)
    left.add(0, 1, events)
    failures = 0
    while len(left):
        entries = left.take(limits.BUS_BATCH_MAX)
        acknowledged = await bus.publish([message_of(entry.event) for entry in entries])
        left.settle(entries, acknowledged)
        failures = 0 if any(acknowledged) else failures + 1
        if failures == FAILURES_MAX:
            raise BusUnavailable("the bus takes nothing at the moment; replay again later")
        if failures:
            await asyncio.sleep(limits.BUS_RETRY_SECONDS)
