"""What the registry tells of the agents of some kinds: where they are, and what they hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass, field

import grpc

from muster.model.errors import NotAuthenticated
from muster.supervisor.finding import Metadata
from muster.v1.agent_pb2 import Agent, AgentState
from muster.v1.registry_service_pb2 import (
    AgentChangeType,
    AgentFilter,
    WatchAgentsRequest,
    WatchAgentsResponse,
)
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import Channels
from muster.wire.security import find_security

_PAUSE_SECONDS = 0.2
_KINDS_MAX = 64  # of a filter


@dataclass(frozen=True, slots=True)
class SeenAgent:
    """An agent as the registry shows it."""

    kind: str
    host: str
    slots: int
    # How many attempts it takes at a time; 0 while it takes nothing new.

    active: int
    suspended: int
    # Attempts, as of some seconds ago.

    capabilities: frozenset[str]


@dataclass
class Presence:
    """The agents of some kinds, as far as they are known."""

    agents: dict[str, SeenAgent] = field(default_factory=dict)
    # By name.

    def held(self) -> dict[str, int]:
        """How many attempts each host holds, of hosts that are connected."""
        held: dict[str, int] = {}
        for agent in self.agents.values():
            held[agent.host] = held.get(agent.host, 0) + agent.active + agent.suspended
        return held

    def suspended_on(self, hosts: Collection[str]) -> int:
        """How many attempts wait for children on these hosts."""
        return sum(agent.suspended for agent in self.agents.values() if agent.host in hosts)

    def agents_on(self, hosts: Collection[str]) -> int:
        """How many agents are on these hosts."""
        return sum(agent.host in hosts for agent in self.agents.values())

    def capabilities(self, kind: str) -> frozenset[str]:
        """What agents of a kind can do; empty while none is there."""
        offered = (each.capabilities for each in self.agents.values() if each.kind == kind)
        return frozenset[str]().union(*offered)

    def slots_elsewhere(self, kind: str, hosts: Collection[str]) -> int:
        """How many attempts agents of a kind take at a time that are not on these hosts."""
        return sum(
            agent.slots
            for agent in self.agents.values()
            if agent.kind == kind and agent.host not in hosts
        )

    def apply(self, frame: WatchAgentsResponse) -> None:
        """What a frame of the watch says."""
        if frame.reset:
            self.agents.clear()
        for change in frame.changes:
            name = change.agent.spec.name
            if change.type == AgentChangeType.AGENT_CHANGE_TYPE_PUT:
                self.agents[name] = _seen(change.agent)
            else:
                self.agents.pop(name, None)


def _seen(agent: Agent) -> SeenAgent:
    is_ready = agent.state == AgentState.AGENT_STATE_READY
    return SeenAgent(
        agent.spec.kind,
        agent.host,
        (agent.spec.max_in_flight or 1) if is_ready else 0,
        agent.active,
        agent.suspended,
        frozenset(each.name for each in agent.spec.capabilities),
    )


async def follow_presence(
    registry: str, metadata: Metadata, kinds: Collection[str], presence: Presence
) -> None:
    """Keeps `presence` current, without end; what it knew stays while no registry answers."""
    wanted = AgentFilter(kinds=kinds) if len(kinds) <= _KINDS_MAX else AgentFilter()
    request = WatchAgentsRequest(filter=wanted)
    channels = Channels(find_security(os.environ))
    try:
        while True:
            try:
                stub = RegistryServiceStub(channels.to(registry))
                async for frame in stub.WatchAgents(request, metadata=metadata):
                    presence.apply(frame)
            except (grpc.RpcError, NotAuthenticated):
                pass  # it comes back, or the scheduler's silence says it too
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await channels.close()
