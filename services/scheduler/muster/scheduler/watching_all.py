"""A watch of many contracts, of which several schedulers each own a part.

Each tells what happens in its shards; the cursor holds a position for every shard. When shards move
the watch ends with UNAVAILABLE, and goes on from its cursor with whoever owns them then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from muster.runtime.lifetime import background
from muster.runtime.principal import Principal
from muster.scheduler.admission import moving
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
    assert router.sharing is not None
    changed = router.sharing.changed
    parts = [watch(scheduler, caller.tenant, request)]
    parts += [
        relayed(peer.stub.WatchContracts(request, metadata=peer.metadata))
        for peer in router.peers(caller)
    ]
    frames: asyncio.Queue[WatchContractsResponse] = asyncio.Queue(FRAMES_MAX)
    positions = dict(request.cursor.positions)

    async def pump(part: Frames) -> None:
        async for frame in part:
            await frames.put(frame)
        raise moving()  # it went away in good order

    async def until_moved() -> None:
        await changed.wait()
        raise moving()

    async with background(until_moved, *(lambda part=part: pump(part) for part in parts)):
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
