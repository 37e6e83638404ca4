"""What is published on the buses of several schedulers, each within its process, in one stream.

Each has the events of its own shards, so those of a contract come in order from whoever owns it.
When schedulers come or go the stream ends with UNAVAILABLE, and whoever watches begins again a
little earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from muster.runtime.lifetime import background
from muster.runtime.principal import Principal
from muster.scheduler.admission import moving
from muster.scheduler.routing import Router, relayed
from muster.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse

FRAMES_MAX = 16  # that wait for the watcher, of at most 256 messages each; then the buses wait

Frames = AsyncIterator[WatchEventsResponse]


async def merged(
    router: Router, caller: Principal, request: WatchEventsRequest, ours: Frames
) -> Frames:
    """Frames of one watch call. Numbers are each bus's own, so there are none."""
    assert router.sharing is not None
    changed = router.sharing.changed
    parts = [ours]
    parts += [
        relayed(peer.events.WatchEvents(request, metadata=peer.metadata))
        for peer in router.peers(caller)
    ]
    frames: asyncio.Queue[WatchEventsResponse] = asyncio.Queue(FRAMES_MAX)

    async def pump(part: Frames) -> None:
        async for frame in part:
            await frames.put(frame)
        raise moving()  # it went away in good order

    async def until_moved() -> None:
        await changed.wait()
        raise moving()

    async with background(until_moved, *(lambda part=part: pump(part) for part in parts)):
        begun = 0
        while True:
            frame = await frames.get()
            if not frame.messages:
                begun += 1
                if begun == len(parts):
                    yield frame
                continue
            for message in frame.messages:
                message.sequence = 0
            yield frame
