"""Hosts and clients that speak the wire by hand, and so can misspeak."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability, CapabilitySelector
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.payload_pb2 import Payload
from muster.v1.request_pb2 import Request
from muster.v1.session_pb2 import (
    HELD_STATE_STARTED,
    AttemptKey,
    Heartbeat,
    HeldLease,
    Hello,
)
from tests.faults.hostile.ground import Stubs

HEARTBEAT_SECONDS = 2.0
GREETED_SECONDS = 20.0
BACK_SECONDS = 0.2  # from the end of a stream to the next
LARGE_BYTES = 60_000  # just what still travels inside a message
LARGE = Payload(json='"' + "x" * LARGE_BYTES + '"')

Answer = Callable[[ConnectResponse], "dict[str, Any]"]


def spec(name: str, *capabilities: str, window: int = 1) -> AgentSpec:
    """An agent."""
    offered = [Capability(name=each) for each in capabilities]
    return AgentSpec(name=name, max_in_flight=window, capabilities=offered)


def request(capability: str, payload: Payload | None = None) -> Request:
    """A request that nobody has made before."""
    return Request(
        request_id=secrets.token_hex(8),
        capability=CapabilitySelector(name=capability),
        payload=payload,
    )


class SpokenHost:
    """One host. Nothing is read or said by itself, unless it `lives`."""

    def __init__(self, stubs: Stubs, name: str, agents: Sequence[AgentSpec] = ()) -> None:
        self.name = name
        self.held: dict[tuple[str, int], AttemptKey] = {}
        self.cuts = 0  # streams that ended, and not by us
        self._stubs = stubs
        self._agents = agents
        self._open()

    def _open(self) -> None:
        self.stream = self._stubs.executor.Connect(wait_for_ready=True)
        self.held.clear()
        self._seq = 0
        self._seen = 0

    async def greet(self) -> ConnectResponse:
        """Opens the session."""
        hello = Hello(protocol_version=1, host=self.name, agents=self._agents)
        await self.say(hello=hello)
        async with asyncio.timeout(GREETED_SECONDS):
            frame = await self.stream.read()
        if not isinstance(frame, ConnectResponse):
            raise asyncio.InvalidStateError("the stream has ended")
        return frame

    async def say(self, **items: Any) -> None:
        """Sends one frame."""
        self._seq += 1
        frame = ConnectRequest(frame_seq=self._seq, seen_seq=self._seen, **items)
        await self.stream.write(frame)

    async def beat(self) -> None:
        """A heartbeat, with everything that is held."""
        held = [HeldLease(key=key, state=HELD_STATE_STARTED) for key in self.held.values()]
        await self.say(heartbeat=Heartbeat(held=held))

    async def live(self, answer: Answer) -> None:
        """Reads, and says what `answer` makes of each frame. Comes back when the stream ends, and
        then holds nothing more; `answer` sees that by a second welcome."""
        while True:
            with suppress(grpc.RpcError, asyncio.InvalidStateError, TimeoutError):
                if self.cuts:
                    self._open()
                    answer(await self.greet())
                await self._listen(answer)
            self.cuts += 1
            await asyncio.sleep(BACK_SECONDS)

    async def _listen(self, answer: Answer) -> None:
        while (frame := await self.stream.read()) is not grpc.aio.EOF:
            assert isinstance(frame, ConnectResponse)
            self._seen = frame.frame_seq
            self._take(frame)
            items = answer(frame)
            if any(items.values()):
                await self.say(**items)
            # Only now: a heartbeat in between must still name them.
            for report in items.get("reports", ()):
                self.held.pop((report.key.contract_id, report.key.epoch), None)

    async def beat_on(self) -> None:
        """Heartbeats at the pace that the mesh asks for."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await self.beat()

    def _take(self, frame: ConnectResponse) -> None:
        for each in frame.assignments:
            self.held[each.key.contract_id, each.key.epoch] = each.key
        for cancel in frame.cancels:
            self.held.pop((cancel.key.contract_id, cancel.key.epoch), None)


def nothing(_frame: ConnectResponse) -> dict[str, Any]:
    """The answer of a host that has nothing to say."""
    return {}


@asynccontextmanager
async def living(
    stubs: Stubs, name: str, agents: Sequence[AgentSpec], answer: Answer
) -> AsyncIterator[SpokenHost]:
    """A host that beats, answers, and comes back when it was cut, while the block runs."""
    host = SpokenHost(stubs, name, agents)
    await host.greet()
    async with asyncio.TaskGroup() as tasks:
        lives = [tasks.create_task(host.live(answer)), tasks.create_task(host.beat_on())]
        try:
            yield host
        finally:
            for task in lives:
                task.cancel()
            host.stream.cancel()
