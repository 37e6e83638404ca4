"""grpc.health.v1 with Check, Watch and List, and what each service's health means for its calls.

    STARTING  nothing is served yet: NOT_SERVING, and calls get UNAVAILABLE
    SERVING   everything is well
    IMPAIRED  something that it needs is away: NOT_SERVING, while each call finds out for itself
    DRAINING  it is going away: NOT_SERVING, calls finish, and no new stream begins

The service "" stands for the whole server: it serves when all of its services do. "live" serves as
long as the event loop turns, whatever is away or drains: who kills what is dead asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from enum import Enum
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from muster.runtime.standard_protos import HEALTH, HealthListRequest, HealthListResponse

_Context = grpc.aio.ServicerContext[Any, Any]

OVERALL = ""
LIVE = "live"


class Condition(Enum):
    """How a service is."""

    STARTING = "starting"
    SERVING = "serving"
    IMPAIRED = "impaired"
    DRAINING = "draining"


class Health:
    """The condition of each service of one server. Every service is STARTING at first."""

    def __init__(self, services: Iterable[str]) -> None:
        self._conditions = dict.fromkeys(services, Condition.STARTING)
        self._changed = asyncio.Event()

    def set(self, service: str, condition: Condition) -> None:
        """Changes a service's condition. DRAINING is final."""
        before = self._conditions[service]
        if before in (condition, Condition.DRAINING):
            return
        self._conditions[service] = condition
        # Whoever waits holds the old event; each change has its own.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def drain(self) -> None:
        """Makes every service DRAINING, for good."""
        for service in self._conditions:
            self.set(service, Condition.DRAINING)

    def condition(self, service: str) -> Condition | None:
        """A service's condition; None for one that this server does not have."""
        return self._conditions.get(service)

    def conditions(self) -> dict[str, Condition]:
        """The condition of every service, without the overall one."""
        return dict(self._conditions)

    def is_serving(self, service: str = OVERALL) -> bool:
        """Whether the service, or all of them, are SERVING."""
        if service == OVERALL:
            return all(each is Condition.SERVING for each in self._conditions.values())
        return self._conditions.get(service) is Condition.SERVING

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves grpc.health.v1.Health on `server`."""
        request, response = HealthCheckRequest, HealthCheckResponse
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._check, request.FromString, response.SerializeToString
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._watch, request.FromString, response.SerializeToString
            ),
            "List": grpc.unary_unary_rpc_method_handler(
                self._list, HealthListRequest.FromString, HealthListResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH, handlers),))

    def _status(self, service: str) -> int:
        if service == LIVE:
            return HealthCheckResponse.SERVING
        if service != OVERALL and service not in self._conditions:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return (
            HealthCheckResponse.SERVING
            if self.is_serving(service)
            else HealthCheckResponse.NOT_SERVING
        )

    async def _check(self, request: HealthCheckRequest, context: _Context) -> HealthCheckResponse:
        status = self._status(request.service)
        if status == HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service is here")
        return HealthCheckResponse(status=status)

    async def _watch(
        self, request: HealthCheckRequest, _context: _Context
    ) -> AsyncIterator[HealthCheckResponse]:
        last = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != last:
                last = status
                yield HealthCheckResponse(status=status)
            await changed.wait()

    async def _list(self, _request: Any, _context: _Context) -> Any:
        response: Any = HealthListResponse()
        for service in (OVERALL, *self._conditions):
            response.statuses[service].status = self._status(service)
        return response
