"""Follows a run for a person: the whole run, as often as an eye can follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.agent.runs import RunHandle
    from muster.v1.workflow_run_pb2 import WorkflowRun

PERIOD_SECONDS = 0.25

Tell = Callable[["WorkflowRun"], None]


async def follow(handle: RunHandle, tell: Tell) -> WorkflowRun:
    """Tells of the run at once and whenever it has changed; returns it when it has ended."""
    changed = asyncio.Event()
    ended: list[WorkflowRun] = []

    async def listen() -> None:
        async with aclosing(handle.frames()) as frames:
            async for frame in frames:
                if frame.HasField("snapshot"):
                    tell(frame.snapshot)
                if frame.HasField("ended"):
                    ended.append(frame.ended)
                    return
                changed.set()

    async def look() -> None:
        while True:
            await changed.wait()
            changed.clear()
            run = await handle.get()
            if not ended:
                tell(run)
            await asyncio.sleep(PERIOD_SECONDS)

    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            looking = tasks.create_task(look())
            await asyncio.wait([listening])
            looking.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    tell(ended[0])
    return ended[0]
