"""What is known of the past, as a part of the scheduler: conversations, their memory, and what
agents keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from muster.runtime.lifetime import background
from muster.scheduler.agent_states.servicer import AgentStateServicer
from muster.scheduler.agent_states.states import AgentStates
from muster.scheduler.conversations.compressing import Compressing
from muster.scheduler.conversations.quieting import Quieting
from muster.scheduler.conversations.servicer import ConversationServicer
from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.v1.agent_state_service_pb2_grpc import add_AgentStateServiceServicer_to_server
from muster.v1.conversation_service_pb2_grpc import add_ConversationServiceServicer_to_server


class Past:
    """Makes the services. Conversations that are quiet for `quiet_seconds` become memory while
    `run` runs, unless that is 0."""

    def __init__(self, scheduler: Scheduler, quiet_seconds: float) -> None:
        self._scheduler = scheduler
        self._quiet_seconds = quiet_seconds
        self._compressing = Compressing(scheduler)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Inside the scheduler's own."""
        async with AsyncExitStack() as stack:
            if self._quiet_seconds:
                quieting = Quieting(self._scheduler, self._compressing, self._quiet_seconds)
                await stack.enter_async_context(background(quieting.run))
            yield

    def services(self, router: Router) -> dict[str, Callable[..., None]]:
        """By name, what adds each to a server."""
        conversations = ConversationServicer(self._scheduler, router, self._compressing)
        states = AgentStateServicer(AgentStates(self._scheduler), router)
        return {
            "muster.v1.ConversationService": lambda server: (
                add_ConversationServiceServicer_to_server(conversations, server)
            ),
            "muster.v1.AgentStateService": lambda server: add_AgentStateServiceServicer_to_server(
                states, server
            ),
        }
