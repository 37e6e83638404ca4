"""A watch of many contracts, of which several schedulers each own a part.

Each tells what happens in its shards; the cursor holds a position for every shard. When shards move
the watch ends with UNAVAILABLE, and goes on from its cursor with whoever owns them then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from muster.runtime.principal import Principal
from muster.scheduler.merging import merged_frames
from muster.scheduler.routing import Router, relayed
from muster.scheduler.service import Scheduler
from muster.scheduler.watching import watch
from muster.v1.scheduler_service_pb2 import WatchContractsRequest, WatchContractsResponse

FRAMES_MAX = 16  # that wait for the watcher, of at most 1 MiB each; then the schedulers wait

Frames = AsyncIterator[WatchContractsResponse]


async def watch_all(
    router: Router, scheduler: Scheduler, caller: Principal, request: WatchContractsRequest
) -> Frames:
    """Frames of one watch call."""
    parts = [watch(scheduler, caller.tenant, request)]
    parts += [
        relayed(peer.stub.WatchContracts(request, metadata=peer.metadata))
        for peer in router.peers(caller)
    ]
    positions = dict(request.cursor.positions)
    async with merged_frames(router, parts, FRAMES_MAX) as frames:
        if not request.HasField("cursor"):
            # Each begins with where "now" is in its shards: one cursor for all of it.
            for _ in parts:
                positions |= (await frames.get()).cursor.positions
            first = WatchContractsResponse()
            first.cursor.positions.update(positions)
            yield first
        while True:
            frame = await frames.get()
            positions |= frame.cursor.positions
            frame.cursor.positions.update(positions)
            yield frame
