"""RegistryService over gRPC: parses, asks the core, answers. Streams are in servicer_streams."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import InvalidArgument, Unavailable, Violation
from muster.model.versions import parse_selector, parse_version
from muster.registry.core import Presence
from muster.registry.core_agents import AgentState, Key
from muster.registry.core_catalogue import Catalogue, Entry, Name
from muster.registry.servicer_messages import (
    agent_of_message,
    body_of_entry,
    filter_of_message,
    fitting,
    full_agent,
    listed_agent,
)
from muster.registry.servicer_streams import Streams
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import current_principal
from muster.v1 import agent_pb2, capability_pb2, registry_service_pb2, registry_service_pb2_grpc
from muster.wire.times import duration_of_seconds, seconds_of_duration, timestamp_of_seconds

pb = registry_service_pb2
_Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = "muster.v1.RegistryService"

# Three tries within a time to live, so that one lost heartbeat ends nothing.
_HEARTBEATS_PER_LIFE = 3


class RegistryServicer(registry_service_pb2_grpc.RegistryServiceServicer):
    """The gRPC face of one registry. Every call acts within the caller's tenant."""

    def __init__(
        self,
        presence: Presence,
        catalogue: Catalogue,
        streams: Streams,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._presence = presence
        self._catalogue = catalogue
        self._streams = streams
        self._monotonic = monotonic
        self._wall = wall

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves RegistryService on `server`."""
        registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(self, server)

    # --- agents without a session -----------------------------------------------------------------

    async def RegisterAgent(
        self, request: pb.RegisterAgentRequest, _context: _Context
    ) -> pb.RegisterAgentResponse:
        seconds = limits.REGISTRATION_SECONDS_DEFAULT
        if request.HasField("time_to_live"):
            seconds = seconds_of_duration(request.time_to_live)
        caller, spec = current_principal(), request.spec
        caller.require_agent(spec.name, (offered.name for offered in spec.capabilities))
        message = agent_pb2.Agent(
            spec=spec,
            tenant=caller.tenant,
            state=agent_pb2.AGENT_STATE_READY,
            create_time=timestamp_of_seconds(self._wall()),
            address=request.address,
        )
        registration_id = secrets.token_hex(16)
        agent = agent_of_message(message)
        self._presence.register(registration_id, agent, seconds, self._monotonic())
        self._streams.wake()
        return pb.RegisterAgentResponse(
            registration_id=registration_id,
            heartbeat_period=duration_of_seconds(seconds / _HEARTBEATS_PER_LIFE),
        )

    async def HeartbeatAgent(
        self, request: pb.HeartbeatAgentRequest, _context: _Context
    ) -> pb.HeartbeatAgentResponse:
        if request.state == agent_pb2.AGENT_STATE_LOST:
            description = "must be READY, DRAINING or unspecified"
            raise InvalidArgument(
                f"state {description}", violations=[Violation("state", description)]
            )
        seconds = self._presence.heartbeat(
            current_principal().tenant,
            request.registration_id,
            AgentState(request.state) if request.state else None,
            self._monotonic(),
        )
        self._streams.wake()
        period = duration_of_seconds(seconds / _HEARTBEATS_PER_LIFE)
        return pb.HeartbeatAgentResponse(heartbeat_period=period)

    async def DeregisterAgent(
        self, request: pb.DeregisterAgentRequest, _context: _Context
    ) -> pb.DeregisterAgentResponse:
        self._presence.deregister(current_principal().tenant, request.registration_id)
        self._streams.wake()
        return pb.DeregisterAgentResponse()

    # --- agents -----------------------------------------------------------------------------------

    async def GetAgent(
        self, request: pb.GetAgentRequest, _context: _Context
    ) -> pb.GetAgentResponse:
        agent = self._presence.get(Key(current_principal().tenant, request.name))
        return pb.GetAgentResponse(agent=full_agent(agent, self._catalogue))

    async def ListAgents(
        self, request: pb.ListAgentsRequest, _context: _Context
    ) -> pb.ListAgentsResponse:
        tenant = current_principal().tenant
        scope = ("ListAgents", tenant, request.filter.SerializeToString(deterministic=True))
        after = read_page_token(request.page_token, *scope)
        page = self._presence.page(
            tenant, filter_of_message(request.filter), after, page_size(request.page_size)
        )
        agents = [listed_agent(agent) for agent in page.agents]
        fit = fitting(agents)
        rest = page.rest or fit < len(agents)
        return pb.ListAgentsResponse(
            agents=agents[:fit],
            next_page_token=make_page_token(agents[fit - 1].spec.name, *scope) if rest else "",
            total=page.total,
        )

    # --- capabilities -----------------------------------------------------------------------------

    async def ListCapabilities(
        self, request: pb.ListCapabilitiesRequest, _context: _Context
    ) -> pb.ListCapabilitiesResponse:
        self._require_catalogue()
        tenant = current_principal().tenant
        scope = ("ListCapabilities", tenant, request.name_prefix)
        last = _name_of_position(read_page_token(request.page_token, *scope))
        size = page_size(request.page_size)
        entries = list(islice(self._catalogue.after(tenant, request.name_prefix, last), size + 1))
        messages = [self._with_count(tenant, entry) for entry in entries[:size]]
        fit = fitting(messages)
        token = ""
        if fit < len(entries):
            token = make_page_token(_position_of_name(entries[fit - 1].name), *scope)
        return pb.ListCapabilitiesResponse(entries=messages[:fit], next_page_token=token)

    async def GetCapability(
        self, request: pb.GetCapabilityRequest, _context: _Context
    ) -> pb.GetCapabilityResponse:
        self._require_catalogue()
        tenant = current_principal().tenant
        wanted = request.capability
        entry = self._catalogue.newest(tenant, wanted.name, parse_selector(wanted.version))
        return pb.GetCapabilityResponse(entry=self._with_count(tenant, entry))

    def _require_catalogue(self) -> None:
        """Before it was read once, "there is none" would be a guess."""
        if not self._catalogue.is_complete:
            raise Unavailable("the catalogue has not been read yet; no scheduler has answered")

    def _with_count(self, tenant: str, entry: Entry) -> capability_pb2.CatalogueEntry:
        message = capability_pb2.CatalogueEntry()
        message.CopyFrom(body_of_entry(entry))
        message.agents_now = self._presence.count(tenant, *entry.name)
        return message

    # --- streams ----------------------------------------------------------------------------------

    # They give back the generators themselves, so that whoever closes one closes the work.

    def WatchAgents(
        self, request: pb.WatchAgentsRequest, _context: _Context
    ) -> AsyncIterator[pb.WatchAgentsResponse]:
        return self._streams.watch_agents(request, current_principal().tenant)

    def ReportPresence(
        self, request_iterator: AsyncIterator[pb.ReportPresenceRequest], _context: _Context
    ) -> AsyncIterator[pb.ReportPresenceResponse]:
        return self._streams.report_presence(request_iterator)


def _position_of_name(name: Name) -> str:
    return f"{name.capability}@{name.version}"


def _name_of_position(position: str) -> Name | None:
    if not position:
        return None
    capability, _, version = position.rpartition("@")
    return Name(capability, parse_version(version))
