"""How many agents of some hosts are there, as the registry tells it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection

import grpc

from muster.supervisor.finding import Metadata
from muster.v1.registry_service_pb2 import (
    AgentChangeType,
    WatchAgentsRequest,
    WatchAgentsResponse,
)
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import open_channel
from muster.wire.security import find_security

_PAUSE_SECONDS = 0.2


async def count_agents(
    registry: str, metadata: Metadata, hosts: Collection[str], tell: Callable[[int], None]
) -> None:
    """Tells how many agents the hosts have, whenever that changes, without end."""
    there: set[str] = set()
    async with open_channel(registry, find_security(os.environ)) as channel:
        stub = RegistryServiceStub(channel)
        while True:
            try:
                async for frame in stub.WatchAgents(WatchAgentsRequest(), metadata=metadata):
                    _apply(frame, hosts, there)
                    tell(len(there))
            except grpc.RpcError:
                await asyncio.sleep(_PAUSE_SECONDS)


def _apply(frame: WatchAgentsResponse, hosts: Collection[str], there: set[str]) -> None:
    if frame.reset:
        there.clear()
    for change in frame.changes:
        put = change.type == AgentChangeType.AGENT_CHANGE_TYPE_PUT
        if put and change.agent.host in hosts:
            there.add(change.agent.spec.name)
        else:
            there.discard(change.agent.spec.name)
