"""A mesh that does what a test tells it: real gRPC on a port of its own, no ledger and no promises.

By itself it hands each request to the first agent that offers the capability, acknowledges every
report and answers the submitter. A test can hold back acknowledgements, answer otherwise, break
streams and restart the server on the same port.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from muster.model.errors import Code, MusterError
from muster.v1 import response_pb2, session_pb2
from muster.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import (
    ExecutorServiceServicer,
    add_ExecutorServiceServicer_to_server,
)
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import (
    SubmitStreamRequest,
    SubmitStreamResponse,
    WaitContractRequest,
    WaitContractResponse,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.v1.scheduler_service_pb2_grpc import (
    SchedulerServiceServicer,
    add_SchedulerServiceServicer_to_server,
)
from muster.wire.channel import SERVER_OPTIONS
from muster.wire.errors import GRPC_CODES, status_of
from tests.support.scripted_blobs import ScriptedBlobs

Key = tuple[str, int]


class Outlet:
    """What waits to be written to one stream; whatever accumulates goes out together."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._frame = make()
        self._wake = asyncio.Event()
        self.error: MusterError | None = None
        self.ended = False

    @property
    def frame(self) -> Any:
        self._wake.set()
        return self._frame

    def end(self, error: MusterError | None = None) -> None:
        self.error, self.ended = error, True
        self._wake.set()

    async def frames(self) -> AsyncIterator[Any]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.ended:
                return
            frame, self._frame = self._frame, self._make()
            yield frame


@dataclass
class Contract:
    id: str
    request: Request
    request_id: str
    epoch: int = 0
    attempts: int = 0
    response: response_pb2.Response | None = None
    listeners: list[Outlet] = field(default_factory=list)


@dataclass
class HostSession:
    hello: session_pb2.Hello
    outlet: Outlet
    frames: list[ConnectRequest] = field(default_factory=list)
    frame_seq: int = 0
    stops: list[Key] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)


class ScriptedMesh(ExecutorServiceServicer, SchedulerServiceServicer):
    """See the module. Attributes are the script; everything may be changed while it runs."""

    def __init__(self) -> None:
        self.port = 0
        self.blobs = ScriptedBlobs()
        # What each call of WatchContracts sends; a call beyond that says nothing.
        self.watches: list[list[WatchContractsResponse | MusterError]] = []
        self.watched: list[WatchContractsRequest] = []
        self.contracts: dict[str, Contract] = {}
        self.by_request: dict[str, Contract] = {}
        self.waiting: deque[Contract] = deque()
        self.sessions: list[HostSession] = []
        self.reports: list[session_pb2.Report] = []
        self.heartbeat_seconds = 0.2
        self.answers_attaches = True
        self.acknowledges = True  # reports, at once
        self.acknowledges_items = True
        self.verdict: Callable[[session_pb2.HeldLease], int] = self._verdict
        self.welcome = session_pb2.Welcome()
        self.refuse_connect: MusterError | None = None
        self.refuse_attach: MusterError | None = None
        self.refuse_submit: Callable[[Request], MusterError | None] = lambda request: None
        self._ids = itertools.count(1)
        self._epochs = itertools.count(1)
        self._server: grpc.aio.Server | None = None
        self.changed = asyncio.Condition()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        add_ExecutorServiceServicer_to_server(self, self._server)
        add_SchedulerServiceServicer_to_server(self, self._server)
        add_BlobServiceServicer_to_server(self.blobs, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Breaks every stream; `start` serves again on the same port, with all that was known."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def until(self, true: Callable[[], object]) -> None:
        """Waits until something has happened."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: bool(true()))

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    # --- hosts ------------------------------------------------------------------------------------

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[ConnectResponse]:
        if self.refuse_connect is not None:
            await abort(context, self.refuse_connect)
        first = await anext(aiter(request_iterator))
        session = HostSession(first.hello, Outlet(ConnectResponse))
        self.sessions.append(session)
        self._greet(session)
        self._take(session, first)
        await self._tell()
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(session, request_iterator))
            try:
                async for frame in session.outlet.frames():
                    session.frame_seq += 1
                    frame.frame_seq = session.frame_seq
                    yield frame
            finally:
                reading.cancel()
        if session.outlet.error is not None:
            await abort(context, session.outlet.error)

    def _greet(self, session: HostSession) -> None:
        welcome = session.outlet.frame.welcome
        welcome.CopyFrom(self.welcome)
        welcome.session_id = f"session-{len(self.sessions)}"
        welcome.session_epoch = session.hello.last_session_epoch + 1
        welcome.heartbeat_period.CopyFrom(Duration(nanos=int(self.heartbeat_seconds * 1e9)))
        if self.answers_attaches:
            error = None if self.refuse_attach is None else status_of(self.refuse_attach)
            for spec in session.hello.agents:
                session.outlet.frame.attach_results.add(agent=spec.name, error=error)
        for held in session.hello.held:
            verdict = self.verdict(held)
            if verdict:
                session.outlet.frame.verdicts.add(key=held.key, decision=verdict)

    def _verdict(self, held: session_pb2.HeldLease) -> int:
        contract = self.contracts.get(held.key.contract_id)
        known = contract is not None and contract.epoch == held.key.epoch
        open_ = known and contract is not None and contract.response is None
        return session_pb2.LEASE_DECISION_KEEP if open_ else session_pb2.LEASE_DECISION_DROP

    async def _read(self, session: HostSession, frames: Any) -> None:
        async for frame in frames:
            self._take(session, frame)
            await self._tell()
        session.outlet.end()

    def _take(self, session: HostSession, frame: ConnectRequest) -> None:
        session.frames.append(frame)
        for report in frame.reports:
            self.reports.append(report)
            if self.acknowledges:
                self.acknowledge(session, report)
        for item in frame.items:
            session.items.append(item)
            if self.acknowledges_items:
                ack = session.outlet.frame.item_acks.add(index=item.index)
                ack.key.contract_id, ack.key.epoch = item.contract_id, item.epoch
        for stopped in frame.stops:
            session.stops.append((stopped.key.contract_id, stopped.key.epoch))
        self.place()

    def acknowledge(self, session: HostSession, report: session_pb2.Report) -> None:
        contract = self.contracts.get(report.key.contract_id)
        ack = session.outlet.frame.report_acks.add(key=report.key)
        if contract is None or contract.epoch != report.key.epoch:
            ack.verdict = session_pb2.REPORT_VERDICT_FENCED
        elif contract.response is not None:
            ack.verdict = session_pb2.REPORT_VERDICT_ACCEPTED_DUPLICATE
        else:
            ack.verdict = session_pb2.REPORT_VERDICT_ACCEPTED
            self._settle(contract, report)

    def _settle(self, contract: Contract, report: session_pb2.Report) -> None:
        response = response_pb2.Response(
            contract_id=contract.id,
            request_id=contract.request_id,
            epoch=contract.epoch,
            author=response_pb2.RESPONSE_AUTHOR_AGENT,
            state=response_pb2.CONTRACT_STATE_SUCCEEDED,
            output_chunks=report.output_chunks,
        )
        if report.HasField("failure"):
            response.state = response_pb2.CONTRACT_STATE_FAILED
            response.failure.CopyFrom(report.failure)
        elif report.HasField("payload"):
            response.payload.CopyFrom(report.payload)
        self.respond(contract, response)

    def respond(self, contract: Contract, response: response_pb2.Response) -> None:
        contract.response = response
        for outlet in contract.listeners:
            outlet.frame.responses.append(response)

    def place(self) -> None:
        """Hands out what waits."""
        for _ in range(len(self.waiting)):
            contract = self.waiting.popleft()
            for session in reversed(self.sessions):
                agent = offers(session, contract.request.capability.name)
                if agent is not None and not session.outlet.ended:
                    self.assign(session, contract, *agent)
                    break
            else:
                self.waiting.append(contract)

    def assign(self, session: HostSession, contract: Contract, agent: str, version: str) -> None:
        contract.epoch = next(self._epochs)
        contract.attempts += 1
        assignment = session.outlet.frame.assignments.add(
            attempt=contract.attempts,
            agent=agent,
            capability=contract.request.capability.name,
            capability_version=version,
            payload=contract.request.payload,
            root_id=contract.id,
            principal="local",
            tenant="default",
        )
        assignment.key.contract_id, assignment.key.epoch = contract.id, contract.epoch

    def cancel(self, contract: Contract, code: str = "CANCELLED") -> None:
        """Cancels a contract's attempt on the newest session."""
        cancel = self.sessions[-1].outlet.frame.cancels.add(code=code)
        cancel.key.contract_id, cancel.key.epoch = contract.id, contract.epoch

    # --- clients ----------------------------------------------------------------------------------

    async def SubmitStream(
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[SubmitStreamResponse]:
        outlet = Outlet(SubmitStreamResponse)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read_submits(outlet, request_iterator))
            try:
                async for frame in outlet.frames():
                    yield frame
            finally:
                reading.cancel()

    async def _read_submits(self, outlet: Outlet, frames: Any) -> None:
        frame: SubmitStreamRequest
        async for frame in frames:
            for request in frame.requests:
                self.submit(request, outlet)
            self.place()
            await self._tell()
        outlet.end()

    async def WatchContracts(
        self, request: WatchContractsRequest, context: Any
    ) -> AsyncIterator[WatchContractsResponse]:
        self.watched.append(request)
        await self._tell()
        for said in self.watches.pop(0) if self.watches else []:
            if isinstance(said, MusterError):
                await abort(context, said)
            else:
                yield said

    async def WaitContract(
        self, request: WaitContractRequest, context: Any
    ) -> WaitContractResponse:
        contract = self.contracts[request.contract_id]
        return WaitContractResponse(response=contract.response)

    def submit(self, request: Request, outlet: Outlet | None = None) -> Contract | None:
        request_id = request.request_id or child_id(request)
        error = self.refuse_submit(request)
        if error is not None and outlet is not None:
            outlet.frame.refused.add(request_id=request_id, error=status_of(error))
            return None
        contract = self.by_request.get(request_id)
        known = contract is not None
        if contract is None:
            contract = Contract(f"{next(self._ids):016x}", request, request_id)
            self.contracts[contract.id] = self.by_request[request_id] = contract
            self.waiting.append(contract)
        if outlet is not None:
            outlet.frame.accepted.add(
                request_id=request_id, contract_id=contract.id, duplicate=known
            )
            contract.listeners.append(outlet)
            if contract.response is not None:
                outlet.frame.responses.append(contract.response)
        return contract


def child_id(request: Request) -> str:
    parent = request.parent
    if parent.HasField("key"):
        return f"{parent.contract_id}/{parent.key}"
    return f"{parent.contract_id}/{parent.epoch}/{parent.ordinal}"


def offers(session: HostSession, capability: str) -> tuple[str, str] | None:
    """The first agent of a session that offers a capability, and its version there."""
    for frame in session.frames:
        for spec in (*frame.hello.agents, *(attach.spec for attach in frame.attaches)):
            for offered in spec.capabilities:
                if offered.name == capability:
                    return spec.name, offered.version
    return None


async def abort(context: Any, error: MusterError) -> None:
    status = status_of(error)
    await context.abort(
        GRPC_CODES[Code(error.code)],
        error.message,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )


@asynccontextmanager
async def scripted_mesh() -> AsyncIterator[ScriptedMesh]:
    mesh = ScriptedMesh()  # type: ignore[abstract]
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.stop()
