"""Many hosts of one agent each, idle, in one process, on nothing but the generated stubs.

`python -m benchmarks.sessions_process TARGET FIRST COUNT`: each session has a connection of its
own, as that of a host on another machine would.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator

import grpc
import uvloop

from benchmarks.fleet_process import make_agents
from muster.agent.spec import agent_spec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import Heartbeat, Hello
from muster.wire.channel import open_channel
from muster.wire.times import seconds_of_duration

CONNECTING_MAX = 20  # at a time, of this process


class IdleSession:
    """One host's session: a hello, and then heartbeats as the mesh asks for them."""

    def __init__(self, name: str) -> None:
        (agent,) = make_agents("bench.echo", name, 1, 1)
        self._hello = Hello(protocol_version=1, host=name, agents=[agent_spec(agent)])
        self._period = 0.0
        self._seen = 0
        self.welcomed = asyncio.Event()

    async def run(self, target: str) -> None:
        """Until the stream ends."""
        async with open_channel(target) as channel:
            call = ExecutorServiceStub(channel).Connect(self._frames())
            async for frame in call:
                self._take(frame)

    async def _frames(self) -> AsyncIterator[ConnectRequest]:
        yield ConnectRequest(frame_seq=1, hello=self._hello)
        await self.welcomed.wait()
        number = 1
        while True:
            await asyncio.sleep(self._period)
            number += 1
            yield ConnectRequest(frame_seq=number, seen_seq=self._seen, heartbeat=Heartbeat())

    def _take(self, frame: ConnectResponse) -> None:
        self._seen = frame.frame_seq
        if frame.HasField("welcome"):
            self._period = seconds_of_duration(frame.welcome.heartbeat_period)
            self.welcomed.set()
        if frame.HasField("heartbeat_period"):
            self._period = seconds_of_duration(frame.heartbeat_period)


async def run(target: str, names: list[str]) -> None:
    """Runs until SIGTERM."""
    places = asyncio.Semaphore(CONNECTING_MAX)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    async def hold(session: IdleSession) -> None:
        try:
            await session.run(target)
        except grpc.RpcError as error:
            print(f"a session ended: {error}", file=sys.stderr)

    async with asyncio.TaskGroup() as tasks:
        holding = []
        for name in names:
            async with places:
                session = IdleSession(name)
                holding.append(tasks.create_task(hold(session)))
                await session.welcomed.wait()
        gc.freeze()
        await stopped.wait()
        for task in holding:
            task.cancel()


if __name__ == "__main__":
    uvloop.run(
        run(sys.argv[1], [f"s{int(sys.argv[2]) + number}" for number in range(int(sys.argv[3]))])
    )
