"""A host on bare stubs, which does exactly what it is told, and be it wrong."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

import grpc

from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.response_pb2 import Failure
from muster.v1.session_pb2 import Assignment, HeldLease, Report
from muster.wire.channel import open_channel
from tests.support.history.messages import verdict_name
from tests.support.history.records import Execution
from tests.support.recording_session import Wire, Writer

PATIENCE_SECONDS = 30.0
BEAT_SECONDS = 0.2


class BareHost:
    """One host, one agent of its name, one capability. It beats while it is not `silent`."""

    def __init__(self, name: str, capability: str, window: int, tenant: str, notes: Writer) -> None:
        self.name = name
        self.silent = False
        self.held: list[Assignment] = []
        self.cancelled: set[str] = set()
        self._capability = capability
        self._window = window
        self.metadata = (("muster-tenant", tenant),) if tenant else ()
        self._notes = notes
        self._wire = Wire(notes)
        self._assigned: asyncio.Queue[Assignment] = asyncio.Queue(100)
        self._verdicts: asyncio.Queue[str] = asyncio.Queue(100)
        self._attached = asyncio.Event()
        self._sent = 0
        self._seen = 0
        self._writing = asyncio.Lock()
        self._call: Any = None
        self._channel: grpc.aio.Channel | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- the session ------------------------------------------------------------------------------

    async def connect(self, target: str, tasks: asyncio.TaskGroup) -> None:
        """Opens a session; returns when its agent is attached."""
        self._channel = open_channel(target)
        self._call = ExecutorServiceStub(self._channel).Connect(
            metadata=self.metadata, wait_for_ready=True
        )
        frame = ConnectRequest()
        hello = frame.hello
        hello.protocol_version, hello.host, hello.reports_start = 1, self.name, True
        agent = hello.agents.add(name=self.name, kind="bare", max_in_flight=self._window)
        capability = agent.capabilities.add(name=self._capability, version="1.0.0")
        capability.input.json_schema = capability.output.json_schema = "{}"
        await self._send(frame)
        self._tasks = [tasks.create_task(self._read()), tasks.create_task(self._beat())]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._attached.wait()

    async def leave(self) -> None:
        """Breaks the session off. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def _send(self, frame: ConnectRequest) -> None:
        async with self._writing:
            self._sent += 1
            frame.frame_seq, frame.seen_seq = self._sent, self._seen
            self._wire.sent(frame)
            await self._call.write(frame)

    async def _read(self) -> None:
        try:
            async for frame in self._call:
                self._wire.came(frame)
                self._apply(frame)
        except grpc.RpcError as error:
            self._wire.closed(str(error.code()))

    def _apply(self, frame: ConnectResponse) -> None:
        for result in frame.attach_results:
            assert not result.HasField("error"), result
            self._attached.set()
        for ack in frame.report_acks:
            self._verdicts.put_nowait(verdict_name(ack.verdict))
        for cancel in frame.cancels:
            self.cancelled.add(cancel.key.contract_id)
        for assignment in frame.assignments:
            self.held.append(assignment)
            self._assigned.put_nowait(assignment)
        self._seen = frame.frame_seq

    async def _beat(self) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the session is over
            while True:
                if not self.silent:
                    await self.beat()
                await asyncio.sleep(BEAT_SECONDS)

    # --- what it is told to do --------------------------------------------------------------------

    async def beat(self) -> None:
        """A heartbeat with all that is held."""
        frame = ConnectRequest()
        frame.heartbeat.SetInParent()
        for each in self.held:
            frame.heartbeat.held.append(HeldLease(key=each.key, agent=self.name))
        await self._send(frame)

    async def take(self) -> Assignment:
        """The next assignment."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._assigned.get()

    async def start(self, assignment: Assignment) -> str:
        """Begins an execution; returns its nonce."""
        nonce = secrets.token_hex(8)
        key = assignment.key
        self._notes.write(Execution(key.contract_id, key.epoch, nonce, self.name, self.name))
        await self._send(ConnectRequest(starts=[key]))
        return nonce

    async def detach(self) -> None:
        """Takes its agent off, so that it gets nothing new."""
        frame = ConnectRequest()
        frame.detaches.add(name=self.name)
        await self._send(frame)

    async def put_out(self, assignment: Assignment, chunks: int) -> None:
        """Sends parts of the output."""
        frame = ConnectRequest()
        for chunk in range(chunks):
            item = frame.items.add(
                contract_id=assignment.key.contract_id, epoch=assignment.key.epoch, index=chunk + 1
            )
            item.output.chunk = chunk
            item.output.payload.json = json.dumps(f"part {chunk}")
        await self._send(frame)

    async def say(
        self,
        assignment: Assignment,
        nonce: str,
        text: str = "done",
        failed: str = "",
        chunks: int = 0,
    ) -> None:
        """Sends a report, and does not wait for what the mesh says to it."""
        report = Report(key=assignment.key, output_chunks=chunks)
        if failed:
            said = json.dumps({"nonce": nonce})
            report.failure.CopyFrom(Failure(code=failed, message=said))
        else:
            report.payload.json = json.dumps({"nonce": nonce, "text": text})
        if assignment in self.held:
            self.held.remove(assignment)
        await self._send(ConnectRequest(reports=[report]))

    async def report(self, assignment: Assignment, nonce: str, **how: Any) -> str:
        """Sends a report; returns the mesh's verdict."""
        await self.say(assignment, nonce, **how)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._verdicts.get()

    async def work(self) -> str:
        """Does the next assignment properly; returns the contract's id."""
        assignment = await self.take()
        nonce = await self.start(assignment)
        await self.report(assignment, nonce)
        return assignment.key.contract_id
