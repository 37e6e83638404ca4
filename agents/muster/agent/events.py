"""What is published on the bus, as CloudEvents."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import grpc

from muster.agent.reopening import reopened
from muster.agent.services import Services
from muster.v1.event_service_pb2 import ReplayEventsRequest, WatchEventsRequest
from muster.wire.errors import PASSING, error_of_rpc
from muster.wire.times import timestamp_of_seconds

IDS_KEPT = 10_000  # to drop what comes again after a reconnect
OVERLAP_SECONDS = 10.0  # clocks differ, and commits take their time


class BusEvent(NamedTuple):
    """A message on the bus."""

    subject: str
    id: str
    event: dict[str, Any]  # a CloudEvent: "type", "source", "time", "data", …
    sequence: int = 0  # its number on the bus; 0 where it came from the ledger


class Replayed(NamedTuple):
    """How far a replay is."""

    contracts: int
    events: int


async def watch_events(
    services: Services, pattern: str, since: float | None, from_sequence: int = 0
) -> AsyncIterator[BusEvent]:
    """What is published, without end: from now on, or since an instant (Unix seconds), or from a
    number of the bus."""
    seen: OrderedDict[str, None] = OrderedDict()
    request = WatchEventsRequest(pattern=pattern, from_sequence=from_sequence)
    if since is not None:
        request.since.CopyFrom(timestamp_of_seconds(since))
    watch = reopened(
        lambda: services.events.WatchEvents(request, metadata=services.targets.metadata), PASSING
    )
    async with aclosing(watch) as frames:
        async for frame in frames:
            request.since.CopyFrom(timestamp_of_seconds(time.time() - OVERLAP_SECONDS))
            request.from_sequence = 0
            for message in frame.messages:
                if message.id not in seen:
                    seen[message.id] = None
                    event = json.loads(message.event)
                    yield BusEvent(message.subject, message.id, event, message.sequence)
            while len(seen) > IDS_KEPT:
                seen.popitem(last=False)


async def replay_events(services: Services, since: float) -> AsyncIterator[Replayed]:
    """Has everything published again that happened since an instant (Unix seconds)."""
    request = ReplayEventsRequest(since=timestamp_of_seconds(since))
    call = services.events.ReplayEvents(request, metadata=services.targets.metadata)
    try:
        async for frame in call:
            yield Replayed(frame.contracts, frame.events)
    except grpc.RpcError as broken:
        raise error_of_rpc(broken) from None
    finally:
        call.cancel()
