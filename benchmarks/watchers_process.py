"""Watchers of one contract's stream: `python -m benchmarks.watchers_process TARGET ID COUNT`.

When all are there it says a line. When the contract has ended it says, as JSON, how many items each
got, when the first and the last came (monotonic seconds), and the delays of a sample of the items.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from muster.v1.scheduler_service_pb2 import WatchContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel


class Watch:
    """One watch call, on a connection of its own."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.items = 0
        self.first = 0.0
        self.last = 0.0
        self.delays: list[float] = []

    async def run(self, target: str, contract_id: str) -> None:
        """Until the contract has ended."""
        async with open_channel(target) as channel:
            call = SchedulerServiceStub(channel).WatchContracts(
                WatchContractsRequest(contract_id=contract_id)
            )
            async for frame in call:
                self.there.set()
                if frame.items:
                    now = time.monotonic()
                    self.first = self.first or now
                    self.last = now
                    self.items += len(frame.items)
                    # The oldest item of a frame has waited longest.
                    self.delays.append(now - float(frame.items[0].output.payload.json))


async def run(target: str, contract_id: str, count: int) -> None:
    """Watches, and tells."""
    watches = [Watch() for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        for watch in watches:
            tasks.create_task(watch.run(target, contract_id))
        for watch in watches:
            await watch.there.wait()
        print("ready", flush=True)
    figures = {
        "items": [watch.items for watch in watches],
        "first": min(watch.first for watch in watches),
        "last": max(watch.last for watch in watches),
        "delays": [delay for watch in watches for delay in watch.delays],
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
