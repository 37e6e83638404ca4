"""AgentStateService on gRPC."""

from __future__ import annotations

from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import InvalidArgument, Violation
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import AGENTS_KEY, OPERATOR, Principal, current_principal
from muster.scheduler.agent_states.states import (
    AgentStates,
    Name,
    content_bytes,
    shard_of_agent,
)
from muster.scheduler.routing import Peer, Router
from muster.v1 import agent_state_service_pb2 as pb
from muster.v1.agent_state_service_pb2_grpc import (
    AgentStateServiceServicer,
    AgentStateServiceStub,
)

_Context = grpc.aio.ServicerContext[Any, Any]


class AgentStateServicer(AgentStateServiceServicer):
    """What agents and operators call."""

    def __init__(self, states: AgentStates, router: Router) -> None:
        self._states = states
        self._router = router

    async def GetState(self, request: pb.GetStateRequest, context: _Context) -> pb.GetStateResponse:
        """One value."""
        caller = _caller(request.agent)
        name = Name(caller.tenant, request.agent, request.name)
        return pb.GetStateResponse(state=await self._states.get(name))

    async def PutState(self, request: pb.PutStateRequest, context: _Context) -> pb.PutStateResponse:
        """Writes; returns when that is durable."""
        caller = _caller(request.agent)
        size, most = content_bytes(request.value), limits.AGENT_STATE_BYTES_MAX
        if size > most:
            text = f"has {size} bytes; {most} may be kept: put a blob, and keep its reference"
            raise InvalidArgument(f"value {text}", violations=[Violation("value", text)])
        stub = self._owner(caller, request.agent, context)
        if stub is not None:
            peer, states = stub
            return await peer.ask(states.PutState, request, context)
        expected = request.expected_revision if request.HasField("expected_revision") else None
        name = Name(caller.tenant, request.agent, request.name)
        state = await self._states.put(name, request.value, caller.name, expected, request.put_id)
        return pb.PutStateResponse(state=state)

    async def ListState(
        self, request: pb.ListStateRequest, context: _Context
    ) -> pb.ListStateResponse:
        """A page."""
        tenant, size = _caller(request.agent).tenant, page_size(request.page_size)
        scope = ("agent-state", tenant, request.agent, request.name_prefix)
        after = read_page_token(request.page_token, *scope)
        found = await self._states.page(tenant, request.agent, request.name_prefix, after, size)
        reply = pb.ListStateResponse(states=found)
        if len(found) == size:
            reply.next_page_token = make_page_token(found[-1].name, *scope)
        return reply

    async def DeleteState(
        self, request: pb.DeleteStateRequest, context: _Context
    ) -> pb.DeleteStateResponse:
        """Deletes; returns when that is durable."""
        caller = _caller(request.agent)
        stub = self._owner(caller, request.agent, context)
        if stub is not None:
            peer, states = stub
            return await peer.ask(states.DeleteState, request, context)
        expected = request.expected_revision if request.HasField("expected_revision") else None
        name = Name(caller.tenant, request.agent, request.name)
        return pb.DeleteStateResponse(deleted=await self._states.delete(name, expected))

    def _owner(
        self, caller: Principal, agent: str, context: _Context
    ) -> tuple[Peer, AgentStateServiceStub] | None:
        """Who writes what an agent keeps; None: this scheduler."""
        peer = self._router.of_shard(shard_of_agent(caller.tenant, agent), caller, context)
        if peer is None:
            return None
        # It was checked here that the caller may have to do with this agent.
        peer.metadata = (*peer.metadata, (AGENTS_KEY, agent))
        return peer, AgentStateServiceStub(peer.channel)


def _caller(agent: str) -> Principal:
    """The caller, if it may have to do with what this agent keeps. Raises `NotAllowed`."""
    caller = current_principal()
    if OPERATOR not in caller.roles:
        caller.require_agent(agent, ())
    return caller
