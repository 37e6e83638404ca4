"""Streams of several schedulers as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from muster.runtime.lifetime import background
from muster.scheduler.admission import moving
from muster.scheduler.routing import Router

_T = TypeVar("_T")


@asynccontextmanager
async def merged_frames(
    router: Router, parts: Sequence[AsyncIterator[_T]], frames_max: int
) -> AsyncIterator[asyncio.Queue[_T]]:
    """A queue of what all parts say, each in its order; beyond `frames_max` they wait.

    The block raises UNAVAILABLE when schedulers come or go, or a part ends: whoever follows goes on
    with those that are there then. `parts` have been asked for in the same turn of the loop.
    """
    assert router.sharing is not None
    changed = router.sharing.changed
    frames: asyncio.Queue[_T] = asyncio.Queue(frames_max)

    async def pump(part: AsyncIterator[_T]) -> None:
        async for frame in part:
            await frames.put(frame)
        raise moving()  # it went away in good order

    async def until_moved() -> None:
        await changed.wait()
        raise moving()

    async with background(until_moved, *(lambda part=part: pump(part) for part in parts)):
        yield frames
