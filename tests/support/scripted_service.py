"""A service that does what each request says, and a server that runs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from muster.model import limits
from muster.model.errors import MusterError, NotFound
from muster.runtime import standard_protos
from muster.runtime.config import Listen
from muster.runtime.principal import current_principal
from muster.runtime.serve import Part, Readiness, Server, serve
from muster.v1 import agent_pb2
from muster.v1 import registry_service_pb2 as pb
from muster.v1.registry_service_pb2_grpc import (
    RegistryServiceServicer,
    RegistryServiceStub,
    add_RegistryServiceServicer_to_server,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc

SERVICE = "muster.v1.RegistryService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


_LARGE = pb.AgentChange(agent=agent_pb2.Agent(address="x" * 50_000))


class Scripted(RegistryServiceServicer):
    """Does what the name in the request says."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.entered = asyncio.Event()
        self.watched = asyncio.Event()
        self.ended = asyncio.Event()
        self.served = 0

    async def GetAgent(self, request: pb.GetAgentRequest, _context: Any) -> pb.GetAgentResponse:
        self.served += 1
        match request.name:
            case "missing":
                raise NotFound("there is no such agent", reason="AGENT_UNKNOWN")
            case "defect":
                raise ZeroDivisionError("SELECT secret FROM /etc/passwd")
            case "leaked-cancel":
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            case "waits":
                self.entered.set()
                await self.go_on.wait()
            case "nothing":
                return None  # type: ignore[return-value]
            case "huge":
                response = pb.GetAgentResponse()
                response.agent.address = "x" * (limits.MESSAGE_BYTES_MAX + 1)
                return response
        response = pb.GetAgentResponse()
        response.agent.tenant, response.agent.host, *_ = current_principal()
        return response

    async def WatchAgents(
        self, request: pb.WatchAgentsRequest, _context: Any
    ) -> AsyncIterator[pb.WatchAgentsResponse]:
        try:
            while request.filter.host == "floods":
                yield pb.WatchAgentsResponse(changes=[_LARGE] * 10)
            for revision in range(1, request.revision + 1):
                yield pb.WatchAgentsResponse(revision=revision)
            self.watched.set()
            await self.go_on.wait()
            raise NotFound("there is no such agent", reason="AGENT_UNKNOWN")
        finally:
            self.ended.set()

    async def ReportPresence(
        self, request_iterator: AsyncIterator[pb.ReportPresenceRequest], _context: Any
    ) -> AsyncIterator[pb.ReportPresenceResponse]:
        async for request in request_iterator:
            yield pb.ReportPresenceResponse(revision=request.incarnation)


def scripted() -> Any:
    """The servicer; what it leaves out is not called."""
    return Scripted()  # type: ignore[abstract]


def make_part(servicer: Any, **fields: Any) -> Part:
    @asynccontextmanager
    async def run(_readiness: Readiness) -> AsyncIterator[None]:
        yield

    def add(server: grpc.aio.Server) -> None:
        add_RegistryServiceServicer_to_server(servicer, server)

    return Part(**{"name": "scripted", "services": {SERVICE: add}, "run": run, **fields})


def listen(**fields: Any) -> Listen:
    return Listen(**{"grpc_port": 0, "http_port": None, "drain_seconds": 2.0, **fields})


class Running:
    """A server with a scripted servicer, and a channel to it."""

    def __init__(self, server: Server, servicer: Any, channel: Any) -> None:
        self.server = server
        self.servicer = servicer
        self.channel = channel
        self.stub: Any = RegistryServiceStub(channel)

    async def get(self, name: str, **fields: Any) -> agent_pb2.Agent:
        response = await self.stub.GetAgent(pb.GetAgentRequest(name=name), timeout=10, **fields)
        agent: agent_pb2.Agent = response.agent
        return agent

    async def refusal_of(self, call: Any) -> MusterError:
        with pytest.raises(grpc.RpcError) as caught:
            await call
        return error_of_rpc(caught.value)


@asynccontextmanager
async def running(**fields: Any) -> AsyncIterator[Running]:
    servicer = scripted()
    part = make_part(servicer)
    async with serve(listen(**fields), [part]) as server, open_channel(server.address) as channel:
        yield Running(server, servicer, channel)


async def check_health(channel: grpc.aio.Channel, service: str) -> int:
    check = channel.unary_unary(
        f"/{standard_protos.HEALTH}/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    response = await check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    return int(response.status)


def watch_health(channel: grpc.aio.Channel, service: str) -> Any:
    return channel.unary_stream(
        f"/{standard_protos.HEALTH}/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(service=service), timeout=10)
