"""What is published on the buses of several schedulers, each within its process, in one stream.

Each has the events of its own shards, so those of a contract come in order from whoever owns it.
When schedulers come or go the stream ends with UNAVAILABLE, and whoever watches begins again a
little earlier.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from muster.runtime.principal import Principal
from muster.scheduler.merging import merged_frames
from muster.scheduler.routing import Router, relayed
from muster.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse

FRAMES_MAX = 16  # that wait for the watcher, of at most 256 messages each; then the buses wait

Frames = AsyncIterator[WatchEventsResponse]


async def merged(
    router: Router, caller: Principal, request: WatchEventsRequest, ours: Frames
) -> Frames:
    """Frames of one watch call. Numbers are each bus's own, so there are none."""
    parts = [ours]
    parts += [
        relayed(peer.events.WatchEvents(request, metadata=peer.metadata))
        for peer in router.peers(caller)
    ]
    async with merged_frames(router, parts, FRAMES_MAX) as frames:
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
