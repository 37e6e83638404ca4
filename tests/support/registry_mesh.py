"""A registry over real gRPC, and a scheduler whose catalogue it follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from muster.model.errors import MusterError, Unavailable
from muster.registry.part import Registry
from muster.runtime.config import Listen
from muster.runtime.principal import TENANT_KEY
from muster.runtime.serve import serve
from muster.v1 import agent_pb2, capability_pb2
from muster.v1 import catalogue_service_pb2 as catalogue_pb
from muster.v1 import registry_service_pb2 as pb
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.times import timestamp_of_ms

SUM = '{"type": "object"}'
PUT, GONE = pb.AGENT_CHANGE_TYPE_PUT, pb.AGENT_CHANGE_TYPE_GONE


def make_spec(name: str, *offers: str, **fields: Any) -> agent_pb2.AgentSpec:
    capabilities = []
    for offer in offers or ("text.sum@1.0.0",):
        capability, _, version = offer.partition("@")
        capabilities.append(capability_pb2.Capability(name=capability, version=version))
    return agent_pb2.AgentSpec(name=name, capabilities=capabilities, **fields)


def make_agent(name: str, session: str = "s1", since: int = 1, **fields: Any) -> agent_pb2.Agent:
    return agent_pb2.Agent(
        spec=make_spec(name, **fields),
        tenant="default",
        state=agent_pb2.AGENT_STATE_READY,
        host="h1",
        session_id=session,
        executor="e1",
        create_time=timestamp_of_ms(since),
    )


class Scheduler:
    """A catalogue to follow."""

    def __init__(self) -> None:
        self.entries: list[catalogue_pb.TenantEntry] = []
        self.asked: list[dict[str, int]] = []
        self.breaks = asyncio.Event()

    def add(self, offer: str, tenant: str = "default", schema: str = SUM) -> None:
        capability, _, version = offer.partition("@")
        entry = capability_pb2.CatalogueEntry(revision=len(self.entries) + 1)
        entry.capability.name, entry.capability.version = capability, version
        entry.capability.input.json_schema = schema
        self.entries.append(catalogue_pb.TenantEntry(tenant=tenant, entry=entry))

    async def watch(
        self, request: catalogue_pb.WatchCatalogueRequest
    ) -> AsyncIterator[catalogue_pb.WatchCatalogueResponse]:
        self.asked.append(dict(request.revisions))
        yield catalogue_pb.WatchCatalogueResponse(entries=self.entries, caught_up=True)
        await self.breaks.wait()
        self.breaks.clear()
        raise Unavailable("the scheduler restarts")


class Mesh:
    """A registry, a channel to it, and the scheduler it follows."""

    def __init__(self, registry: Registry, scheduler: Scheduler, channel: Any) -> None:
        self.registry = registry
        self.scheduler = scheduler
        self.stub: Any = RegistryServiceStub(channel)
        self._reports: list[Any] = []

    async def call(self, method: str, tenant: str = "default", **fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        metadata = ((TENANT_KEY, tenant),)
        return await getattr(self.stub, method)(request, timeout=10, metadata=metadata)

    async def refusal_of(self, call: Any) -> MusterError:
        with pytest.raises(grpc.RpcError) as caught:
            await call
        return error_of_rpc(caught.value)

    async def report(self, *agents: agent_pb2.Agent, incarnation: int = 1) -> Any:
        """A presence report that has begun with these agents."""
        stream = self.stub.ReportPresence(timeout=10)
        await self.tell(stream, executor="e1", incarnation=incarnation, agents=agents)
        return stream

    async def tell(self, stream: Any, **fields: Any) -> int:
        await stream.write(pb.ReportPresenceRequest(**fields))
        return int((await stream.read()).revision)

    async def names(self, **fields: Any) -> list[str]:
        listed = await self.call("ListAgents", **fields)
        return [agent.spec.name for agent in listed.agents]


@asynccontextmanager
async def running(*offers: str) -> AsyncIterator[Mesh]:
    scheduler = Scheduler()
    for offer in offers or ("text.sum@1.0.0",):
        scheduler.add(offer)
    registry = Registry(sweep_seconds=0.01)
    part = registry.part(lambda: registry.running([scheduler.watch]))
    listen = Listen(grpc_port=0, http_port=None)
    async with serve(listen, [part]) as server, open_channel(server.address) as channel:
        yield Mesh(registry, scheduler, channel)


async def next_frame(watch: Any) -> pb.WatchAgentsResponse:
    async with asyncio.timeout(10):
        frame: pb.WatchAgentsResponse = await watch.read()
        return frame


def told(frame: pb.WatchAgentsResponse) -> list[tuple[int, str]]:
    return [(int(change.type), change.agent.spec.name) for change in frame.changes]
