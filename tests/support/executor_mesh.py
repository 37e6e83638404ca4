"""An executor over real gRPC, with a scheduler, a registry and hosts that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from muster.executor.core_state import Timers
from muster.executor.link_dial import dial_link, dial_presence
from muster.executor.service import Executor, Settings
from muster.executor.servicer_part import executor_part
from muster.model.errors import MusterError
from muster.runtime.config import Listen
from muster.runtime.lifetime import background
from muster.runtime.principal import PRINCIPAL_KEY, TENANT_KEY
from muster.runtime.serve import Server, serve
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.link_pb2 import LinkHello, LinkSession, LinkWelcome, SessionEnd, SessionItems
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.link_service_pb2_grpc import (
    LinkServiceServicer,
    add_LinkServiceServicer_to_server,
)
from muster.v1.registry_service_pb2 import ReportPresenceRequest, ReportPresenceResponse
from muster.v1.registry_service_pb2_grpc import (
    RegistryServiceServicer,
    add_RegistryServiceServicer_to_server,
)
from muster.v1.session_pb2 import Assignment, AttemptKey, Heartbeat, HeldLease, Hello, ReportAck
from muster.wire.channel import SERVER_OPTIONS, open_channel
from muster.wire.errors import error_of_rpc

# The shortest that still tells a heartbeat from silence on a busy machine.
QUICK = Timers(
    heartbeat_seconds=0.2,
    lease_periods=5,
    accept_seconds=0.5,
    resume_grace_seconds=0.5,
)
PATIENCE_SECONDS = 10.0


def key(number: int, epoch: int = 1) -> AttemptKey:
    return AttemptKey(contract_id=f"{number:016x}", epoch=epoch)


class Heard:
    """What has come, and waiting for more of it."""

    def __init__(self) -> None:
        self._all: list[Any] = []
        self._more = asyncio.Event()

    def add(self, *things: Any) -> None:
        self._all += things
        self._more.set()

    async def first(self, wanted: Callable[[Any], Any]) -> Any:
        """Takes out the first thing for which `wanted` is true, once it is there."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for at, thing in enumerate(self._all):
                    if wanted(thing):
                        return self._all.pop(at)
                self._more.clear()
                await self._more.wait()

    async def of(self, kind: type, **fields: Any) -> Any:
        """The first message of a type with these fields."""
        return await self.first(
            lambda thing: (
                isinstance(thing, kind)
                and all(getattr(thing, name) == value for name, value in fields.items())
            )
        )

    def count(self, kind: type) -> int:
        return sum(isinstance(thing, kind) for thing in self._all)


class ScriptedScheduler(LinkServiceServicer):
    """The other end of links: says what it is told to, and keeps what it hears, item by item."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._out: asyncio.Queue[LinkResponse | MusterError] = asyncio.Queue()

    async def link(self, frames: AsyncIterator[LinkRequest]) -> AsyncIterator[LinkResponse]:
        out: asyncio.Queue[LinkResponse | MusterError] = asyncio.Queue()
        self._out = out
        first = await anext(frames)
        self._hear(first)
        yield LinkResponse(frame_seq=1, welcome=LinkWelcome(scheduler="scripted"))
        async with background(lambda: self._read(frames)):
            while True:
                frame = await out.get()
                if isinstance(frame, MusterError):
                    raise frame
                yield frame

    async def Link(
        self, request_iterator: AsyncIterator[LinkRequest], context: Any
    ) -> AsyncIterator[LinkResponse]:
        try:
            async for frame in self.link(aiter(request_iterator)):
                yield frame
        except MusterError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)

    async def _read(self, frames: AsyncIterator[LinkRequest]) -> None:
        async for frame in frames:
            self._hear(frame)

    def _hear(self, frame: LinkRequest) -> None:
        if frame.HasField("hello"):
            self.heard.add(frame.hello)
        self.heard.add(*frame.sessions)
        for items in frame.items:
            for _, values in items.ListFields()[1:]:
                self.heard.add(*values)
        self.heard.add(*frame.ends)

    def hang_up(self) -> None:
        """Ends the current link."""
        self._out.put_nowait(MusterError("hung up", reason="NOT_READY"))

    def say(self, session_id: str, **items: Any) -> None:
        """Says something about a session."""
        message = SessionItems(session_id=session_id, **items)
        self._out.put_nowait(LinkResponse(items=[message]))

    def assign(self, session_id: str, *attempts: AttemptKey, agent: str = "a") -> None:
        assignments = [Assignment(key=attempt, agent=agent) for attempt in attempts]
        self.say(session_id, assignments=assignments)

    def acknowledge(self, session_id: str, attempt: AttemptKey, verdict: Any = 1) -> None:
        self.say(session_id, report_acks=[ReportAck(key=attempt, verdict=verdict)])

    async def session(self, host: str = "h") -> LinkSession:
        found: LinkSession = await self.heard.of(LinkSession, host=host)
        return found

    async def hello(self) -> LinkHello:
        found: LinkHello = await self.heard.of(LinkHello)
        return found

    async def end(self, session_id: str) -> SessionEnd:
        found: SessionEnd = await self.heard.of(SessionEnd, session_id=session_id)
        return found


class ScriptedRegistry(RegistryServiceServicer):
    """Keeps what executors report, frame by frame."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._hung_up = asyncio.Event()

    async def ReportPresence(
        self, request_iterator: AsyncIterator[ReportPresenceRequest], context: Any
    ) -> AsyncIterator[ReportPresenceResponse]:
        async for frame in request_iterator:
            self.heard.add(frame)
            if self._hung_up.is_set():
                self._hung_up.clear()
                return
            yield ReportPresenceResponse(revision=1)

    def hang_up(self) -> None:
        """Ends the current stream with its next frame."""
        self._hung_up.set()


class RawHost:
    """A host on bare stubs: what it sends is what it is told to send."""

    def __init__(self, stub: ExecutorServiceStub, **metadata: str) -> None:
        self._requests: asyncio.Queue[ConnectRequest | None] = asyncio.Queue()
        keys = {"tenant": TENANT_KEY, "principal": PRINCIPAL_KEY}
        self.call = stub.Connect(
            self._outgoing(), metadata=tuple((keys[name], v) for name, v in metadata.items())
        )
        self.heard = Heard()
        self._seq = 0
        self.seen = 0

    async def _outgoing(self) -> AsyncIterator[ConnectRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def listen(self) -> None:
        """Reads until the stream ends; run it in the background."""
        try:
            async for frame in self.call:
                self.seen = frame.frame_seq
                self._hear(frame)
        except grpc.RpcError as error:
            self.heard.add(error_of_rpc(error))
        except asyncio.CancelledError:
            self.call.cancel()
            raise
        else:
            self.heard.add(None)

    def _hear(self, frame: ConnectResponse) -> None:
        for field, value in frame.ListFields():
            if field.is_repeated:
                self.heard.add(*value)
            elif field.message_type is not None:
                self.heard.add(value)

    def send(self, **frame: Any) -> None:
        self._seq += 1
        request = ConnectRequest(frame_seq=self._seq, seen_seq=self.seen, **frame)
        self._requests.put_nowait(request)

    def hello(self, host: str = "h", agents: tuple[AgentSpec, ...] = (), **fields: Any) -> None:
        agents = agents or (AgentSpec(name="a", max_in_flight=4),)
        self.send(hello=Hello(protocol_version=1, host=host, agents=agents, **fields))

    def beat(self, *attempts: AttemptKey, agent: str = "a") -> None:
        leases = [HeldLease(key=attempt, agent=agent) for attempt in attempts]
        self.send(heartbeat=Heartbeat(held=leases))

    def close(self) -> None:
        """Says nothing more."""
        self._requests.put_nowait(None)

    async def ended(self) -> tuple[str, str]:
        """How the stream ended: code and reason; ("OK", "") where there was no error."""
        error = await self.heard.first(lambda x: x is None or isinstance(x, MusterError))
        return ("OK", "") if error is None else (error.code.name, error.reason)


@dataclass(frozen=True)
class ExecutorMesh:
    """A running executor and what is around it."""

    executor: Executor
    server: Server
    scheduler: ScriptedScheduler
    registry: ScriptedRegistry
    stub: ExecutorServiceStub

    @asynccontextmanager
    async def host(self, **metadata: str) -> AsyncIterator[RawHost]:
        """A host with an open stream that has said nothing yet."""
        host = RawHost(self.stub, **metadata)
        async with background(host.listen):
            yield host

    @asynccontextmanager
    async def greeted(
        self, name: str = "h", *, agents: tuple[AgentSpec, ...] = (), **hello: Any
    ) -> AsyncIterator[tuple[RawHost, str]]:
        """A host with a session that the scheduler knows, and the session's id."""
        async with self.host() as host:
            host.hello(name, agents, **hello)
            session = await self.scheduler.session(name)
            yield host, session.session_id


@asynccontextmanager
async def executor_mesh(timers: Timers | None = None) -> AsyncIterator[ExecutorMesh]:
    """An executor with everything around it, all over gRPC on free ports."""
    scheduler = ScriptedScheduler()
    registry = ScriptedRegistry()  # type: ignore[abstract]
    peers = grpc.aio.server(options=SERVER_OPTIONS)
    add_LinkServiceServicer_to_server(scheduler, peers)
    add_RegistryServiceServicer_to_server(registry, peers)
    target = f"127.0.0.1:{peers.add_insecure_port('127.0.0.1:0')}"
    await peers.start()
    settings = Settings("executor-1", timers=timers or Timers(), sweep_seconds=0.1)
    executor = Executor(settings, {"s": dial_link(target)}, {"r": dial_presence(target)})
    listen = Listen(grpc_port=0, http_port=None, drain_seconds=2.0)
    try:
        async with (
            serve(listen, [executor_part(executor)]) as server,
            open_channel(server.address) as channel,
        ):
            stub = ExecutorServiceStub(channel)
            yield ExecutorMesh(executor, server, scheduler, registry, stub)
    finally:
        await peers.stop(None)
