"""ExecutorService as gRPC sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster.executor.core_state import Session
from muster.executor.link_presence import fill_agent
from muster.executor.service import Executor
from muster.model import limits
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import current_principal
from muster.v1 import agent_pb2
from muster.v1.executor_service_pb2 import (
    ConnectRequest,
    ConnectResponse,
    DrainAgentRequest,
    DrainAgentResponse,
    DrainHostRequest,
    DrainHostResponse,
    ListSessionsRequest,
    ListSessionsResponse,
)
from muster.v1.executor_service_pb2_grpc import ExecutorServiceServicer
from muster.wire.times import duration_of_seconds, seconds_of_duration, timestamp_of_ms

_Context = grpc.aio.ServicerContext[Any, Any]


class ExecutorServicer(ExecutorServiceServicer):
    """Answers for one executor; the caller sees its own tenant."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def Connect(
        self, request_iterator: AsyncIterator[ConnectRequest], context: _Context
    ) -> AsyncIterator[ConnectResponse]:
        return self._executor.pump.connect(current_principal(), request_iterator)

    async def ListSessions(
        self, request: ListSessionsRequest, context: _Context
    ) -> ListSessionsResponse:
        book, tenant = self._executor.core.book, current_principal().tenant
        scope = ("ExecutorService.ListSessions", tenant)
        after = read_page_token(request.page_token, *scope)
        size = page_size(request.page_size)
        hosts = sorted(host for owner, host in book.by_host if owner == tenant and host > after)
        page = ListSessionsResponse(
            sessions=[self._session(book.by_host[tenant, host]) for host in hosts[:size]]
        )
        if len(hosts) > size:
            page.next_page_token = make_page_token(hosts[size - 1], *scope)
        return page

    async def DrainHost(self, request: DrainHostRequest, context: _Context) -> DrainHostResponse:
        grace = limits.DRAIN_GRACE_SECONDS
        if request.HasField("grace"):
            grace = seconds_of_duration(request.grace)
        tenant = current_principal().tenant
        session = self._executor.drain_host(tenant, request.host, grace)
        return DrainHostResponse(session=self._session(session))

    async def DrainAgent(self, request: DrainAgentRequest, context: _Context) -> DrainAgentResponse:
        agent = self._executor.drain_agent(current_principal().tenant, request.agent)
        response = DrainAgentResponse()
        fill_agent(response.agent, agent, self._executor.name)
        return response

    def _session(self, session: Session) -> agent_pb2.Session:
        return agent_pb2.Session(
            id=session.id,
            host=session.host,
            tenant=session.tenant,
            principal=session.principal,
            executor=self._executor.name,
            session_epoch=session.epoch,
            create_time=timestamp_of_ms(session.opened_ms),
            agents=sum(agent.attached for agent in session.agents.values()),
            held=len(session.leases),
            silent_for=duration_of_seconds(max(0.0, self._executor.now() - session.contact)),
            draining=session.draining,
        )
