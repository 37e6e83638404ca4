"""Counts by capability, which hosts are scaled by: the same from every scheduler."""

from __future__ import annotations

import asyncio

from muster.agent import Agent, connect
from muster.wire.times import seconds_of_duration
from tests.support.meshes import Mesh
from tests.support.processes import until


async def test_what_waits_is_counted_with_how_long_the_oldest_has_waited(mesh: Mesh) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()
    agent = Agent("narrow", kind="test")

    @agent.capability("narrow.wait")
    async def wait() -> None:
        began.set()
        await may_end.wait()

    async with mesh.host(agent), connect() as client:
        first = await client.submit("narrow.wait", {})
        await began.wait()
        (row,) = (await client.statistics()).capabilities
        assert (row.queued, row.active, row.HasField("oldest_wait")) == (0, 1, False)
        others = [await client.submit("narrow.wait", {}) for _ in range(3)]
        accepted = [await each.accepted() for each in others]
        assert len(set(accepted)) == 3
        waits = []

        async def grows() -> bool:
            (row,) = (await client.statistics()).capabilities
            waits.append(seconds_of_duration(row.oldest_wait))
            return row.queued == 3 and waits[-1] > waits[0] + 0.2

        await until(grows, 10, "the oldest waits longer and longer")
        assert waits == sorted(waits)
        may_end.set()
        for handle in (first, *others):
            await handle.result()
        assert not (await client.statistics()).capabilities
